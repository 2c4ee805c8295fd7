"""A profiler without a device: latencies from operator counts, a clock that drifts as told.

For tests of everything above the runtime, here and in other packages. Nothing sleeps: durations are
computed, so a thousand visits take about a second.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx

from latprof.errors import UnsupportedModelError
from latprof.measurement.records import KernelTime, Target
from latprof.profilers.base import Availability, Profiler, RunOptions

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource


def steady(_run: int) -> float:
    """A clock that never changes."""
    return 1.0


def stepping(step: float = 0.25, every: int = 40) -> Callable[[int], float]:
    """A clock that is slower by ``step`` in every other stretch of ``every`` runs."""
    return lambda run: 1.0 + step * (run // every % 2)


class FakeClock:
    """A clock that stands still until a test advances it; satisfies the schedule's ``Clock``."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self._now += seconds

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return self._now


class FakeProfiler(Profiler):
    """Satisfies the contract of :class:`Profiler`; a run takes 0.1 ms for each operator.

    Parameters
    ----------
    options : RunOptions
    clock : callable
        From the number of runs so far to how much slower the host is.
    noise : float
        Standard deviation of a run's relative noise.
    load_noise : float
        Standard deviation of what one load is slower or faster by for as long as it lives.
    seed : int
        Of the noise.
    """

    spelling: ClassVar[str] = "fake:clock"

    def __init__(
        self,
        options: RunOptions,
        clock: Callable[[int], float] = steady,
        noise: float = 0.0,
        load_noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(options)
        self._clock, self._noise, self._load_noise = clock, noise, load_noise
        self._runs = itertools.count()
        self._generator = np.random.default_rng(seed)

    @classmethod
    def availability(cls) -> Availability:
        return Availability("ready", "computed, not measured")

    def target(self, input_shape: tuple[int, ...] | None) -> Target:
        return self.identity("fake", "no device", "clock", "1", input_shape)

    def load(self, model: ModelSource) -> FakeModel:
        operators = len(self._graph(model).node)
        bias = 1.0 + self._load_noise * self._generator.standard_normal()
        return FakeModel(0.1 * operators * bias, self._duration)

    def conditions(self) -> dict[str, float]:
        return {}

    def load_profiled(self, model: ModelSource) -> FakeModel:
        loaded = self.load(model)
        loaded.kernels = [
            KernelTime(position, node.op_type.lower(), node.name, (node.name,), 0.1)
            for position, node in enumerate(self._graph(model).node)
        ]
        return loaded

    def _graph(self, model: ModelSource) -> onnx.GraphProto:
        content = model if isinstance(model, bytes) else Path(model).read_bytes()
        try:
            graph: onnx.GraphProto = onnx.load_model_from_string(content).graph
        except Exception:  # noqa: BLE001 - protobuf's exceptions have no public base
            raise UnsupportedModelError("not an ONNX model") from None
        if not graph.node:
            raise UnsupportedModelError("a model without operators")
        return graph

    def _duration(self, latency_ms: float) -> float:
        slower = self._clock(next(self._runs))
        return latency_ms * slower * (1 + self._noise * abs(self._generator.standard_normal()))


class FakeModel:
    """A loaded model whose durations are computed."""

    def __init__(self, latency_ms: float, duration: Callable[[float], float]) -> None:
        self.latency_ms, self._duration = latency_ms, duration
        self.kernels: Sequence[KernelTime] = ()

    def run(self, times: int) -> list[float]:
        return [self._duration(self.latency_ms) for _ in range(times)]

    def kernel_times(self, counted: Collection[int]) -> Sequence[KernelTime]:  # noqa: ARG002
        return self.kernels
