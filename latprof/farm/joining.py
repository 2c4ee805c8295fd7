"""A farm's worker: announces its host's devices, and makes visits on them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof._version import __version__
from latprof.common.children.owned_folders import OwnedFolder
from latprof.common.endings import needs_time_to_end
from latprof.common.extras import require
from latprof.common.short_reprs import MOST_DEVICES, first_names
from latprof.errors import DeviceError
from latprof.farm import device_tasks
from latprof.farm.addresses import FOLDERS, LOOPBACK, PORT, cannot_listen, use_settings
from latprof.farm.announcing import SLOTS, FarmDevice, devices_here, host_label
from latprof.farm.farm_connection import (
    address_and_keys,
    announced,
    check_version,
    connected,
    with_latprof,
)
from latprof.farm.farm_keys import security_of
from latprof.farm.farm_status import version

if TYPE_CHECKING:
    from distributed import Worker

#: Between two attempts to find a scheduler that is gone, in seconds.
AGAIN_EVERY_S = 5.0
#: A scheduler whose worker was cut off knows it after so long: its devices are ours still.
_NOTICED_S = 180.0
#: What a phone may need to be put back when the worker ends.
_TIME_TO_END_S = 15.0


def join(
    farm: str,
    *,
    keys: str | os.PathLike[str] | None = None,
    only: Sequence[str] = (),
    label: str = "",
    port: int = 0,
    devices: Sequence[FarmDevice] | None = None,
    on_note: Callable[[str], None] = lambda _text: None,
) -> None:
    """Offer this host's devices to a farm until interrupted.

    Where the scheduler goes away, its successor at the same address is joined.

    Parameters
    ----------
    farm : str
        The scheduler's address, ``tls://HOST:PORT``.
    keys : path, optional
        Folder of the keys; the default one where there is one.
    only : sequence of str
        Names of the devices or targets to offer, with ``*`` for any text.
    label : str
        What the host is called, its name where not given.
    port : int
        What the worker listens on, for a firewall; 0 for any that is free.
    devices : sequence of FarmDevice, optional
        Offered in place of those that are found.
    on_note : callable, optional
        Called with a line when the farm is joined or lost.

    Raises
    ------
    UsageError
        For an address that cannot be joined, a port that is taken, and a scheduler with another
        version of latprof.
    DeviceError
        Where no device is here, all are in the farm already, or no scheduler answers at first.
    """
    require("farm", "latprof farm join", "distributed", "cryptography")
    PORT.check("port", port)
    address, folder = address_and_keys(farm, keys)
    use_settings()
    found = devices_here(label, only) if devices is None else tuple(devices)
    if not found:
        raise DeviceError("no device is ready here", hint="latprof devices says what is missing")
    with needs_time_to_end(_TIME_TO_END_S), OwnedFolder(FOLDERS) as place:
        worker = partial(_worker, address, folder, host_label(label), port, place)
        asyncio.run(_stay(address, folder, found, worker, place, on_note))


async def _stay(
    address: str,
    keys: Path | None,
    devices: tuple[FarmDevice, ...],
    make_worker: Callable[[device_tasks.DeviceDesk], Awaitable[Worker]],
    place: Path,
    on_note: Callable[[str], None],
) -> None:
    """Join, and join again what comes in the scheduler's place."""
    lost_at: float | None = None
    while True:
        try:
            taken = await _announced(address, keys)
            is_new = lost_at is None or time.monotonic() - lost_at > _NOTICED_S
            if is_new or not any(device.name in taken for device in devices):
                offered = _left(devices, taken, on_note)
                with device_tasks.serving(offered, place) as desk:
                    worker = await make_worker(desk)
                    names = first_names([device.name for device in offered], MOST_DEVICES)
                    on_note(f"joined {address} with {names}")
                    await _until_it_ends(worker, desk)
                lost_at = time.monotonic()
                on_note(f"the farm at {address} is gone; waiting for it to come back")
        except OSError as error:
            if lost_at is None:
                raise DeviceError(
                    f"no farm answers at {address}",
                    got=str(error)[:200],
                    hint="start one there with latprof farm start; both sides need the same keys",
                ) from None
        await asyncio.sleep(AGAIN_EVERY_S)


async def _until_it_ends(worker: Worker, desk: device_tasks.DeviceDesk) -> None:
    reaper = asyncio.create_task(_release_silent(desk))
    try:
        await worker.finished()
    finally:
        reaper.cancel()
        with contextlib.suppress(OSError, TimeoutError):
            await worker.close(timeout=1)


async def _announced(address: str, keys: Path | None) -> dict[str, str]:
    """The devices in a farm, with their hosts; raises for a farm that cannot be joined."""
    async with connected(address, keys, asynchronous=True) as client:
        with with_latprof():
            check_version(await client.run_on_scheduler(version))
        known = announced(await client.scheduler.identity(n_workers=-1))
    return {each.device.name: each.host for each in known}


def _left(
    devices: tuple[FarmDevice, ...], taken: Mapping[str, str], on_note: Callable[[str], None]
) -> tuple[FarmDevice, ...]:
    """The devices that nobody announces yet; raises DeviceError where there is none."""
    for device in devices:
        if device.name in taken:
            on_note(f"{device.name} is announced by {taken[device.name]} already: left to it")
    left = tuple(device for device in devices if device.name not in taken)
    if not left:
        raise DeviceError(
            "every device of this host is in the farm already",
            got=first_names([device.name for device in devices], MOST_DEVICES),
            hint="end the other worker, or name hosts of one name apart with --host-label",
        )
    return left


async def _worker(
    address: str,
    keys: Path | None,
    label: str,
    port: int,
    place: Path,
    desk: device_tasks.DeviceDesk,
) -> Worker:
    from distributed import Worker

    devices = [state.device for state in desk.states.values()]

    async def read_devices(_worker: Any) -> dict[str, Any]:
        return desk.describe()

    def announce(_worker: Any) -> dict[str, Any]:
        return {
            "version": __version__,
            "host": label,
            "devices": [device.to_dict() for device in devices],
        }

    try:
        return await Worker(
            address,
            nthreads=SLOTS * len(devices),
            name=f"{label}-{os.getpid()}",
            resources={device.resource: SLOTS for device in devices},
            security=security_of(keys),
            host=None if keys else LOOPBACK,
            port=port,
            dashboard=False,
            dashboard_address=f"{LOOPBACK}:0",
            memory_limit=0,
            local_directory=str(place),  # Python looks for modules there: nobody else may write it
            metrics={"latprof": read_devices},
            startup_information={"latprof": announce},
        )
    except RuntimeError as error:  # dask's, for all that fails then
        if port and isinstance(error.__cause__, OSError):
            raise cannot_listen(f"port {port}", error) from None
        raise OSError(str(error.__cause__ or error)) from None


async def _release_silent(desk: device_tasks.DeviceDesk) -> None:
    while True:
        await asyncio.sleep(device_tasks.HOLD_S / 4)
        await asyncio.to_thread(desk.release_silent)
