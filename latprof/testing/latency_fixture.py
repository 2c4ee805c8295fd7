"""What the ``latency`` fixture returns, and the milliseconds that it is compared with.

A latency is below a budget only where the upper end of its interval is, and above it only where the
lower end is: both comparisons are false where nothing is shown.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from latprof.errors import HostBusyError, LatprofError
from latprof.measurement.budgets import Budget, BudgetVerdict

if TYPE_CHECKING:
    from latprof.predictors.pack.answering import Answer
    from latprof.profilers.profiling import Profile
    from latprof.workflows.arguments import NetworkLike, PackLike


class Judged(Protocol):
    """A network whose latency is known, and what is said of its budgets."""

    @property
    def found(self) -> Profile | Answer:
        """All that was found out."""
        ...

    @property
    def state(self) -> str:
        """What was the matter with the host, or what the prediction holds for."""
        ...

    def judge(self, budget: Budget) -> BudgetVerdict:
        """Judge a budget of the latency or of a percentile."""
        ...


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
    of : Judged
        The network, and what was found out.
    percentile : float, optional
        Of the runs of a profile, or of the measurements that a prediction is for.
    """

    of: Judged
    percentile: float | None = None

    @property
    def name(self) -> str:
        """What the network is called."""
        return self.of.found.name

    @property
    def found(self) -> Profile | Answer:
        """All that was found out."""
        return self.of.found

    def p(self, percentile: float) -> Latency:
        """A percentile, above 0 and below 100, such as ``latency.measure("m.onnx").p(95)``."""
        from latprof.common.limits import Limit

        Limit(0, 100, open_low=True, open_high=True).check("percentile", percentile)
        return Latency(self.of, percentile)

    def verdict(self, limit: Milliseconds) -> BudgetVerdict:
        """Whether it keeps a budget."""
        quantity: Any = "latency" if self.percentile is None else "percentile"
        return self.of.judge(Budget(quantity, limit.value, self.percentile))

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
        return f"<{self.name}{name}: {self.found.latency_ms:.3f} ms; {self.of.state}>"

    def explain(self, limit: Milliseconds) -> list[str]:
        """Lines for a failed assertion: the interval against the limit, and the host."""
        return explanation(self.verdict(limit), self.of)


def explanation(verdict: BudgetVerdict, of: Judged) -> list[str]:
    """What a failed budget says: the verdict with its interval, the latency, and the host."""
    return [verdict.describe(), f"latency {of.found.latency_ms:.3f} ms", of.state]


