"""A farm's worker: announces its host's devices, and makes visits on them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof._version import __version__
from latprof.common.endings import needs_time_to_end
from latprof.common.extras import require
from latprof.errors import DeviceError
from latprof.farm import device_tasks
from latprof.farm.addresses import LOOPBACK, check_address, use_settings
from latprof.farm.announcing import SLOTS, FarmDevice, devices_here, host_label
from latprof.farm.farm_connection import announced, check_version, connected
from latprof.farm.farm_keys import find_keys, security_of
from latprof.farm.farm_status import version

if TYPE_CHECKING:
    from distributed import Worker

#: Between two attempts to find a scheduler that is gone, in seconds.
AGAIN_EVERY_S = 5.0
#: What a phone may need to be put back when the worker ends.
_TIME_TO_END_S = 15.0


def join(
    farm: str,
    *,
    keys: str | os.PathLike[str] | None = None,
    only: Sequence[str] = (),
    label: str = "",
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
    devices : sequence of FarmDevice, optional
        Offered in place of those that are found.
    on_note : callable, optional
        Called with a line when the farm is joined or lost.

    Raises
    ------
    UsageError
        For an address that cannot be joined, and a scheduler with another version of latprof.
    DeviceError
        Where no device is here, all are in the farm already, or no scheduler answers at first.
    """
    require("farm", "latprof farm join", "distributed", "cryptography")
    folder = find_keys(keys)
    address = check_address(farm, folder)
    use_settings()
    found = devices_here(label, only) if devices is None else tuple(devices)
    if not found:
        raise DeviceError("no device is ready here", hint="latprof devices says what is missing")
    with needs_time_to_end(_TIME_TO_END_S):
        asyncio.run(_stay(address, folder, found, host_label(label), on_note))


async def _stay(
    address: str,
    keys: Path | None,
    devices: tuple[FarmDevice, ...],
    label: str,
    on_note: Callable[[str], None],
) -> None:
    """Join, and join again what comes in the scheduler's place."""
    first = True
    while True:
        try:
            offered = await _welcome(address, keys, devices, on_note)
        except OSError as error:
            if first:
                raise DeviceError(
                    f"no farm answers at {address}",
                    got=str(error)[:200],
                    hint="start one there with latprof farm start; both sides need the same keys",
                ) from None
            await asyncio.sleep(AGAIN_EVERY_S)
            continue
        first = False
        with device_tasks.serving(offered) as desk:
            worker = await _worker(address, keys, offered, label, desk)
            on_note(f"joined {address} with {', '.join(device.name for device in offered)}")
            reaper = asyncio.create_task(_release_silent(desk))
            try:
                await worker.finished()
            finally:
                reaper.cancel()
                with contextlib.suppress(OSError, TimeoutError):
                    await worker.close(timeout=1)
        on_note(f"the farm at {address} is gone; waiting for it to come back")
        await asyncio.sleep(AGAIN_EVERY_S)


async def _welcome(
    address: str,
    keys: Path | None,
    devices: tuple[FarmDevice, ...],
    on_note: Callable[[str], None],
) -> tuple[FarmDevice, ...]:
    """The devices that may be announced; raises for a farm that cannot be joined."""
    async with connected(address, keys, asynchronous=True) as client:
        check_version(await client.run_on_scheduler(version))
        known = announced(await client.scheduler.identity(n_workers=-1))
    taken = {each.device.name: each.host for each in known}
    for device in devices:
        if device.name in taken:
            on_note(f"{device.name} is announced by {taken[device.name]} already: left to it")
    left = tuple(device for device in devices if device.name not in taken)
    if not left:
        raise DeviceError(
            "every device of this host is in the farm already",
            got=", ".join(device.name for device in devices),
            hint="end the other worker, or name hosts of one name apart with --host-label",
        )
    return left


async def _worker(
    address: str,
    keys: Path | None,
    devices: tuple[FarmDevice, ...],
    label: str,
    desk: device_tasks.DeviceDesk,
) -> Worker:
    from distributed import Worker

    async def read_devices(_worker: Any) -> dict[str, Any]:
        return desk.describe()

    def announce(_worker: Any) -> dict[str, Any]:
        return {
            "version": __version__,
            "host": label,
            "devices": [device.to_dict() for device in devices],
        }

    return await Worker(
        address,
        nthreads=SLOTS * len(devices),
        name=f"{label}-{os.getpid()}",
        resources={device.resource: SLOTS for device in devices},
        security=security_of(keys),
        host=None if keys else LOOPBACK,
        dashboard=False,
        dashboard_address=f"{LOOPBACK}:0",
        memory_limit=0,
        metrics={"latprof": read_devices},
        startup_information={"latprof": announce},
    )


async def _release_silent(desk: device_tasks.DeviceDesk) -> None:
    while True:
        await asyncio.sleep(device_tasks.HOLD_S / 4)
        await asyncio.to_thread(desk.release_silent)
