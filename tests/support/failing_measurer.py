"""A measurer some of whose visits fail as told."""

from latprof.measurement.visits import Failure, Visit


class FailingMeasurer:
    """Hands on to another measurer, unless the next of ``codes`` is the code of a failure.

    Parameters
    ----------
    measurer : Measurer
    codes : iterator of str or None
        One a try; None, and whatever comes after the last, measures. Several measurers may share
        one iterator.
    """

    def __init__(self, measurer, codes):
        self._measurer, self._codes = measurer, codes

    def visit(self, network):
        code = next(self._codes, None)
        if code is None:
            return self._measurer.visit(network)
        failure = Failure(code, "told to")
        return Visit(started_at=1.0, wall_s=0.1, load_s=0.0, process="p", failure=failure)

    def expect(self, networks):
        self._measurer.expect(networks)

    def profile(self, network):
        return self._measurer.profile(network)

    def close(self):
        self._measurer.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
