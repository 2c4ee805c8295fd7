"""Devices that a store knows from earlier collections of the same networks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latprof.common.short_reprs import MOST_DEVICES, ShortRepr, first_names
from latprof.errors import DeviceOfflineError, LatprofError
from latprof.profilers.base import RunOptions

if TYPE_CHECKING:
    from latprof.measurement.records import Target
    from latprof.measurement.store.store import Store
    from latprof.measurement.visits import Measurement
    from latprof.profilers.campaign.plan import Plan


@dataclass(frozen=True, repr=False)
class KnownDevice(ShortRepr):
    """A device that has begun on a plan's visits and has not made them all.

    ``wanted`` names it as ``--target`` takes it; ``total`` counts the plan's visits, ``settled``
    those of them that were made, or failed for a reason that is the network's.
    """

    wanted: str
    settled: int
    total: int


def unfinished_devices(
    store: Store, plan: Plan, wanted: str, options: RunOptions
) -> list[KnownDevice]:
    """The devices with a target of which the store has some of a plan's visits, and not all.

    A target without a name of its own, such as a pooled one, is none of a device.

    Parameters
    ----------
    store : Store
    plan : Plan
    wanted : str
        As :meth:`latprof.farm.announcing.FarmDevice.spelling` takes it.
    options : RunOptions
        Those of the collection; targets that were measured with others are not looked at.
    """
    from latprof.farm.announcing import FarmDevice

    of_device: dict[str, list[Target]] = {}
    for stored in store.targets():
        target = stored.target
        name = _device_name(target)
        if not name or not FarmDevice(name, (target.spelling,)).spelling(wanted):
            continue
        if _runs_as(target, options):
            of_device.setdefault(_spelling(target), []).append(target)
    if not of_device:
        return []
    keys = {visit.key for planned in plan.passes() for visit in planned}
    asked = dict(plan.source).items()
    found = []
    for name, targets in sorted(of_device.items()):
        # One target a version of the runtime: what was made with any of them has been made.
        settled = max(
            len(keys & {made.key for made in store.measurements(target) if _is_settled(made)})
            for target in targets
        )
        begun = (dict(c["plan"]).items() for target in targets for c in store.campaigns(target))
        if settled < len(keys) and (settled or any(asked <= each for each in begun)):
            found.append(KnownDevice(name, settled, len(keys)))
    return found


def with_begun(
    error: DeviceOfflineError, location: str, plan: Plan, wanted: str, options: RunOptions
) -> DeviceOfflineError:
    """The error for a target that no device has, with :func:`unfinished_devices` of a store."""
    from latprof.measurement.store.store import Store

    try:
        with Store.open(location) as store:
            known = unfinished_devices(store, plan, wanted, options)
    except LatprofError:  # there is none yet, or it says so when it is written
        return error
    if not known:
        return DeviceOfflineError(error.problem, hint=error.hint)
    begun = first_names(
        [f"{d.wanted} ({d.settled} of {d.total} visits)" for d in known], MOST_DEVICES
    )
    return DeviceOfflineError(f"{error.problem}; begun before: {begun}", hint=error.hint)


def _is_settled(made: Measurement) -> bool:
    """Whether a visit needs no more work: it was made, or failed with its network."""
    from latprof.farm.device_state import OF_DEVICE

    return made.failure is None or made.failure.code not in OF_DEVICE


def _device_name(target: Target) -> str:
    """The name of a device in a farm (:class:`FarmDevice`); empty for a target of several."""
    if target.host:
        return f"{target.device}@{target.host}"
    return target.device if _is_phone(target) else ""


def _is_phone(target: Target) -> bool:
    return target.device.startswith("adb:")


def _spelling(target: Target) -> str:
    return f"{target.spelling}@{target.host}" if target.host else target.spelling


def _runs_as(target: Target, options: RunOptions) -> bool:
    """Whether a target was run with these options, a phone on whichever cluster."""
    own = RunOptions.of_target(target)
    cores = options.cores or (own.cores if _is_phone(target) else ())
    return own == dataclasses.replace(options, cores=cores, cluster="")
