"""Is one network, or one state of the host, faster than another? Verdicts with a known error rate.

The unit of evidence is a measuring process, never a round or a run: what two processes have in
common is the network; two rounds of one load share its bias, and counting rounds as independent
would find differences that do not exist.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from scipy import stats

from latprof.common.html_parts import html_table
from latprof.common.limits import INNER_SHARE
from latprof.errors import InvalidValueError, NotEnoughDataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from latprof.measurement.visits import VisitCounts

Verdict: TypeAlias = Literal["faster", "slower", "no evidence"]


@dataclass(frozen=True)
class Side:
    """One network of a comparison: its latency in ms and the 90 % interval around it."""

    name: str
    latency_ms: float
    low_ms: float
    high_ms: float

    def describe(self) -> str:
        """The milliseconds for people; without an interval where none is known."""
        if not math.isfinite(self.low_ms):
            return f"{self.latency_ms:.3f}"
        return f"{self.latency_ms:.3f} ({self.low_ms:.3f} to {self.high_ms:.3f})"


@dataclass(frozen=True)
class Comparison:
    """B against A for one network.

    ``effect`` is the relative difference of B's latency from A's (0.03: B takes 3 % longer),
    ``low`` and ``high`` its confidence interval (not corrected for many networks), ``p_value`` that
    of no difference, and ``adjusted_p_value`` the same after Holm's correction over all networks
    compared. ``samples`` counts the processes that measured it, on both sides together where these
    were not measured in turn. ``visits`` says what became of the visits, where they were made for
    this comparison, and ``a`` and ``b`` are both sides' milliseconds. ``freedom`` are the degrees
    of freedom of the interval.
    """

    name: str
    effect: float
    low: float
    high: float
    p_value: float
    adjusted_p_value: float
    verdict: Verdict
    samples: int
    visits: VisitCounts | None = None
    a: Side | None = None
    b: Side | None = None
    freedom: float = math.inf

    def interval(self, alpha: float, comparisons: int = 1) -> tuple[float, float]:
        """The interval of the effect where so many are to hold at once (Bonferroni).

        ``alpha`` is the rate that the comparison was made with.
        """
        if comparisons == 1:
            return self.low, self.high
        centre = math.log1p(self.effect)
        half = (math.log1p(self.high) - math.log1p(self.low)) / 2
        plain, wide = (stats.t.ppf(1 - alpha / 2 / n, self.freedom) for n in (1, comparisons))
        half *= float(wide) / float(plain)
        return math.expm1(centre - half), math.expm1(centre + half)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values."""
        values = asdict(self)
        del values["visits"]
        return values | ({} if self.visits is None else self.visits.to_dict())

    def _repr_html_(self) -> str:
        return comparisons_html([self])


def comparisons_html(comparisons: Sequence[Comparison], missing: Sequence[str] = ()) -> str:
    """Comparisons of B against A as a table of HTML; ``missing`` are networks without one."""
    rows: list[tuple[str, ...]] = [
        (
            each.name,
            each.verdict,
            f"{each.effect:+.2%}",
            f"{each.low:+.2%} to {each.high:+.2%}",
            f"{each.adjusted_p_value:.3g}",
        )
        for each in comparisons
    ]
    rows += [(name, "not measured in B", "", "", "") for name in missing]
    header = ("network", "verdict", "effect", "interval", "p, adjusted")
    return html_table("B against A", rows, header)


def compare_pairs(
    name: str, a: ArrayLike, b: ArrayLike, alpha: float = 0.05, *, doubt: float = 0.0
) -> Comparison:
    """Compare two networks that were measured in turn in the same processes.

    Parameters
    ----------
    name : str
    a, b : array of shape (processes, visits)
        Visit ratios, or milliseconds; row i of both comes from process i.
    alpha : float
        Rate of false verdicts that is accepted.
    doubt : float
        By how much all processes together may be off, on logarithms: half of a 90 % interval.

    Returns
    -------
    Comparison
        From Student's t test on the processes' mean differences of logarithms.
    """
    check_alpha(alpha)
    first, second = (np.asarray(values, dtype=np.float64) for values in (a, b))
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second):
        raise InvalidValueError("a comparison in pairs takes as many processes of either side")
    if len(first) < 2:
        raise NotEnoughDataError("a comparison needs at least 2 processes", got=str(len(first)))
    differences = np.log(second).mean(axis=1) - np.log(first).mean(axis=1)
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    error = math.hypot(error, doubt / float(stats.norm.ppf(0.95)))
    freedom = len(differences) - 1
    return _comparison(
        name, float(differences.mean()), error, freedom, alpha, samples=len(differences)
    )


def compare_groups(name: str, a: ArrayLike, b: ArrayLike, alpha: float = 0.05) -> Comparison:
    """Compare measurements made at different times, each in a process of its own.

    ``a`` and ``b`` are of shapes (n,) and (m,): ratios, or milliseconds, one a process. From
    Welch's t test on their logarithms.
    """
    check_alpha(alpha)
    first, second = (np.log(np.asarray(values, dtype=np.float64)) for values in (a, b))
    if min(len(first), len(second)) < 2:
        raise NotEnoughDataError(f"{name} needs visits by at least 2 processes on either side")
    variances = [float(v.var(ddof=1)) / len(v) for v in (first, second)]
    error = math.sqrt(sum(variances))
    freedom = float(len(first) + len(second) - 2)
    if error > 0:
        parts = zip(variances, (first, second), strict=True)
        freedom = error**4 / sum(v**2 / (len(x) - 1) for v, x in parts)
    return _comparison(
        name,
        float(second.mean() - first.mean()),
        error,
        freedom,
        alpha,
        samples=len(first) + len(second),
    )


def check_alpha(alpha: float) -> None:
    """Raise InvalidValueError for what is no rate of false verdicts."""
    INNER_SHARE.check("alpha", alpha)


def _comparison(
    name: str, difference: float, error: float, freedom: float, alpha: float, *, samples: int
) -> Comparison:
    half = float(stats.t.ppf(1 - alpha / 2, freedom)) * error
    p_value = 1.0 if difference == 0 else 0.0
    if error > 0:
        p_value = float(2 * stats.t.sf(abs(difference) / error, freedom))
    return Comparison(
        name=name,
        effect=math.expm1(difference),
        low=math.expm1(difference - half),
        high=math.expm1(difference + half),
        p_value=p_value,
        adjusted_p_value=p_value,
        verdict=_verdict(difference, p_value, alpha),
        samples=samples,
        freedom=freedom,
    )


def _verdict(difference: float, p_value: float, alpha: float) -> Verdict:
    if p_value >= alpha:
        return "no evidence"
    return "slower" if difference > 0 else "faster"


def holm(comparisons: Sequence[Comparison], alpha: float = 0.05) -> list[Comparison]:
    """Correct verdicts over m comparisons, so that all together err at the rate ``alpha``.

    Holm (1979): the k-th smallest p-value is multiplied by m - k + 1 and made no smaller than those
    before it.
    """
    check_alpha(alpha)
    order = np.argsort([c.p_value for c in comparisons], kind="stable")
    corrected: list[Comparison | None] = [None] * len(comparisons)
    largest = 0.0
    for rank, index in enumerate(order.tolist()):
        found = comparisons[index]
        largest = max(largest, min(1.0, found.p_value * (len(comparisons) - rank)))
        corrected[index] = replace(
            found,
            adjusted_p_value=largest,
            verdict=_verdict(found.effect, largest, alpha),
        )
    return [c for c in corrected if c is not None]
