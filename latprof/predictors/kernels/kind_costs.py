"""What is known of one kind of operator on a target."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr

if TYPE_CHECKING:
    from latprof.common.checked_json import Fields

Floats: TypeAlias = NDArray[np.float64]

#: How far outside the training's sizes, as a factor, an operator still counts as known.
SIZE_TOLERANCE = 2.0


_SIZED = re.compile(r"(conv|depthwise|grouped|transposed)(\d+)(?:x\d+)*")


@dataclass(frozen=True, repr=False)
class KindCost(ShortRepr):
    """Cost of one kind of operator: milliseconds for each unit of :data:`WORK`, shape (4,).

    Parameters
    ----------
    coefficients : array of shape (4,)
    low, high : array of shape (3,)
        Least and largest macs, elements and weights of the training's operators of this kind.
    varied : bool
        Whether its work differs between training networks; otherwise they say nothing of it.
    least_share, largest_share : array of shape (2,)
        Its part in a training network's multiply-accumulates and in the values moved.
    kernels : array of shape (m, 4)
        Macs, elements, weights and milliseconds of those that were timed, one a size.
    from_kernels : bool
        Whether the coefficients are fitted to ``kernels``, not to whole networks.
    """

    coefficients: Floats
    low: Floats
    high: Floats
    varied: bool = True
    least_share: Floats = field(default_factory=lambda: np.zeros(2))
    largest_share: Floats = field(default_factory=lambda: np.ones(2))
    kernels: Floats = field(default_factory=lambda: np.empty((0, 4)))
    from_kernels: bool = False

    @cached_property
    def _times(self) -> dict[tuple[float, ...], float]:
        return {tuple(sizes): latency_ms for *sizes, latency_ms in self.kernels.tolist()}

    @cached_property
    def _covered(self) -> list[tuple[float, float]]:
        """Least and largest of each size that is covered: quicker to look at than arrays of 3."""
        low, high = self.low / SIZE_TOLERANCE, self.high * SIZE_TOLERANCE
        return [*zip(low.tolist(), high.tolist(), strict=True)]

    def covers(self, work: Floats) -> bool:
        """Whether an operator's sizes lie within the training's, with some tolerance."""
        sizes = zip(work.tolist(), self._covered, strict=False)  # the last of work is no size
        return all(low <= size <= high for size, (low, high) in sizes)

    def kernel_ms(self, work: Floats) -> float | None:
        """What kernels of this kind say of an operator; None where they say nothing."""
        timed = self._times.get(tuple(work[:3].tolist()))
        if timed is not None:
            return timed
        within = self.from_kernels and self.covers(work)
        return float(self.coefficients @ work) if within else None

    def nearest_kernel(self, work: Floats) -> list[float]:
        """Work and milliseconds of the timed kernel nearest in size; empty where there is none."""
        if not len(self.kernels):
            return []
        steps = np.abs(np.log1p(self.kernels[:, :3]) - np.log1p(work[:3])).sum(axis=1)
        nearest: list[float] = self.kernels[int(np.argmin(steps))].tolist()
        return nearest

    def to_dict(self) -> dict[str, Any]:
        """Return it as values for JSON."""
        return {
            "coefficients": self.coefficients,
            "low": self.low,
            "high": self.high,
            "varied": int(self.varied),
            "shares": [self.least_share, self.largest_share],
            "kernels": self.kernels,
            "from_kernels": int(self.from_kernels),
        }

    @classmethod
    def of_fields(cls, fields: Fields, version: int) -> KindCost:
        """Rebuild it from :meth:`to_dict` of a format's version; raises PackError."""
        low, high = at_least_zero(fields, "low", 3), at_least_zero(fields, "high", 3)
        coefficients = at_least_zero(fields, "coefficients", 4)
        if version == 1:  # a kind of one size is, as a rule, one that every network has once
            return KindCost(coefficients, low, high, bool(np.any(low != high)))
        shares = at_least_zero(fields, "shares", 2, 2)
        return KindCost(
            coefficients,
            low,
            high,
            bool(fields.integer("varied", 0, 1)),
            shares[0],
            shares[1],
            at_least_zero(fields, "kernels", None, 4),
            bool(fields.integer("from_kernels", 0, 1)),
        )


def nearest_kind(kind: str, known: Iterable[str]) -> str | None:
    """Return the most similar known kind, or None.

    Convolutions: the same family at the nearest kernel size, else dense ones. Matrix products: 1x1
    convolutions. All else moves data: additions, else pools.
    """
    names = sorted(known)
    match = _SIZED.fullmatch(kind)
    families = (match[1], "conv") if match else ("conv",) if kind == "linear" else ()
    size = int(match[2]) if match else 1
    for family in families:
        sizes = {
            name: int(m[2]) for name in names if (m := _SIZED.fullmatch(name)) and m[1] == family
        }
        if sizes:
            return min(sizes, key=lambda name: abs(math.log(sizes[name] / max(size, 1))))
    fallback = ("linear",) if families else ("add", "pool")
    return next((name for name in fallback if name in names), None)


def at_least_zero(fields: Fields, name: str, *shape: int | None) -> Floats:
    """Numbers of this shape, none below 0; raises PackError."""
    values = fields.array(name, shape)
    if np.any(values < 0):
        fields.wrong(name, "numbers of at least 0")
    return values
