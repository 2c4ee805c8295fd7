"""Measuring many networks on the devices of a farm, each into a target of its own."""

from __future__ import annotations

import dataclasses
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from latprof.common.extras import require
from latprof.common.limits import TIMEOUT
from latprof.common.short_reprs import ShortRepr
from latprof.errors import (
    EXIT_DEVICE,
    EXIT_OK,
    EXIT_PARTIAL,
    LatprofError,
    TargetMismatchError,
)
from latprof.workflows.collect_result import CollectResult, costs_of, labels_of

if TYPE_CHECKING:
    from latprof.farm.announcing import FarmDevice
    from latprof.farm.farm_client import FarmClient
    from latprof.measurement.across.revisions import Revision
    from latprof.measurement.records import Target
    from latprof.measurement.store.store import Store
    from latprof.profilers.campaign.campaign import CampaignResult, Progress
    from latprof.profilers.campaign.collection import Collection
    from latprof.profilers.campaign.plan import Plan
    from latprof.workflows.arguments import OnNote, PathLike

#: How often the threads of devices are looked after, in seconds.
_LOOK_EVERY_S = 0.2
#: What is added up over devices.
_SUMMED = ("total", "done", "failed", "left", "kernels_left")


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


@dataclass(frozen=True, repr=False)
class FarmCollectResult(ShortRepr):
    """What a collection did on the devices of a farm."""

    devices: tuple[FarmDeviceResult, ...]

    @property
    def exit_status(self) -> int:
        """0; 5 where a device has failures or failed; where all did, each at once, that of why."""
        if all(each.error is None for each in self.devices):
            found = {each.result.exit_status for each in self.devices if each.result is not None}
            return found.pop() if len(found) == 1 else EXIT_PARTIAL if found else EXIT_OK
        if any(each.result is not None for each in self.devices):
            return EXIT_PARTIAL
        why = {each.error.exit_status for each in self.devices if each.error is not None}
        return why.pop() if len(why) == 1 else EXIT_DEVICE

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return {"devices": [each.to_dict() for each in self.devices]}


def collect_on_farm(
    collection: Collection,
    plan: Plan,
    store: PathLike,
    *,
    target: str,
    farm: str,
    pool: bool,
    keys: PathLike | None,
    queue_timeout_s: float,
    timeout_s: float,
    revision: Revision,
    on_progress: Callable[[Progress], None] | None,
    on_note: OnNote | None,
) -> FarmCollectResult:
    """Make a plan's visits on every device of a farm that has a target; see ``collect``.

    With ``pool`` the devices share them, and have one target.

    Raises
    ------
    DeviceOfflineError
        Where no such device is there, or no scheduler answers, within the queue's time-out.
    UsageError
        For an address or options that cannot be; TargetMismatchError for devices that differ in
        more than their names and are to be pooled.
    """
    require("farm", "latprof collect --farm", "distributed", "cryptography")
    from latprof.farm.farm_client import FarmClient
    from latprof.farm.shared_store import SharedStore
    from latprof.profilers.visits.measuring_process import check_timeout

    collection.check_networks()
    check_timeout(timeout_s)
    TIMEOUT.check("queue_timeout", queue_timeout_s)
    say = on_note or (lambda _text: None)
    show = _Together(on_progress or (lambda _progress: None))
    with FarmClient(farm, None if keys is None else os.fspath(keys), queue_timeout_s) as client:
        found = client.await_devices(target, say)
        with SharedStore.open(os.fspath(store), create=True) as opened:
            collection.check_store(opened)
            runs = [
                _DeviceRun(
                    client,
                    each.device,
                    each.device.spelling(target),
                    collection,
                    plan,
                    store=opened,
                    timeout_s=timeout_s,
                    revision=revision,
                    show=show,
                    pool=pool,
                )
                for each in found
            ]
            say(f"measuring on {', '.join(each.device.name for each in found)}")
            if pool:
                _check_alike(runs)
            _run_all(runs, client)
            return FarmCollectResult(tuple(run.device_result(opened) for run in runs))


def _check_alike(runs: Sequence[_DeviceRun]) -> None:
    """Raise TargetMismatchError unless all devices are of one kind."""
    targets = [run.identify()[0] for run in runs]
    for target in targets[1:]:
        if target != targets[0]:
            raise TargetMismatchError(
                "the devices are not of one kind, and cannot be pooled",
                got="; ".join(targets[0].differences(target)),
                hint="name one kind with --target, or collect without --pool",
            )


def _run_all(runs: Sequence[_DeviceRun], client: FarmClient) -> None:
    """Run each device's visits in a thread of its own."""
    threads = [threading.Thread(target=run.run, daemon=True) for run in runs]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(_LOOK_EVERY_S)
    except BaseException:
        client.stopped.set()
        raise
    for run in runs:
        if run.fault is not None:
            raise run.fault


class _Together:
    """Says where the visits of all devices together stand."""

    def __init__(self, on_progress: Callable[[Progress], None]) -> None:
        self._on_progress = on_progress
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
            self._on_progress(
                dataclasses.replace(
                    progress,
                    **self._sums,
                    waiting=waiting,
                    left_s=max(map(attrgetter("left_s"), every)),
                    drift=max(map(attrgetter("drift"), every)),
                )
            )


class _DeviceRun:
    """The campaign of one device, in a thread."""

    def __init__(
        self,
        client: FarmClient,
        device: FarmDevice,
        spelling: str,
        collection: Collection,
        plan: Plan,
        *,
        store: Store,
        timeout_s: float,
        revision: Revision,
        show: _Together,
        pool: bool,
    ) -> None:
        self._pool, self._revision = pool, revision
        self._identity: tuple[Target, Mapping[str, Any]] | None = None
        self._client, self._device, self._spelling = client, device, spelling
        self._collection, self._plan, self._store = collection, plan, store
        self._timeout_s, self._show = timeout_s, show
        self._done: tuple[Target, CampaignResult] | None = None
        self._error: LatprofError | None = None
        #: What is no error of latprof's.
        self.fault: BaseException | None = None

    def run(self) -> None:
        """Make the visits; an error ends those of this device alone."""
        owner = uuid.uuid4().hex
        try:
            self._done = self._collect(owner)
        except LatprofError as error:
            self._error = error
        except BaseException as fault:  # noqa: BLE001 - raised again when the others are done
            self.fault = fault
        self._client.release(self._device, owner)

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
            on_progress=partial(self._show.note, self._device.name),
            networks_per_process=there["networks_per_process"],
            lookahead=LOOKAHEAD,
        )
        return target, outcome

    def device_result(self, store: Store) -> FarmDeviceResult:
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
