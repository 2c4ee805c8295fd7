"""A computed device whose cores others take away: runs that say how often they were preempted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latprof.measurement.run_usage import RunUsage, TimedRuns
from latprof.testing.fakes import FakeModel, FakeProfiler

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource
    from latprof.profilers.base import RunOptions


class CrowdedProfiler(FakeProfiler):
    """As FakeProfiler; of every ``one_of`` runs one is preempted, and takes twice as long."""

    def __init__(self, options: RunOptions, one_of: int = 2, **rest: Any) -> None:
        super().__init__(options, **rest)
        self._one_of = one_of

    def load(self, model: ModelSource) -> FakeModel:
        return CrowdedModel(super().load(model), self._one_of)


class CrowdedModel(FakeModel):
    """A loaded model whose runs are preempted now and then."""

    def __init__(self, model: FakeModel, one_of: int) -> None:
        self._model, self._one_of, self._runs = model, one_of, 0

    def run(self, times: int) -> TimedRuns:
        durations: list[float] = []
        usage: list[RunUsage] = []
        for own_ms in self._model.run(times):
            self._runs += 1
            preempted = int(self._runs % self._one_of == 0)
            durations.append(own_ms * (1 + preempted))
            waited_us = round(1000 * own_ms * preempted)
            usage.append(RunUsage(round(1000 * own_ms) + 1, waited_us, preempted))
        return TimedRuns(durations, usage)
