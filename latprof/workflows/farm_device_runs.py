"""The campaigns that a collection makes on the devices of a farm, side by side."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from latprof.common.short_reprs import ShortRepr
from latprof.errors import DeviceOfflineError, LatprofError
from latprof.profilers.campaign.campaign import Progress
from latprof.workflows.collect_result import CollectResult, costs_of, labels_of

if TYPE_CHECKING:
    from latprof.farm.announcing import FarmDevice
    from latprof.farm.farm_client import FarmClient
    from latprof.farm.shared_store import SharedStore
    from latprof.measurement.across.revisions import Revision
    from latprof.measurement.records import Target
    from latprof.profilers.campaign.campaign import CampaignResult
    from latprof.profilers.campaign.collection import Collection
    from latprof.profilers.campaign.plan import Plan
    from latprof.workflows.absent_devices import KnownDevice

#: What is added up over devices.
_SUMMED = ("total", "done", "failed", "left", "kernels_left")
#: Time that is left to a device that came at the end of the collection's, in seconds.
_LEAST_S = 1.0


@dataclass(frozen=True, repr=False)
class FarmDeviceResult(ShortRepr):
    """What a collection did on one device: its result, or the error that ended it there."""

    device: str
    result: CollectResult | None
    error: LatprofError | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        found = {} if self.result is None else self.result.to_dict()
        error = None if self.error is None else self.error.to_dict()
        return {"device": self.device, **found, "error": error}


class Together:
    """Says where the visits of all devices together stand.

    Parameters
    ----------
    on_progress : callable
    pool : bool
        The devices share the visits: each counts those of all.
    """

    def __init__(self, on_progress: Callable[[Progress], None], *, pool: bool = False) -> None:
        self._on_progress, self._pool = on_progress, pool
        self._last: dict[str, Progress] = {}
        self._sums = Counter[str]()
        self._lock = threading.Lock()

    def note(self, device: str, progress: Progress) -> None:
        """A device made a visit, or waits."""
        with self._lock:
            self._sums.update({name: getattr(progress, name) for name in _SUMMED})
            if before := self._last.get(device):
                self._sums.subtract({name: getattr(before, name) for name in _SUMMED})
            self._last[device] = progress
            every = self._last.values()
            waiting = f"{device}: {progress.waiting}" if progress.waiting else ""
            counts: dict[str, Any] = dict(self._sums)
            left_s = max(map(attrgetter("left_s"), every))
            if self._pool:
                # Each hears of what others made a little later: who knows of most is nearest to it.
                latest = max(every, key=attrgetter("done"))
                counts |= {name: getattr(latest, name) for name in _SUMMED if name != "failed"}
                rate = sum(1.0 / each.left_s for each in every if each.left_s > 0.0)
                left_s = 1.0 / rate if rate else latest.left_s
            self._on_progress(
                dataclasses.replace(
                    progress,
                    **counts,
                    waiting=waiting,
                    left_s=left_s,
                    drift=max(map(attrgetter("drift"), every)),
                )
            )


class DeviceRun:
    """The campaign of one device, in a thread."""

    def __init__(
        self,
        client: FarmClient,
        device: FarmDevice,
        spelling: str,
        collection: Collection,
        plan: Plan,
        *,
        store: SharedStore,
        timeout_s: float,
        revision: Revision,
        show: Together,
        pool: bool,
    ) -> None:
        self._pool, self._revision = pool, revision
        self._identity: tuple[Target, Mapping[str, Any]] | None = None
        self._client, self._device, self._spelling = client, device, spelling
        self._collection, self._plan, self._store = collection, plan, store
        self._timeout_s = timeout_s
        self._show_together = partial(show.note, device.name)
        self._done: tuple[Target, CampaignResult] | None = None
        self._error: LatprofError | None = None
        #: What is no error of latprof's.
        self.fault: BaseException | None = None

    def run(self) -> None:
        """Make the visits; an error ends those of this device alone, unless it is the store's."""
        owner = uuid.uuid4().hex
        try:
            self._done = self._collect(owner)
        except LatprofError as error:
            if self._store.has_failed:
                self._client.stop(error)
            self._error = self._client.stopped_by or error
        except BaseException as fault:  # noqa: BLE001 - raised again when the others are done
            self.fault = fault
        self._client.release(self._device, owner)

    def _show(self, progress: Progress) -> None:
        self._client.check_stopped()  # also where no visit is waited for, but other processes
        self._show_together(progress)

    def identify(self) -> tuple[Target, Mapping[str, Any]]:
        """The device's target, and what else its worker says of it; asked once."""
        from latprof.farm.device_tasks import identify
        from latprof.measurement.records import Target
        from latprof.measurement.visits import Failure

        if self._identity is None:
            asked = self._collection
            shape = None if asked.input_shape is None else list(asked.input_shape)
            options = asked.options.to_dict()
            there = self._client.call(self._device, identify, self._spelling, options, shape)
            if "failure" in there:
                raise Failure.from_dict(there["failure"]).error()
            target = Target.from_dict(there["target"])
            if self._pool:  # a phone's serial is that of one specimen
                kind = target.device.partition(":")[0] if not self._device.host else target.device
                target = dataclasses.replace(target, device=kind)
            else:  # phones have a name of their own, hosts of one kind do not
                target = dataclasses.replace(target, host=self._device.host)
            self._identity = target, there
        return self._identity

    def _collect(self, owner: str) -> tuple[Target, CampaignResult]:
        from latprof.farm.remote_visits import LOOKAHEAD, RemoteMeasurer
        from latprof.measurement.across.revisions import SOURCE, Revision
        from latprof.profilers.campaign.campaign import collect
        from latprof.profilers.visits.network_source import reference_network

        asked = self._collection
        target, there = self.identify()
        name, reference = reference_network(asked.reference_resolution)
        session = {
            "owner": owner,
            "target": self._spelling,
            "options": asked.options.to_dict(),
            "reference": reference.to_dict(),
            "protocol": asked.protocol.to_dict(),
            "timeout_s": self._timeout_s,
        }
        host = dict(there["surroundings"])
        if self._revision != Revision():
            host[SOURCE] = self._revision.to_dict()
        if there["caution"]:
            host["caution"] = there["caution"]
        outcome = collect(
            self._plan,
            self._store,
            target,
            name,
            partial(RemoteMeasurer, self._client, self._device, session, specimen=self._pool),
            host=host,
            on_progress=self._show,
            networks_per_process=there["networks_per_process"],
            lookahead=LOOKAHEAD,
        )
        return target, outcome

    def device_result(self, store: SharedStore) -> FarmDeviceResult:
        """What came of it."""
        from latprof.measurement.labels import TargetLabels
        from latprof.measurement.summary import summarize

        name = self._device.name
        if self._done is None:
            return FarmDeviceResult(name, None, self._error)
        target, outcome = self._done
        costs = costs_of(self._collection)
        if not outcome.made + outcome.resumed + outcome.elsewhere:
            return FarmDeviceResult(name, CollectResult(target, outcome, None, costs))
        known = TargetLabels.of(store, target)
        named = "models" in self._collection.source
        labels = labels_of(known, self._collection) if named else ()
        return FarmDeviceResult(
            name, CollectResult(target, outcome, summarize(known), costs, labels)
        )


