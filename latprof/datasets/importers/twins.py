"""The noise of a published column, from networks that it holds under two names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latprof.measurement.statistics import NoiseFloor, noise_floor_of_repeats

if TYPE_CHECKING:
    from latprof.datasets.importers.base import ImportedLatencies


def noise_of_twins(column: ImportedLatencies) -> NoiseFloor | None:
    """How far the latencies of one network under two names differ; None where there are none.

    The spaces say which names are of one network (:meth:`SearchSpace.isomorphs`). What the layout
    of the two changes counts as noise too.
    """
    if column.space is None or column.choices is None:
        return None
    rows = np.flatnonzero(column.usable)
    names = column.space.isomorphs(column.choices[rows])
    _, first, network = np.unique(names, axis=0, return_index=True, return_inverse=True)
    again = np.setdiff1d(np.arange(len(rows)), first)
    if not len(again):
        return None
    latency_ms = column.latency_ms[rows]
    return noise_floor_of_repeats(latency_ms[first[network.ravel()[again]]], latency_ms[again])
