"""The noise of a published column, from networks that it holds under two names."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.measurement.statistics import NoiseFloor, noise_floor_of_repeats

if TYPE_CHECKING:
    from latprof.datasets.importers.base import ImportedLatencies

Floats: TypeAlias = NDArray[np.float64]


def noise_of_twins(column: ImportedLatencies) -> NoiseFloor | None:
    """How far the latencies of one network under two names differ; None where there are none.

    What the layout of the two changes counts as noise too. In percent of these networks' mean, as
    an RMSE is: networks of one column differ by many times, and a share of a small latency can be
    huge.
    """
    pairs = latencies_of_twins(column)
    if pairs is None:
        return None
    floor = noise_floor_of_repeats(*pairs)
    return dataclasses.replace(floor, relative=floor.rmse_ms / float(np.mean(pairs)))


def latencies_of_twins(column: ImportedLatencies) -> tuple[Floats, Floats] | None:
    """Latencies in ms of networks under one name and under another, both of shape (pairs,).

    The spaces say which names are of one network (:meth:`SearchSpace.isomorphs`). None where there
    are no such networks.
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
    return latency_ms[first[network.ravel()[again]]], latency_ms[again]
