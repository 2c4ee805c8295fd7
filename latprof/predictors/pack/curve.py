"""One model's predicted latency at several sizes: over batch, resolution or sequence length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latprof.common.short_reprs import ShortRepr

if TYPE_CHECKING:
    from latprof.measurement.visits import Failure
    from latprof.predictors.pack.answering import Answer

#: What an answer has beyond its latency, and a curve has no use for.
_OF_ONE = ("name", "architecture", "distance", "operators", "changes")


@dataclass(frozen=True)
class CurvePoint:
    """A model at one size along each axis: an answer, or why there is none."""

    sizes: tuple[int, ...]
    answer: Answer | None = None
    failure: Failure | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Curve(ShortRepr):
    """One model's predicted latency at several sizes.

    Parameters
    ----------
    name : str
        What the model is called.
    axes : tuple of str
        What varies, such as ``"batch"``: one, or two. Each point has a size along each.
    points : tuple of CurvePoint
        All combinations, the last axis fastest.
    batch_axis : str
        Which axis is the number of items a run; empty where none is.
    """

    name: str
    axes: tuple[str, ...]
    points: tuple[CurvePoint, ...]
    batch_axis: str = ""

    @property
    def answered(self) -> list[tuple[CurvePoint, Answer]]:
        """The points that have an answer."""
        return [(point, point.answer) for point in self.points if point.answer is not None]

    def batch_of(self, point: CurvePoint) -> int | None:
        """Items a run at a point; None where the batch is no axis."""
        return point.sizes[self.axes.index(self.batch_axis)] if self.batch_axis else None

    def throughput(self, point: CurvePoint) -> float | None:
        """Items a second at a point: the batch over the latency; None where the batch is no axis.

        None for a point without an answer, too.
        """
        batch = self.batch_of(point)
        if batch is None or point.answer is None:
            return None
        return 1000 * batch / point.answer.latency_ms

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as plain JSON values."""
        points = []
        for point in self.points:
            values = {} if point.answer is None else point.answer.to_dict()
            points.append(
                {"sizes": dict(zip(self.axes, point.sizes, strict=True))}
                | {key: value for key, value in values.items() if key not in _OF_ONE}
                | {
                    "items_per_s": self.throughput(point),
                    "failure": None if point.failure is None else point.failure.to_dict(),
                }
            )
        return {"network": self.name, "axes": list(self.axes), "points": points}
