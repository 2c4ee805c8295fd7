"""A model on a phone, loaded again where the runner was lost."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from latprof.errors import LatprofError

if TYPE_CHECKING:
    from latprof.measurement.protocol import LoadedModel
    from latprof.profilers.runtimes.android.measuring.phone_session import PhoneSession
    from latprof.profilers.runtimes.android.runner.runner_records import PlanResult


class PhoneModel:
    """A model on the phone; it is loaded again where the runner was lost since.

    ``then_run`` are runs of bursts that it makes when it is first loaded, for :meth:`ran`.
    """

    def __init__(
        self,
        session: PhoneSession,
        content: bytes,
        profile: str | None = None,
        *,
        then_run: Sequence[int] = (),
    ) -> None:
        self.session, self._content, self._profile = session, content, profile
        self._then_run = then_run
        self._ran: PlanResult | LatprofError | None = None
        self._generation = -1
        self._number = -1
        self._drop: Callable[[], object] = lambda: None
        session.surviving(self.number)

    def number(self) -> int:
        """The runner's number of it."""
        session = self.session
        with session.asking():  # so that the runner is there
            generation = session.generation
        if self._generation != generation:
            self._number, self.loaded, self._ran = session.load(
                self._content, profile=self._profile, then_run=self._then_run
            )
            self._then_run = ()
            self._generation = generation
            self._drop = weakref.finalize(self, session.drop, generation, self._number)
        return self._number

    @property
    def ran_s(self) -> float:
        """Seconds of the runs that it made with its load, before they are asked for."""
        if self._ran is None or isinstance(self._ran, LatprofError):
            return 0.0
        return (self._ran.end_ns - self._ran.start_ns) / 1e9

    def ran(self, runs: Sequence[int]) -> PlanResult | None:
        """What it ran with its load, once, where these are its bursts' runs; raises why not."""
        found, self._ran = self._ran, None
        if isinstance(found, LatprofError):
            raise found
        if found is None or [len(burst.runs) for burst in found.bursts] != [*runs]:
            return None
        return found

    def run(self, times: int) -> list[float]:
        """Durations by the phone's clock."""
        with self.session.asking() as client:
            result = client.run_plan([(self.number(), times)])
        return [run.wall_ns / 1e6 for run in result.bursts[0].runs]


def ran_with_its_load(bursts: Sequence[tuple[LoadedModel, int]]) -> PlanResult | None:
    """What the only model of bursts ran with its load, where that was just these; else None."""
    model = bursts[0][0]
    if not isinstance(model, PhoneModel) or any(each is not model for each, _ in bursts):
        return None
    return model.ran([runs for _, runs in bursts])
