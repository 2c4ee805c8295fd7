"""What is in a farm: devices, what each does, what waits, what failed last."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from latprof.common.extras import require
from latprof.common.html_parts import html_table
from latprof.common.short_reprs import ShortRepr
from latprof.errors import DeviceOfflineError
from latprof.farm.addresses import check_address, use_settings
from latprof.farm.farm_connection import AnnouncedDevice, announced, connected
from latprof.farm.farm_keys import find_keys

HEADER = ("device", "state", "visits", "failed", "host", "last error")


@dataclass(frozen=True, repr=False)
class FarmStatus(ShortRepr):
    """A farm at one moment; ``queue`` counts the visits that wait or are made."""

    address: str
    devices: tuple[AnnouncedDevice, ...]
    queue: int

    def rows(self) -> list[tuple[str, ...]]:
        """The devices as a table, with the columns of :data:`HEADER`."""
        return [
            (
                each.device.name,
                str(each.state.get("state", "")),
                str(each.state.get("made", 0)),
                str(each.state.get("failed", 0)),
                each.host,
                str(each.state.get("last_error", "")),
            )
            for each in self.devices
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the status as plain JSON values."""
        devices = [each.to_dict() for each in self.devices]
        return {"address": self.address, "queue": self.queue, "devices": devices}

    def page(self) -> str:
        """An HTML page; it loads nothing."""
        title = f"latprof farm at {self.address}: {len(self.devices)} devices, {self.queue} in work"
        style = "body{font-family:sans-serif}td,th{padding:.2em .7em;text-align:left}"
        head = f'<!doctype html><html lang="en"><meta charset="utf-8"><style>{style}</style>'
        return f"{head}<title>latprof farm</title>\n{html_table(title, self.rows(), HEADER)}</html>"


def status(farm: str, *, keys: str | os.PathLike[str] | None = None) -> FarmStatus:
    """Ask a farm's scheduler what is there.

    Parameters
    ----------
    farm : str
        Its address, ``tls://HOST:PORT``.
    keys : path, optional
        Folder of the keys; the default one where there is one.

    Raises
    ------
    DeviceOfflineError
        Where no scheduler answers, or it lets nobody in with these keys.
    """
    require("farm", "latprof farm status", "distributed", "cryptography")
    folder = find_keys(keys)
    address = check_address(farm, folder)
    use_settings()
    try:
        with connected(address, folder) as client:
            identity = client.scheduler_info(n_workers=-1)
            waiting = client.run_on_scheduler(count_tasks)
    except OSError as error:
        raise no_farm(address, error) from None
    return FarmStatus(address, tuple(announced(identity)), int(waiting))


def no_farm(address: str, error: Exception) -> DeviceOfflineError:
    """The error for a scheduler that does not answer, or does not let us in."""
    return DeviceOfflineError(
        f"no farm answers at {address}",
        got=" ".join(str(error).split())[:200] or type(error).__name__,
        hint="start one there with latprof farm start; both sides need the same keys",
    )


def clients(dask_scheduler: Any) -> list[str]:
    """In the scheduler's process: the connections of clients."""
    return [str(name) for name in dask_scheduler.clients]


def count_tasks(dask_scheduler: Any) -> int:
    """In the scheduler's process: visits that wait or are made."""
    return sum(
        task.state in {"waiting", "no-worker", "queued", "processing"}
        for task in dask_scheduler.tasks.values()
    )
