"""A kernel model that knows kernels which were measured after it was fitted.

The trees stay as they are. A measured kernel is answered with its own time, and counts as covered.
A family that training never saw, or hardly, gets a level, a range and an error of its own.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.predictors.kernels.kernel_model import FamilyModel, KernelModel, window_of
from latprof.predictors.kernels.nearest_families import level_of

if TYPE_CHECKING:
    from latprof.predictors.kernels.configurations import Configurations

Floats: TypeAlias = NDArray[np.float64]

#: Fewest different kernels of a family that tell its level.
_FEWEST = 4
_LEAST_ERROR = 0.2
#: Timings of one kernel that weigh as much as the trees.
_SHRINKAGE = 0.3


def refined_model(model: KernelModel, kernels: Configurations, latency_ms: Floats) -> KernelModel:
    """A model with n kernels that were measured since; their times have shape (n,), in ms."""
    count: dict[int, int] = {}
    logs: dict[int, float] = {}
    first: dict[int, int] = {}
    for row, (digest, ms) in enumerate(zip(kernels.digests(), latency_ms.tolist(), strict=True)):
        count[digest] = count.get(digest, 0) + 1
        logs[digest] = logs.get(digest, 0.0) + float(np.log(ms))
        first.setdefault(digest, row)
    once = kernels.rows(np.array([*first.values()], dtype=np.int64))
    number = np.array([*count.values()], dtype=np.float64)
    target = np.array([*logs.values()]) / number
    others = {digest: value for digest, value in model.seen.items() if digest not in first}
    grown = dataclasses.replace(model, seen=others)
    families = dict(model.families) | _new_families(grown, once, target)
    grown = dataclasses.replace(grown, families=families, measured=frozenset(first))
    weight = number / (number + _SHRINKAGE)
    offsets = np.zeros(len(once))
    for _ in range(2):  # the second time where a kernel half as large spoke for it
        seen = others | dict(zip(first, offsets.tolist(), strict=True))
        found = dataclasses.replace(grown, seen=seen).predict(once)
        offsets = np.clip(offsets + weight * (target - np.log(found.latency_ms)), -15.0, 15.0)
    rounded = np.round(offsets, 4).tolist()
    return dataclasses.replace(grown, seen=others | dict(zip(first, rounded, strict=True)))


def _new_families(
    model: KernelModel, kernels: Configurations, target: Floats
) -> dict[str, FamilyModel]:
    """Levels of families without a model, from kernels and the logarithms of their times."""
    rest = target - np.log(model.predict(kernels).latency_ms)
    found = {}
    for family in sorted(set(kernels.families.tolist())):
        rows = np.flatnonzero(kernels.families == family)
        count = len(rows)
        if family in model.families or count < _FEWEST:
            continue
        before, own, numbers = model.speaker(family), rest[rows], kernels.numbers[rows]
        found[family] = FamilyModel(
            before.first,
            before.base + math.log(level_of(family)) + float(own.mean()) * count / (count + 1),
            numbers.min(axis=0),
            numbers.max(axis=0),
            frozenset(map(tuple, window_of(numbers).tolist())),
            max(float(own.std(ddof=1)) * np.sqrt(1 + 1 / count), _LEAST_ERROR),
        )
    return found
