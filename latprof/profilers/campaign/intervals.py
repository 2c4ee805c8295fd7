"""The intervals around a campaign's labels while it runs, as its store's labels will have them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from latprof.measurement.process_effects import process_effects
from latprof.measurement.statistics import relative_half_width

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Kind, space and key of a network.
NetworkKey: TypeAlias = tuple[str, str, str]


class Intervals:
    """Collects undisturbed visits and tells how far each label is known.

    One visit moves what its process has in common, and with it every label of that process, so the
    intervals are worked out anew when they are asked for after a visit was added.
    """

    def __init__(self) -> None:
        self._visits: list[tuple[NetworkKey, int, str, float]] = []
        self._ratios: dict[tuple[NetworkKey, int], list[float]] | None = {}

    def add(self, network: NetworkKey, label: int, process: str, ratio: float) -> None:
        """Add one visit's ratio."""
        self._visits.append((network, label, process, ratio))
        self._ratios = None

    def ratios(self, network: NetworkKey, label: int) -> NDArray[np.float64]:
        """A label's ratios, free of what their processes have in common."""
        if self._ratios is None:
            self._ratios = self._without_process_effects()
        return np.array(self._ratios.get((network, label), ()))

    def relative_half_width(self, network: NetworkKey, label: int) -> float:
        """See :func:`latprof.measurement.statistics.relative_half_width`."""
        return relative_half_width(self.ratios(network, label))

    def _without_process_effects(self) -> dict[tuple[NetworkKey, int], list[float]]:
        numbers: dict[NetworkKey, int] = {}
        networks = [numbers.setdefault(network, len(numbers)) for network, *_ in self._visits]
        processes = [process for _, _, process, _ in self._visits]
        ratios = np.array([ratio for *_, ratio in self._visits])
        found: dict[tuple[NetworkKey, int], list[float]] = defaultdict(list)
        corrected = ratios / process_effects(networks, processes, ratios)
        for (network, label, _, _), ratio in zip(self._visits, corrected.tolist(), strict=True):
            found[network, label].append(ratio)
        return dict(found)
