"""The intervals around a campaign's labels while it runs, as its store's labels will have them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from latprof.measurement.process_effects import process_effects
from latprof.measurement.statistics import relative_half_width

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.measurement.records import Subject


class Intervals:
    """Collects undisturbed visits, for the confidence interval of each label.

    One visit changes the estimated bias of its process, and with it every label of that process, so
    the intervals are computed anew when they are asked for after a visit was added.
    """

    def __init__(self) -> None:
        self._visits: list[tuple[Subject, int, str, float]] = []
        self._ratios: dict[tuple[Subject, int], list[float]] | None = {}

    def add(self, network: Subject, label: int, process: str, ratio: float) -> None:
        """Add one visit's ratio."""
        self._visits.append((network, label, process, ratio))
        self._ratios = None

    def ratios(self, network: Subject, label: int) -> NDArray[np.float64]:
        """A label's ratios, with the bias of their processes divided out."""
        if self._ratios is None:
            self._ratios = self._without_process_effects()
        return np.array(self._ratios.get((network, label), ()))

    def relative_half_width(self, network: Subject, label: int) -> float:
        """See :func:`latprof.measurement.statistics.relative_half_width`."""
        return relative_half_width(self.ratios(network, label))

    def _without_process_effects(self) -> dict[tuple[Subject, int], list[float]]:
        numbers: dict[Subject, int] = {}
        networks = [numbers.setdefault(network, len(numbers)) for network, *_ in self._visits]
        processes = [process for _, _, process, _ in self._visits]
        ratios = np.array([ratio for *_, ratio in self._visits])
        found: dict[tuple[Subject, int], list[float]] = defaultdict(list)
        corrected = ratios / process_effects(networks, processes, ratios)
        for (network, label, _, _), ratio in zip(self._visits, corrected.tolist(), strict=True):
            found[network, label].append(ratio)
        return dict(found)