class AwaitedRun(DeviceRun):
    """The campaign of a device that the store knows and that is not there yet.

    Parameters
    ----------
    known : KnownDevice
    client : FarmClient
    **rest
        As of :class:`DeviceRun`.
    """

    def __init__(self, known: KnownDevice, client: FarmClient, **rest: Any) -> None:
        from latprof.farm.announcing import FarmDevice

        super().__init__(client, FarmDevice(known.wanted, ()), known.wanted, **rest)
        self.known, self.never_came = known, True

    def identify(self) -> tuple[Target, Mapping[str, Any]]:
        """As of any device, once it is there; raises DeviceOfflineError where it never is."""
        if self.never_came:
            self._await()
        return super().identify()

    def _await(self) -> None:
        known, limit_s, start = self.known, self._plan.time_limit_s, time.monotonic()
        left = known.total - known.settled
        waiting = Progress(known.total, known.settled, 0, left, math.nan, 0.0, 0.0)

        def say(_text: str) -> None:
            self._show(dataclasses.replace(waiting, waiting="not there yet"))

        try:
            found = self._client.await_devices(known.wanted, say, most_s=limit_s or math.inf)
        except DeviceOfflineError as error:
            raise DeviceOfflineError(
                f"it never came, and {left} of its {known.total} visits are left", hint=error.hint
            ) from None
        self.never_came, self._device = False, found[0].device
        self._spelling = self._device.spelling(known.wanted)
        if limit_s is not None:
            left_s = max(limit_s - (time.monotonic() - start), _LEAST_S)
            self._plan = dataclasses.replace(self._plan, time_limit_s=left_s)
