"""Operators of a search space's networks, with the time of the kernels that ran them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, SearchSpace
    from latprof.graph.operators import Operator


def timed_operators(
    space: SearchSpace,
    batch_size: int,
    profiles: Iterable[tuple[Architecture, Iterable[tuple[str, float]]]],
) -> Iterator[tuple[Operator, float]]:
    """Every operator whose kernels were timed, and their milliseconds.

    ``profiles`` are networks with the names and milliseconds of their kernels. A kernel is of the
    operator whose name its own begins with, component by component (``stem.relu6`` of ``stem``);
    kernels of none, such as changes of memory layout, are left out.
    """
    for architecture, kernels in profiles:
        named = {operator.name: operator for operator in space.operators(architecture, batch_size)}
        sums: dict[str, float] = {}
        for kernel, latency_ms in kernels:
            name = kernel
            while name and name not in named:
                name = name.rpartition(".")[0]
            if name:
                sums[name] = sums.get(name, 0.0) + latency_ms
        yield from ((named[name], latency_ms) for name, latency_ms in sums.items())
