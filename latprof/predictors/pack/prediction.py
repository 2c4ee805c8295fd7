"""Predicted latencies of a batch, with what a predicted number has to carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.html_parts import html_table
from latprof.common.short_reprs import ShortRepr

if TYPE_CHECKING:
    from latprof.measurement.records import Target

Floats: TypeAlias = NDArray[np.float64]

#: Rows that are shown of a long batch.
_SHOWN = 10


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(ShortRepr):
    """Predicted latencies of n architectures, with the interval and the target they hold for.

    Parameters
    ----------
    latency_ms, low_ms, high_ms : array of shape (n,)
        The prediction, and the ends of its interval.
    coverage : float
        Share of measurements that fall inside such intervals, for networks drawn as the training
        rows were; 0 where the interval is not known and both ends are the prediction.
    target : Target or None
        Where these milliseconds hold.
    distance : array of shape (n,), optional
        From the training rows; above 1 is outside their region, where intervals may be too narrow
        (see :meth:`latprof.predictors.base.Predictor.distance`). None where it is not known.
    """

    latency_ms: Floats
    low_ms: Floats
    high_ms: Floats
    coverage: float
    target: Target | None
    distance: Floats | None = None

    def __len__(self) -> int:
        return len(self.latency_ms)

    def typical_interval(self) -> tuple[float, float]:
        """Coverage of the intervals, and half of the median one as a share of the prediction.

        0 and 0 where the intervals are not known, or there is no architecture.
        """
        if not self.coverage or not len(self):
            return 0.0, 0.0
        # A model may predict 0 ms; the interval is then wide, not endless.
        least_ms = 1e-3 * float(np.abs(self.latency_ms).max())
        shares = (self.high_ms - self.low_ms) / 2 / np.maximum(self.latency_ms, least_ms)
        return self.coverage, float(min(np.median(shares), 1e3))

    def _repr_html_(self) -> str:
        interval = f"{self.coverage:.0%} interval, ms" if self.coverage else "interval, ms"
        rows = [
            (f"{latency:.3f}", f"{low:.3f} to {high:.3f}" if self.coverage else "not known")
            for latency, low, high in zip(
                self.latency_ms[:_SHOWN].tolist(),
                self.low_ms[:_SHOWN].tolist(),
                self.high_ms[:_SHOWN].tolist(),
                strict=True,
            )
        ]
        if len(self) > _SHOWN:
            rows.append((f"{len(self) - _SHOWN:,} more", ""))
        target = "an unknown target" if self.target is None else self.target.describe()
        return html_table(f"Predicted on {target}", rows, ("latency, ms", interval))
