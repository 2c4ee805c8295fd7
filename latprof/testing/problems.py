"""Made-up measurements and problems whose answers are known, for tests without a device."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latprof.datasets.models.layers import Block, Place, mobile_inverted_block
from latprof.datasets.spaces.base import Architecture, Choices, SearchSpace
from latprof.datasets.spaces.nasbench_macro import NASBenchMacroSpace
from latprof.searchers.accuracy.tables import LatencyTable
from latprof.searchers.base import SearchProblem

if TYPE_CHECKING:
    from latprof.graph.operators import Operator

Floats = NDArray[np.float64]


class TinySpace(SearchSpace):
    """Three mobile inverted blocks with 3, 4 and 5 candidates: 60 architectures."""

    name = "tiny"
    _SIZES = (3, 4, 5)

    @property
    def options(self) -> Mapping[str, Any]:
        return {}

    @property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(f"e{e + 1}" for e in range(size)) for size in self._SIZES)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (16, 28, 28)

    def blocks(self, architecture: Architecture) -> tuple[Block, ...]:
        return tuple(
            mobile_inverted_block(
                Place(f"block{position}", position, 16, 16, 28),
                self.candidates[position][choice],
                kernel=3,
                expansion=choice + 1,
            )
            for position, choice in enumerate(architecture.choices)
        )

    def head(
        self,
        architecture: Architecture,  # noqa: ARG002 - of the contract
        batch_size: int = 1,  # noqa: ARG002 - of the contract
    ) -> tuple[Operator, ...]:
        return ()


# Latencies ---------------------------------------------------------------------------------


def made_up_latencies(space: SearchSpace, choices: Choices) -> Floats:
    """Latencies in ms of n architectures, shape (n,): 1 ms plus what each operator costs.

    An operator costs its work over a rate of its kind, what it moves, and a start. Blocks do not
    influence each other.
    """
    latency = np.full(len(choices), 1.0)
    for index, part in enumerate(space.parts):
        local, rows = np.unique(choices[:, list(part.decisions)], axis=0, return_inverse=True)
        costs = [_cost_ms(space, index, tuple(row)) for row in local.tolist()]
        latency += np.array(costs)[rows.reshape(-1)]
    return latency


def _cost_ms(space: SearchSpace, part: int, local_choices: tuple[int, ...]) -> float:
    operators = [op for b in space.part_blocks(part, local_choices) for op in b.operators()]
    rates = [5e6 * (1 + zlib.crc32(op.kind.encode()) % 5) for op in operators]  # operations a ms
    return sum(
        op.macs / rate + op.activation_elements / 4e6 + 0.02
        for op, rate in zip(operators, rates, strict=True)
    )


def made_up_measurements(
    space: SearchSpace, n: int, *, noise: float = 0.002, seed: int = 0
) -> tuple[Choices, Floats]:
    """``n`` architectures, shape (n, decisions), and their latencies in ms, shape (n,).

    ``noise`` is the standard deviation of the relative error of a measurement.
    """
    choices = space.sample_choices(n, seed)
    errors = np.random.default_rng([seed, 1]).standard_normal(n)
    return choices, made_up_latencies(space, choices) * (1 + noise * errors)


# A search problem --------------------------------------------------------------------------

#: Of the known problem.
SPACE = NASBenchMacroSpace()
#: Milliseconds of the candidates of each layer: later layers cost less.
COSTS_MS = np.outer(np.linspace(2.0, 0.5, 8), [0.0, 0.4, 1.0])


def known_latencies(choices: Choices) -> Floats:
    """Latencies in ms of n architectures of :data:`SPACE`, shape (n,): 1.0 to 11.0."""
    latency: Floats = 1.0 + COSTS_MS[np.arange(8), choices].sum(axis=1)
    return latency


def known_accuracies(choices: Choices) -> Floats:
    """Accuracies of n architectures, shape (n,): later layers gain more, and differences help."""
    gains = np.outer(np.linspace(0.5, 1.5, 8), [0.0, 0.8, 1.0])
    differ = (choices[:, 1:] != choices[:, :-1]).sum(axis=1)
    accuracy: Floats = 85.0 + gains[np.arange(8), choices].sum(axis=1) + 0.1 * differ
    return accuracy


class CountingAccuracy:
    """The accuracy source of the known problem; remembers in ``asked`` what it was asked.

    ``calls`` has the number of architectures of each call.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []
        self.calls: list[int] = []

    def __call__(self, architectures: Sequence[Architecture]) -> Floats:
        self.asked += [architecture.choices for architecture in architectures]
        self.calls.append(len(architectures))
        return known_accuracies(SPACE.choices(list(architectures)))


@cache
def known_table() -> LatencyTable:
    """The latencies of every architecture of :data:`SPACE`."""
    every = SPACE.sample_choices(SPACE.num_architectures)
    return LatencyTable(SPACE, every, known_latencies(every))


def known_problem(limit_ms: float = 6.0, accuracy: Any = None, **options: Any) -> SearchProblem:
    """A problem whose optimum is known; ``options`` as of :class:`SearchProblem`."""
    return SearchProblem(known_table(), accuracy or CountingAccuracy(), limit_ms, **options)


def known_optimum(limit_ms: float = 6.0) -> float:
    """The largest accuracy that keeps the limit."""
    every = SPACE.sample_choices(SPACE.num_architectures)
    return float(known_accuracies(every)[known_latencies(every) <= limit_ms].max())


class AnyLatencies:
    """A latency source for a space of any size: a number for each choice, no calibration.

    An upper bound is 5 % above the prediction.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        shape = (len(space.num_choices), int(space.num_choices.max()))
        self._costs = np.random.default_rng(0).uniform(0.1, 1.0, shape)

    def predict(self, architectures: Any, *, upper: float | None = None) -> Floats:
        """Latencies of n architectures in ms, shape (n,)."""
        choices = self.space.canonical(self.space.choices(architectures))
        values = self._costs[np.arange(choices.shape[1]), choices] * self.space.active(choices)
        latency: Floats = values.sum(axis=1) * (1.0 if upper is None else 1.05)
        return latency
