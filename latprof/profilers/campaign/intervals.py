"""The intervals around a campaign's labels while it runs, as its store's labels will have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latprof.measurement.process_effects import process_effects
from latprof.measurement.statistics import relative_half_width, visit_ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.measurement.records import Subject
    from latprof.measurement.visits import Visit


class Intervals:
    """Collects undisturbed visits, for the confidence interval of each label.

    One visit changes the estimated bias of its process, and with it every label of that process, so
    the intervals are computed anew when they are asked for after a visit was added.
    """

    def __init__(self) -> None:
        self._visits: list[tuple[Subject, int, str, str, float]] = []
        self._ratios: dict[tuple[Subject, int], dict[str, list[float]]] | None = {}

    def add(self, network: Subject, label: int, visit: Visit) -> None:
        """Add one visit, which did not fail."""
        assert visit.samples is not None
        reference = visit.samples.reference_name
        ratio = visit_ratio(visit.samples)
        self._visits.append((network, label, visit.process, reference, ratio))
        self._ratios = None

    def ratios(self, network: Subject, label: int) -> NDArray[np.float64]:
        """A label's ratios, with the bias of their processes divided out.

        To one reference, that of most visits: others' are of another scale.
        """
        if self._ratios is None:
            self._ratios = self._without_process_effects()
        found = self._ratios.get((network, label), {})
        return np.array(max(found.values(), key=len, default=()))

    def relative_half_width(self, network: Subject, label: int) -> float:
        """See :func:`latprof.measurement.statistics.relative_half_width`."""
        return relative_half_width(self.ratios(network, label))

    def _without_process_effects(self) -> dict[tuple[Subject, int], dict[str, list[float]]]:
        numbers: dict[tuple[Subject, str], int] = {}
        networks, processes = [], []
        for network, _, process, reference, _ in self._visits:
            networks.append(numbers.setdefault((network, reference), len(numbers)))
            # The loads of each reference have a bias of their own in a process.
            processes.append(f"{process}/{reference}" if reference else process)
        ratios = np.array([ratio for *_, ratio in self._visits])
        found: dict[tuple[Subject, int], dict[str, list[float]]] = {}
        corrected = ratios / process_effects(networks, processes, ratios)
        for (network, label, _, reference, _), ratio in zip(
            self._visits, corrected.tolist(), strict=True
        ):
            found.setdefault((network, label), {}).setdefault(reference, []).append(ratio)
        return found