@dataclass
class LatencyFixture:
    """The ``latency`` fixture: measures and predicts.

    Parameters
    ----------
    busy : str
        What becomes of a test to which a busy host gives no answer: ``"wait"`` for ``wait_s`` (all
        tests of a session together) and skip it then, ``"skip"`` it, or ``"fail"``.
    wait_s : float
    clock : callable
        Seconds that never go back.

    ``measured`` are the profiles of the networks that were measured, in order.
    """

    busy: str = "wait"
    wait_s: float = 300.0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    measured: list[Profile] = field(default_factory=list, init=False, repr=False)
    _started_at: float = field(default_factory=time.time, init=False, repr=False)

    def measure(
        self, model: NetworkLike, target: str = "cpu:onnxruntime", **options: Any
    ) -> Latency:
        """Measure a network's latency on this host.

        Takes what :func:`latprof.profile` takes, and raises the same. On a busy host the interval
        is wider. The test is skipped, or fails, where the host was busy and either gives no number,
        or the number is compared with a limit and the interval shows nothing.
        """
        __tracebackhide__ = True
        from latprof.workflows.profile import profile

        asked = partial(profile, model, target, **{"kernels": False, **options})
        try:
            return Latency(_Measured(self, asked))
        except LatprofError as error:  # it says all: the test's own line is where it is shown
            raise error.with_traceback(None) from None

    def predict(self, model: NetworkLike, pack: PackLike | None = None, **options: Any) -> Latency:
        """Predict a network's latency, without running it.

        Takes what :func:`latprof.predict` takes, and raises the same.
        """
        __tracebackhide__ = True
        from latprof.workflows.predict import predict

        try:
            return Latency(_Predicted(partial(predict, model, pack, **options)))
        except LatprofError as error:
            raise error.with_traceback(None) from None

    def check(self, model: NetworkLike, budget: str, **options: Any) -> None:
        """Fail the test unless a network keeps a budget: the marker ``latency_budget``.

        With ``pack``, the latency is predicted.
        """
        asked = Budget.within(budget)
        of = (self.predict if "pack" in options else self.measure)(model, **options).of
        verdict = of.judge(asked)
        if verdict.outcome != "kept":
            pytest.fail("\n".join(explanation(verdict, of)), pytrace=False)

    def write(self, path: str) -> None:
        """Write what was measured as pytest-benchmark does: ``--latency-json``."""
        from latprof.workflows.import_runs import write_profiles

        write_profiles(path, self.measured, self._started_at)

    def tried(self, profile: Callable[..., Profile]) -> Profile | str:
        """Measure in a quiet moment, as far as one comes; why there is no number, where none is.

        The time for which a busy host was waited for is taken off that which is left.
        """
        begin = self.clock()
        with _alone():
            left_s = max(self.wait_s - (self.clock() - begin), 0.0) * (self.busy == "wait")
            found: Profile | str
            try:
                found = profile(wait_quiet_s=left_s or None)
            except HostBusyError as error:
                found = error.problem
        if isinstance(found, str) or not found.host.quiet:
            self.wait_s = max(self.wait_s - (self.clock() - begin), 0.0)
        return found

    def end_or_wait(self, problem: str) -> None:
        """Fail or skip the test for a busy host, unless there is time to wait for a quiet one."""
        problem = f"latency not measured: {problem}"
        if self.busy == "fail":
            pytest.fail(f"{problem}; --latency-busy=wait waits for quiet", pytrace=False)
        if self.busy == "skip" or not self.wait_s:
            pytest.skip(problem)


class _Measured:
    """A network that is measured, and measured again while a busy host shows nothing."""

    def __init__(self, latencies: LatencyFixture, profile: Callable[..., Profile]) -> None:
        self._latencies, self._profile = latencies, profile
        found = latencies.tried(profile)
        while isinstance(found, str):
            latencies.end_or_wait(found)
            found = latencies.tried(profile)
        self._at = len(latencies.measured)
        latencies.measured.append(found)

    @property
    def found(self) -> Profile:
        return self._latencies.measured[self._at]

    @property
    def state(self) -> str:
        return f"host {self.found.host.describe()}"

    def judge(self, budget: Budget) -> BudgetVerdict:
        from latprof.workflows.budget_checks import profile_verdict

        while True:
            verdict = profile_verdict(self.found, budget)
            # Others make a run longer, never shorter, and percentiles are of the runs as they were.
            open_ = {"not shown"} if budget.percentile is None else {"not shown", "broken"}
            if verdict.outcome not in open_ or self.found.host.quiet:
                return verdict
            self._latencies.end_or_wait(f"{verdict.describe()}; {self.state}")
            again = self._latencies.tried(self._profile)
            if not isinstance(again, str):
                self._latencies.measured[self._at] = again


class _Predicted:
    """A network that is predicted, once more for each percentile that is asked for."""

    def __init__(self, predict: Callable[..., Answer]) -> None:
        self._predict, self.found = predict, predict()

    @property
    def state(self) -> str:
        target = self.found.target
        return f"predicted for {'an unknown target' if target is None else target.describe()}"

    def judge(self, budget: Budget) -> BudgetVerdict:
        from latprof.workflows.budget_checks import answer_verdicts

        (verdict,) = answer_verdicts(
            [self.found], [budget], lambda share: [self._predict(upper=share)]
        )
        return verdict


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
