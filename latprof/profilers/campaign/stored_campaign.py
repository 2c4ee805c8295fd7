"""A campaign as its store holds it: what earlier ones made, and every visit as it is made."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from latprof.errors import NotEnoughDataError
from latprof.measurement.labels import freeze_reference
from latprof.measurement.store.claims import Claims
from latprof.measurement.visits import Measurement
from latprof.profilers.visits.schedule import KnownReferences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    from latprof.measurement.records import KernelProfile, Subject, Target
    from latprof.measurement.store.store import Store
    from latprof.measurement.visits import Visit, VisitKey
    from latprof.profilers.campaign.plan import Plan
    from latprof.profilers.visits.schedule import Clock


class StoredCampaign:
    """One run of a campaign in a store, which is read when it begins and only written after that.

    What other processes store meanwhile is read by :meth:`refresh`.

    Parameters
    ----------
    store : Store
        Open for writing.
    target : Target
    reference : str
        The reference network's name.
    plan : Plan
    host : mapping
        Facts about the host, stored with the campaign.
    clock : Clock

    Attributes
    ----------
    finished : set of VisitKey
        Visits that need no more work.
    with_kernels : set of Subject
        Networks whose kernels are stored.
    references : KnownReferences
        What the visits of earlier campaigns settled.
    """

    def __init__(
        self,
        store: Store,
        target: Target,
        reference: str,
        plan: Plan,
        host: Mapping[str, Any],
        clock: Clock = time,
    ) -> None:
        self._store, self._target, self._clock = store, target, clock
        store.add_target(target, reference)
        asked = dict(plan.source)
        if plan.time_limit_s is not None:
            asked["time_limit_s"] = plan.time_limit_s
        if plan.shard[1] > 1:
            asked["shard"] = list(plan.shard)
        self._number = store.start_campaign(
            target, asked, plan.protocol.to_dict(), host, clock.time()
        )
        self._last = store.last_visit(target)
        self.finished = store.finished_visits(target)
        self.with_kernels = store.subjects_with_kernels(target)
        self.references = KnownReferences()
        for subject, samples in store.first_visits(target):
            self.references.note(subject, samples)

    def undisturbed(self) -> Iterator[Measurement]:
        """The visits of earlier campaigns that count."""
        for measurement in self._store.measurements(self._target):
            if measurement.ok and not measurement.disturbed:
                yield measurement

    def refresh(self) -> Iterator[Measurement]:
        """The visits that others have stored since the campaign began, or this was asked last."""
        for number, campaign, made in self._store.visits_after(self._target, self._last):
            self._last = number
            if campaign == self._number:
                continue
            if made.samples is not None:
                self.references.note(made.subject, made.samples)
                if not made.disturbed:
                    self.finished.add(made.key)
            yield made

    def claims(self) -> Claims:
        """Claims on visits, which other processes respect; a context manager."""
        return Claims(self._store, self._target, self._clock.monotonic)

    def add(
        self,
        key: VisitKey,
        visit: Visit,
        *,
        disturbed: bool,
        also: Callable[[Connection], None],
    ) -> None:
        """Store a visit, and do ``also`` in the same transaction; on return it is durable."""
        measurement = Measurement.of_visit(visit, key, self._target, disturbed=disturbed)
        self._store.add(measurement, self._number, also)
        if visit.ok and not disturbed:
            self.finished.add(key)

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction of the store."""
        return self._store.writing()

    def add_kernels(self, subject: Subject, profile: KernelProfile) -> None:
        """Store a network's kernels."""
        self._store.add_kernels(subject, self._target, profile)

    def end(self, *, complete: bool) -> None:
        """Record that the campaign ended, and freeze the reference's constant if ``complete``."""
        self._store.end_campaign(self._number, self._clock.time())
        if complete:
            with contextlib.suppress(NotEnoughDataError):
                freeze_reference(self._store, self._target)
