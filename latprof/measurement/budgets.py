"""Budgets of latency: the words of ``--fail-if``, and whether an interval keeps one.

A budget is kept only where the upper end of the interval is within it, and broken only where the
lower end is beyond it. Between them nothing is shown, and without an interval there is no verdict.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from latprof.common.limits import INNER_SHARE
from latprof.common.short_reprs import ShortRepr
from latprof.errors import (
    EXIT_FINDING,
    EXIT_OK,
    EXIT_PARTIAL,
    InvalidValueError,
    NotEnoughDataError,
    UsageError,
    shown,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Outcome: TypeAlias = Literal["kept", "broken", "not shown", "no verdict"]
Quantity: TypeAlias = Literal["latency", "percentile", "slower", "faster"]

_CONDITION = re.compile(
    r" *(?P<what>latency|slower|faster|p(?P<percentile>[0-9]{1,2}(?:\.[0-9]{1,6})?))?"
    r" *(?P<sign>[<>]=?)? *(?P<limit>[0-9]{1,9}(?:\.[0-9]{1,9})?) *(?P<unit>ms|us|s|%)? *"
)
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Budget:
    """The most that a network may take, or by how much it may differ from another.

    Parameters
    ----------
    quantity : str
        ``"latency"`` or ``"percentile"``, in milliseconds; ``"slower"`` or ``"faster"``, a fraction
        of the other network's latency.
    limit : float
        The most that is kept, in milliseconds or as a fraction.
    percentile : float, optional
        Above 0 and below 100, for ``"percentile"``.
    """

    quantity: Quantity
    limit: float
    percentile: float | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read a condition that fails: ``> 5 ms``, ``p95 > 8 ms``, ``slower > 3 %``.

        Raises InvalidValueError for anything else.
        """
        return cls._read(text, {">"}, "for example '> 5 ms', 'p95 > 8 ms' or 'slower > 3 %'")

    @classmethod
    def within(cls, text: str) -> Budget:
        """Read what may be taken: ``5 ms``, ``p95 8 ms`` or ``<= 5 ms``.

        Raises InvalidValueError for anything else.
        """
        return cls._read(text, {None, "<", "<="}, "for example '5 ms' or 'p95 8 ms'")

    @classmethod
    def _read(cls, text: str, signs: Collection[str | None], expected: str) -> Budget:
        found = _CONDITION.fullmatch(text) if isinstance(text, str) else None
        wrong = "" if found is None else _wrong(found, signs)
        if found is None or wrong:
            raise InvalidValueError(
                f"the condition cannot be read{wrong and ': '}{wrong}",
                field="fail-if",
                expected=expected,
                got=shown(text),
            )
        number = float(found["limit"])
        if found["what"] in {"slower", "faster"}:
            return cls("slower" if found["what"] == "slower" else "faster", number / 100)
        percentile = float(found["percentile"]) if found["percentile"] else None
        quantity: Quantity = "latency" if percentile is None else "percentile"
        return cls(quantity, number * _MS[found["unit"]], percentile)

    def describe(self) -> str:
        """What is kept, in words."""
        if self.quantity in {"slower", "faster"}:
            return f"{self.quantity} by at most {self.limit * 100:.9g} %"
        name = "" if self.percentile is None else f"p{self.percentile:g} "
        return f"{name}at most {self.limit:.9g} ms"

    def judge(self, name: str, low: float, high: float, basis: str) -> BudgetVerdict:
        """Judge an interval.

        Parameters
        ----------
        name : str
            What the network is called.
        low, high : float
            Ends of the interval, in milliseconds or as fractions. Without a number for either there
            is no verdict; ``high`` may be infinite.
        basis : str
            What the interval is of.
        """
        outcome: Outcome = "not shown"
        if math.isnan(low) or math.isnan(high):
            outcome = "no verdict"
        elif high <= self.limit:
            outcome = "kept"
        elif low > self.limit:
            outcome = "broken"
        return BudgetVerdict(name, self, outcome, low, high, basis)


def _wrong(found: re.Match[str], signs: Collection[str | None]) -> str:
    """What keeps the words of a condition from being one; empty where nothing does."""
    sign, unit, percentile = found["sign"], found["unit"], found["percentile"]
    relative = found["what"] in {"slower", "faster"}
    if sign not in signs:
        return f"its sign is {sign}" if sign else "it has no sign"
    if unit is None:
        return "it has no unit"
    if (unit == "%") != relative:
        return f"its unit is {unit}"
    if percentile and not INNER_SHARE.takes(float(percentile) / 100):
        return "its percentile is not above 0"
    return "" if relative or float(found["limit"]) > 0 else "its limit is not above 0"


