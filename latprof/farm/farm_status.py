"""What is in a farm: devices, what each does, what waits, what failed last."""

from __future__ import annotations

import datetime as dt
import os
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from latprof._version import __version__
from latprof.common.extras import require
from latprof.common.html_parts import html_table
from latprof.common.short_reprs import ShortRepr
from latprof.errors import DeviceOfflineError
from latprof.farm.addresses import check_address, use_settings
from latprof.farm.announcing import device_of
from latprof.farm.farm_connection import AnnouncedDevice, announced, check_version, connected
from latprof.farm.farm_keys import find_keys

HEADER = ("device", "state", "queue", "a minute", "visits", "failed", "host", "last error")
#: Of tasks that wait or run.
_IN_WORK = frozenset({"waiting", "no-worker", "queued", "processing"})
_STYLE = (
    "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}"
    "caption{font-size:1.3em;text-align:left;padding-bottom:.7em}"
    "td,th{padding:.3em .8em;text-align:left;border-bottom:1px solid #ccc}"
    "thead th{border-bottom:2px solid #555}"
    "td:nth-child(n+3):nth-child(-n+6){text-align:right;font-variant-numeric:tabular-nums}"
)


@dataclass(frozen=True, repr=False)
class FarmStatus(ShortRepr):
    """A farm at one moment.

    ``queues`` counts for each device, by its name, the visits that wait or are made; ``at`` is the
    Unix time.
    """

    address: str
    devices: tuple[AnnouncedDevice, ...]
    queues: Mapping[str, int]
    at: float

    @property
    def queue(self) -> int:
        """The visits that wait or are made on all devices, and on such as are not there now."""
        return sum(self.queues.values())

    def rows(self) -> list[tuple[str, ...]]:
        """The devices as a table, with the columns of :data:`HEADER`."""
        return [
            (
                each.device.name,
                str(each.state.get("state", "")),
                str(self.queues.get(each.device.name, 0)),
                f"{each.state.get('visits_per_minute', 0.0):.1f}",
                str(each.state.get("made", 0)),
                str(each.state.get("failed", 0)),
                each.host,
                str(each.state.get("last_error", "")),
            )
            for each in self.devices
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the status as plain JSON values."""
        devices = [
            each.to_dict() | {"queue": self.queues.get(each.device.name, 0)}
            for each in self.devices
        ]
        return {"address": self.address, "queue": self.queue, "devices": devices}

    def summary(self) -> str:
        """One line for people."""
        away = sorted(self.queues.keys() - {each.device.name for each in self.devices})
        waiting = f"; visits wait for {', '.join(away)}" if away else ""
        return f"{len(self.devices)} devices, {self.queue} visits in work{waiting}"

    def page(self) -> str:
        """An HTML page; it loads nothing."""
        at = dt.datetime.fromtimestamp(self.at, dt.UTC)
        title = f"latprof farm at {self.address}, {at:%Y-%m-%d %H:%M:%S} UTC: {self.summary()}"
        head = f'<!doctype html><html lang="en"><meta charset="utf-8"><style>{_STYLE}</style>'
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
    UsageError
        For a scheduler of another version of latprof.
    """
    require("farm", "latprof farm status", "distributed", "cryptography")
    folder = find_keys(keys)
    address = check_address(farm, folder)
    use_settings()
    try:
        with connected(address, folder) as client:
            check_version(client.run_on_scheduler(version))
            identity = client.scheduler_info(n_workers=-1)
            queues = client.run_on_scheduler(waiting_visits)
    except OSError as error:
        raise no_farm(address, error) from None
    return FarmStatus(address, tuple(announced(identity)), queues, time.time())


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


def version() -> str:
    """In the scheduler's process: its version of latprof."""
    return __version__


def task_key(function: str, visits: int) -> str:
    """The name of a new task, in which so many visits are made."""
    return f"latprof-{function}-{uuid.uuid4().hex}-{visits}"


def waiting_visits(dask_scheduler: Any) -> dict[str, int]:
    """In the scheduler's process: visits that wait or are made, by the device's name."""
    found = Counter[str]()
    for task in dask_scheduler.tasks.values():
        visits = str(task.key).rpartition("-")[2]
        if task.state in _IN_WORK and visits.isdecimal():
            for resource in task.resource_restrictions or ():
                found[device_of(resource)] += int(visits)
    return {device: visits for device, visits in found.items() if visits}
