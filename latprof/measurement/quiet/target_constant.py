"""What a millisecond is on a target: the reference network's latency on the quiet host.

The constant turns ratios into milliseconds, all of them at once. It is found from whatever moments
there were, so it says how quiet these were, and gives way to a better one when a quieter moment
comes. Each is a version in the store; none is forgotten.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from latprof.common.checked_json import Fields
from latprof.errors import InvalidValueError

#: A constant with at most this doubt is that of a quiet host.
QUIET_DOUBT = 0.02


@dataclass(frozen=True)
class Tie:
    """How long another reference of the family takes, as a multiple of the target's own.

    ``doubt`` is half of the 90 % interval around ``ratio`` as a fraction, ``visits`` behind it.
    """

    ratio: float
    doubt: float
    visits: int

    @property
    def widening(self) -> float:
        """As :attr:`Constant.widening`, of what was measured against this reference."""
        return 0.0 if self.doubt <= QUIET_DOUBT else math.log1p(self.doubt)


@dataclass(frozen=True)
class Constant:
    """The milliseconds of a target's reference on the quiet host, and how far to trust them.

    Parameters
    ----------
    reference_ms : float
    number : int
        Its version in the store, from 1; 0 for one that no store keeps.
    doubt : float
        How far the quiet host's value may be away, as a fraction to either side; NaN where it was
        found by a latprof that did not say.
    ties : mapping of str to Tie
        The other references of the family, by name.
    found : mapping
        How it was found, as plain JSON values: ``bursts`` of the reference and ``quiet_bursts``
        among them, ``preempted`` (share of their runs), ``other_load`` and ``withheld`` (shares, as
        in the visits, on average), ``spread`` (of the quiet bursts), ``found_at`` (Unix time, where
        it was kept), ``remembered_at`` (the same of one that another measurement of this host has
        left: :class:`latprof.measurement.quiet.known_host.KnownHost`).
    """

    reference_ms: float
    number: int = 0
    doubt: float = math.nan
    ties: Mapping[str, Tie] = field(default_factory=dict)
    found: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_quiet(self) -> bool:
        """Whether it is known to be the quiet host's."""
        return self.doubt <= QUIET_DOUBT

    @property
    def widening(self) -> float:
        """By what every interval of milliseconds is wider, on logarithms: 0 on a quiet host.

        The small doubt of a quiet host's constant is common to all networks and left out.
        """
        return 0.0 if self.is_quiet or math.isnan(self.doubt) else math.log1p(self.doubt)

    def widened(self, half_width: float) -> float:
        """A half-width on logarithms with the constant's doubt in it."""
        return math.hypot(half_width, self.widening)

    def to_dict(self) -> dict[str, Any]:
        """Return the constant as plain JSON values."""
        return {
            "reference_ms": self.reference_ms,
            "number": self.number,
            "doubt": self.doubt if math.isfinite(self.doubt) else None,
            "ties": {name: [t.ratio, t.doubt, t.visits] for name, t in self.ties.items()},
            "found": dict(self.found),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Constant:
        """Rebuild a constant from :meth:`to_dict`; raises InvalidValueError for anything else."""
        fields = Fields("constant", values, InvalidValueError)
        reference_ms, doubt = fields.number("reference_ms"), values.get("doubt")
        if not reference_ms > 0:
            fields.wrong("reference_ms", "a number above 0")
        return cls(
            reference_ms,
            fields.integer("number"),
            math.nan if doubt is None else fields.number("doubt", 0.0),
            {name: _tie(fields, tie) for name, tie in fields.fields("ties").values.items()},
            dict(fields.fields("found").values),
        )

    def describe(self) -> str:
        """How it was found, for people."""
        version = f"version {self.number}, " if self.number else ""
        if math.isnan(self.doubt):
            return f"{version}how quiet the host was is not known"
        how = "of a quiet host" if self.is_quiet else "of a host that was not quiet"
        remembered = self.found.get("remembered_at")
        if isinstance(remembered, int | float):
            day = time.strftime("%Y-%m-%d", time.gmtime(remembered))
            how = f"of a quiet moment of this host, {day}"
        return f"{version}{how}, within {100 * self.doubt:.1f} %"


#: A constant gives way to one with less than this part of its doubt.
_MUCH_LESS = 0.7


def is_better(found: Constant, last: Constant) -> bool:
    """Whether a constant shall hold from now on in place of the last one.

    Of one that an older latprof froze the doubt is not known: it gives way to one of a quiet host
    that differs by more than a quiet host's may.
    """
    if math.isnan(last.doubt):
        change = abs(math.log(found.reference_ms / last.reference_ms))
        return found.is_quiet and change > found.doubt + QUIET_DOUBT
    return found.doubt < _MUCH_LESS * last.doubt


def _tie(fields: Fields, value: Any) -> Tie:
    if not (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(type(number) in (int, float) and math.isfinite(number) for number in value)
        and value[0] > 0
        and value[1] >= 0
    ):
        fields.wrong("ties", "a ratio, its doubt and visits for each reference")
    ratio, doubt, visits = value
    return Tie(float(ratio), float(doubt), int(visits))
