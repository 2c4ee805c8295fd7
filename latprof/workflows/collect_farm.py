"""Measuring many networks on the devices of a farm, each into a target of its own."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latprof.common.extras import require
from latprof.common.limits import TIMEOUT
from latprof.common.short_reprs import MOST_DEVICES, ShortRepr, first_names
from latprof.errors import (
    EXIT_DEVICE,
    EXIT_OK,
    EXIT_PARTIAL,
    DeviceOfflineError,
    TargetMismatchError,
)
from latprof.workflows.absent_devices import unfinished_devices, with_begun
from latprof.workflows.farm_device_runs import AwaitedRun, DeviceRun, FarmDeviceResult, Together

if TYPE_CHECKING:
    from latprof.farm.farm_client import FarmClient
    from latprof.farm.farm_connection import AnnouncedDevice
    from latprof.measurement.across.revisions import Revision
    from latprof.profilers.campaign.campaign import Progress
    from latprof.profilers.campaign.collection import Collection
    from latprof.profilers.campaign.plan import Plan
    from latprof.workflows.absent_devices import KnownDevice
    from latprof.workflows.arguments import OnNote, PathLike

#: How often the threads of devices are looked after, in seconds.
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, repr=False)
class FarmCollectResult(ShortRepr):
    """What a collection did on the devices of a farm.

    ``absent`` names what the store knows from earlier collections of the same networks and what was
    not there: devices whose visits are left, as ``--target`` names them, and specimens of a pooled
    target, whose visits the others made.
    """

    devices: tuple[FarmDeviceResult, ...]
    absent: tuple[str, ...] = ()

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
        devices = [each.to_dict() for each in self.devices]
        return {"devices": devices, "absent": list(self.absent)}


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

    With ``pool`` the devices share them, and have one target. Else a device that is not there, and
    on which the store has some of these visits, is waited for while the others measure, like one
    that goes away meanwhile.

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
    show = Together(on_progress or (lambda _progress: None), pool=pool)
    with FarmClient(farm, None if keys is None else os.fspath(keys), queue_timeout_s) as client:
        try:
            found = client.await_devices(target, functools.cache(say))
        except DeviceOfflineError as error:
            raise with_begun(error, os.fspath(store), plan, target, collection.options) from None
        with SharedStore.open(os.fspath(store), create=True) as opened:
            opened.on_wait = say
            collection.check_store(opened)
            rest: dict[str, Any] = {
                "collection": collection,
                "plan": plan,
                "store": opened,
                "timeout_s": timeout_s,
                "revision": revision,
                "show": show,
                "pool": pool,
            }
            known = () if pool else unfinished_devices(opened, plan, target, collection.options)
            runs = [DeviceRun(client, d.device, d.device.spelling(target), **rest) for d in found]
            say(f"measuring on {first_names([each.device.name for each in found], MOST_DEVICES)}")
            awaited = [AwaitedRun(d, client, **rest) for d in _absent(known, found, say)]
            if pool:
                _check_alike(runs)
            runs += awaited
            _run_all(runs, client)
            results = tuple(run.device_result(opened) for run in runs)
            absent = [run.known.wanted for run in awaited if run.never_came]
            if pool:
                absent = _absent_specimens(results, found, say)
            return FarmCollectResult(results, tuple(absent))


def _absent(
    known: Sequence[KnownDevice], found: Sequence[AnnouncedDevice], say: OnNote
) -> list[KnownDevice]:
    """Those of some devices that are not there, each told of."""
    absent = [each for each in known if not any(d.device.spelling(each.wanted) for d in found)]
    for each in absent:
        say(
            f"{each.wanted} is not there and has made {each.settled} of {each.total} visits; it is "
            "waited for while the others measure"
        )
    return absent


def _absent_specimens(
    results: Sequence[FarmDeviceResult], found: Sequence[AnnouncedDevice], say: OnNote
) -> list[str]:
    """The specimens of a pooled target that were not there this time."""
    there = {each.device.name for each in found}
    summaries = [each.result.summary for each in results if each.result is not None]
    known = {name for summary in summaries if summary is not None for name in summary.specimens}
    if absent := sorted(known - there):
        say(f"not there: {first_names(absent, MOST_DEVICES)}; the others made the visits")
    return absent


def _check_alike(runs: Sequence[DeviceRun]) -> None:
    """Raise TargetMismatchError unless all devices are of one kind."""
    targets = [run.identify()[0] for run in runs]
    for target in targets[1:]:
        if target != targets[0]:
            raise TargetMismatchError(
                "the devices are not of one kind, and cannot be pooled",
                got="; ".join(targets[0].differences(target)),
                hint="name one kind with --target, or collect without --pool",
            )


def _run_all(runs: Sequence[DeviceRun], client: FarmClient) -> None:
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