@dataclass(frozen=True)
class BudgetVerdict:
    """Whether one network keeps one budget.

    ``low`` and ``high`` are the ends of the interval that decided, in the budget's unit, and
    ``basis`` says what it is of.
    """

    name: str
    budget: Budget
    outcome: Outcome
    low: float
    high: float
    basis: str

    def describe(self) -> str:
        """One line for people."""
        found = "there is no interval" if self.outcome == "no verdict" else self.interval
        return f"{self.name}: {self.budget.describe()}: {self.outcome}: {found} ({self.basis})"

    @property
    def interval(self) -> str:
        """The interval with its unit."""
        if self.budget.quantity in {"slower", "faster"}:
            return f"{self.low:+.2%} to {self.high:+.2%}"
        high = "more than was seen" if math.isinf(self.high) else f"{_figure(self.high)} ms"
        return f"{_figure(self.low)} to {high}"

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain JSON values; ``limit`` and the ends have the ``unit``."""
        relative = self.budget.quantity in {"slower", "faster"}
        return {
            "quantity": self.budget.quantity,
            "percentile": self.budget.percentile,
            "limit": self.budget.limit,
            "unit": "fraction" if relative else "ms",
            "outcome": self.outcome,
            "low": self.low,
            "high": self.high,
            "basis": self.basis,
        }


def _figure(value: float) -> str:
    """So many digits that a limit beside it can be told from it."""
    return f"{value:.3f}" if value >= 0.1 else f"{value:.3g}"


@dataclass(frozen=True, repr=False)
class BudgetResult(ShortRepr):
    """The verdicts on all budgets.

    ``allow_open`` says that what is not shown does not fail.
    """

    verdicts: tuple[BudgetVerdict, ...] = ()
    allow_open: bool = False

    @property
    def failed(self) -> tuple[BudgetVerdict, ...]:
        """Those for which the status is not 0."""
        passing = {"kept", "not shown"} if self.allow_open else {"kept"}
        return tuple(verdict for verdict in self.verdicts if verdict.outcome not in passing)

    @property
    def exit_status(self) -> int:
        """1 where a budget is broken or not shown, else 5 where one has no verdict."""
        found = {verdict.outcome for verdict in self.failed}
        if found & {"broken", "not shown"}:
            return EXIT_FINDING
        return EXIT_PARTIAL if found else EXIT_OK

    def shown(self, row: int = 0, rows: int = 1) -> dict[str, Any]:
        """What the JSON of the ``row``-th of ``rows`` networks says of its budgets, if any."""
        each = len(self.verdicts) // rows
        found = self.verdicts[row * each : (row + 1) * each]
        return {"budgets": [verdict.to_dict() for verdict in found]} if found else {}


def read_budgets(
    fail_if: str | Sequence[str] | None, quantities: Collection[Quantity], what: str
) -> tuple[Budget, ...]:
    """Read one condition or several.

    Parameters
    ----------
    fail_if : str or sequence of str, optional
    quantities : collection of str
        Those that can be judged.
    what : str
        What is judged, for the message.

    Raises
    ------
    InvalidValueError
        For what is no condition.
    UsageError
        For a condition on a quantity that is not there.
    """
    texts = [fail_if] if isinstance(fail_if, str) else [*(fail_if or ())]
    budgets = tuple(Budget.parse(text) for text in texts)
    for text, budget in zip(texts, budgets, strict=True):
        if budget.quantity not in quantities:
            raise UsageError(
                f"{what} has no such figure",
                field="fail-if",
                expected="a condition on " + ", ".join(sorted(quantities)),
                got=text,
            )
    return budgets


def percentile_interval(visits_ms: Sequence[ArrayLike], percentile: float) -> tuple[float, float]:
    """A 90 % confidence interval of a percentile of runs that come in visits, in milliseconds.

    Woodruff's interval (Journal of the American Statistical Association 47, 1952): the share of the
    runs below the sample's percentile has an error that is known from the spread between the
    visits, since runs of one load are not independent, and at least that of independent runs. Both
    ends of the share's interval (Student's t) are read off the sample.

    Parameters
    ----------
    visits_ms : sequence of array of shape (runs,)
        Durations of the runs of each visit.
    percentile : float
        Above 0 and below 100.

    Returns
    -------
    low, high : float
        ``high`` is infinite where so few runs do not bound the percentile. NaN for one visit.

    Raises
    ------
    NotEnoughDataError
        Without runs.
    """
    import numpy as np
    from scipy import special

    visits = [np.asarray(visit, dtype=np.float64) for visit in visits_ms]
    visits = [visit for visit in visits if len(visit)]
    if not visits:
        raise NotEnoughDataError("a percentile needs runs", got="none")
    if len(visits) < 2:
        return math.nan, math.nan
    runs = np.concatenate(visits)
    share = percentile / 100
    value = np.quantile(runs, share)
    # Ratio estimate of a share over clusters of different sizes.
    residuals = np.array([np.sum(visit <= value) - share * len(visit) for visit in visits])
    count = len(visits)
    between = math.sqrt(count / (count - 1) * float(np.sum(residuals**2))) / len(runs)
    error = max(between, math.sqrt(share * (1 - share) / len(runs)))
    half = float(special.stdtrit(count - 1, 0.95)) * error
    low, high = max(share - half, 0.0), share + half
    return float(np.quantile(runs, low)), (float(np.quantile(runs, high)) if high < 1 else math.inf)
