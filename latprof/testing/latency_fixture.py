"""What the ``latency`` fixture returns, and the milliseconds that it is compared with.

A latency is below a budget only where the upper end of its interval is, and above it only where the
lower end is: both comparisons are false where nothing is shown.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from latprof.errors import HostBusyError
from latprof.measurement.budgets import Budget, BudgetVerdict

if TYPE_CHECKING:
    from latprof.predictors.pack.answering import Answer
    from latprof.profilers.profiling import Profile
    from latprof.workflows.arguments import NetworkLike, PackLike

#: Judges a budget of the latency or of a percentile.
Judge: TypeAlias = Callable[[Budget], BudgetVerdict]


@dataclass(frozen=True)
class Milliseconds:
    """A time that a latency is compared with: :func:`ms` makes it."""

    value: float

    def __repr__(self) -> str:
        return f"{self.value:g} ms"


def ms(value: float) -> Milliseconds:
    """A time in milliseconds, above 0, for ``assert latency.measure("m.onnx") < ms(5)``.

    Raises InvalidValueError for anything else.
    """
    from latprof.common.limits import POSITIVE

    POSITIVE.check("ms", value)
    return Milliseconds(float(value))


@dataclass(frozen=True, repr=False, eq=False)
class Latency:
    """A measured or predicted latency, or a percentile of it.

    Parameters
    ----------
    name : str
        What the network is called.
    found : Profile or Answer
        All that was found out.
    state : str
        What was the matter with the host, or what the prediction holds for.
    judge : callable
        Judges a budget.
    percentile : float, optional
        Of the runs of a profile, or of the measurements that a prediction is for.
    """

    name: str
    found: Profile | Answer
    state: str
    judge: Judge = field(repr=False)
    percentile: float | None = None

    def p(self, percentile: float) -> Latency:
        """A percentile, above 0 and below 100, such as ``latency.measure("m.onnx").p(95)``."""
        from latprof.common.limits import Limit

        Limit(0, 100, open_low=True, open_high=True).check("percentile", percentile)
        return Latency(self.name, self.found, self.state, self.judge, percentile)

    def verdict(self, limit: Milliseconds) -> BudgetVerdict:
        """Whether it keeps a budget."""
        quantity: Any = "latency" if self.percentile is None else "percentile"
        return self.judge(Budget(quantity, limit.value, self.percentile))

    def __lt__(self, limit: object) -> bool:
        if not isinstance(limit, Milliseconds):
            return NotImplemented
        verdict = self.verdict(limit)
        return verdict.outcome == "kept" and verdict.high < limit.value

    def __le__(self, limit: object) -> bool:
        if not isinstance(limit, Milliseconds):
            return NotImplemented
        return self.verdict(limit).outcome == "kept"

    def __gt__(self, limit: object) -> bool:
        if not isinstance(limit, Milliseconds):
            return NotImplemented
        return self.verdict(limit).outcome == "broken"

    def __ge__(self, limit: object) -> bool:
        if not isinstance(limit, Milliseconds):
            return NotImplemented
        verdict = self.verdict(limit)
        return verdict.outcome == "broken" or verdict.low >= limit.value

    def __repr__(self) -> str:
        name = "" if self.percentile is None else f" p{self.percentile:g}"
        return f"<{self.name}{name}: {self.found.latency_ms:.3f} ms; {self.state}>"

    def explain(self, limit: Milliseconds) -> list[str]:
        """Lines for a failed assertion: the interval against the limit, and the host."""
        return explanation(self.verdict(limit), self.found.latency_ms, self.state)


def explanation(verdict: BudgetVerdict, latency_ms: float, state: str) -> list[str]:
    """What a failed budget says: the verdict with its interval, the latency, and the host."""
    return [verdict.describe(), f"latency {latency_ms:.3f} ms", state]


@dataclass
class LatencyFixture:
    """The ``latency`` fixture: measures and predicts.

    Parameters
    ----------
    busy : str
        What becomes of a test on a busy host: ``"wait"`` for ``wait_s`` (all tests of a session
        together) and skip it then, ``"skip"`` it, or ``"fail"``.
    wait_s : float
    clock : callable
        Seconds that never go back.

    ``measured`` are the profiles of the networks that were measured, in order.
    """

    busy: str = "wait"
    wait_s: float = 300.0
    clock: Callable[[], float] = time.monotonic
    measured: list[Profile] = field(default_factory=list, init=False)
    _started_at: float = field(default_factory=time.time, init=False)

    def measure(
        self, model: NetworkLike, target: str = "cpu:onnxruntime", **options: Any
    ) -> Latency:
        """Measure a network's latency on this host.

        Takes what :func:`latprof.profile` takes, and raises the same; the test is skipped, or
        fails, where the host is busy.
        """
        from latprof.workflows.budget_checks import profile_verdict

        found = self._measured(model, target, {"kernels": False, **options})
        self.measured.append(found)
        return Latency(
            found.name,
            found,
            f"host {found.host.describe()}",
            lambda budget: profile_verdict(found, budget),
        )

    def predict(self, model: NetworkLike, pack: PackLike | None = None, **options: Any) -> Latency:
        """Predict a network's latency, without running it.

        Takes what :func:`latprof.predict` takes, and raises the same.
        """
        from latprof.workflows.budget_checks import answer_verdicts
        from latprof.workflows.predict import predict

        found = predict(model, pack, **options)

        def judge(budget: Budget) -> BudgetVerdict:
            (verdict,) = answer_verdicts(
                [found],
                [budget],
                lambda share: [predict(model, pack, **{**options, "upper": share})],
            )
            return verdict

        target = "an unknown target" if found.target is None else found.target.describe()
        return Latency(found.name, found, f"predicted for {target}", judge)

    def check(self, model: NetworkLike, budget: str, **options: Any) -> None:
        """Fail the test unless a network keeps a budget: the marker ``latency_budget``.

        With ``pack``, the latency is predicted.
        """
        asked = Budget.within(budget)
        found = (self.predict if "pack" in options else self.measure)(model, **options)
        verdict = found.judge(asked)
        if verdict.outcome != "kept":
            pytest.fail(
                "\n".join(explanation(verdict, found.found.latency_ms, found.state)), pytrace=False
            )

    def write(self, path: str) -> None:
        """Write what was measured as pytest-benchmark does: ``--latency-json``."""
        from latprof.workflows.import_runs import write_profiles

        write_profiles(path, self.measured, self._started_at)

    def _measured(self, model: NetworkLike, target: str, options: dict[str, Any]) -> Profile:
        """Measure once the host is quiet; tries that it disturbed are made again meanwhile."""
        from latprof.workflows.profile import profile

        while True:
            begin = self.clock()
            try:
                with _alone():
                    left_s = max(self.wait_s - (self.clock() - begin), 0.0)
                    left_s *= self.busy == "wait"
                    return profile(
                        model, target, wait_quiet_s=left_s or None, require_quiet=True, **options
                    )
            except HostBusyError as error:
                problem = f"latency not measured: {error.problem}"
                if not left_s and self.busy != "fail":
                    pytest.skip(problem)
            if self.busy == "fail":  # outside of the handler, whose exception would be shown too
                pytest.fail(f"{problem}; --latency-busy=wait waits for quiet", pytrace=False)
            self.wait_s = max(left_s - (self.clock() - begin), 0.0)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Measure while no other test of this user does, such as one of another worker of xdist."""
    import fcntl

    from latprof.common.files import cache_folder

    path = cache_folder("pytest") / "measuring.lock"
    with contextlib.ExitStack() as opened:
        with contextlib.suppress(OSError):  # no place for it: they disturb each other
            path.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(opened.enter_context(path.open("a")), fcntl.LOCK_EX)
        yield
