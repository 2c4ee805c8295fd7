"""What is in a farm: devices, what each does, what waits, what failed last."""

from __future__ import annotations

import datetime as dt
import os
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from latprof._version import __version__
from latprof.common.extras import require
from latprof.common.html_parts import html_table
from latprof.common.short_reprs import MOST_DEVICES, ShortRepr, first_names
from latprof.errors import DeviceOfflineError
from latprof.farm.addresses import use_settings
from latprof.farm.announcing import device_of
from latprof.farm.farm_connection import (
    AnnouncedDevice,
    address_and_keys,
    announced,
    check_version,
    connected,
    with_latprof,
)

HEADER = ("device", "host", "state", "queue", "visits/min", "visits", "failed")
#: Of tasks that wait or run.
_IN_WORK = frozenset({"waiting", "no-worker", "queued", "processing"})
#: States that stand out on the page, with the colours of reports.
_ROLES = {"measuring": "ok", "set aside": "fail", "away": "fail"}
_STYLE = """
html{color-scheme:light dark}
body{margin:0;padding:2rem;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:1100px;margin:auto}h1{font-size:1.6rem;margin:0}p{margin:.3rem 0;color:var(--muted)}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;margin-top:1.2rem;
padding:.5rem 1.2rem;overflow-x:auto}
table{border-collapse:collapse;width:100%}caption{position:absolute;left:-999em}
td,th{padding:.45rem .9rem .45rem 0;text-align:left;border-bottom:1px solid var(--grid)}
thead th{color:var(--muted);font-size:.85rem;font-weight:500;white-space:nowrap}
tbody tr:last-child>*{border-bottom:0}tbody th{font-weight:600}
.numbers td:nth-child(n+4),.numbers th:nth-child(n+4)
{text-align:right;font-variant-numeric:tabular-nums}
.numbers tr>:last-child{padding-right:0}.ok{color:var(--ok)}.fail{color:var(--fail)}
"""


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

    @property
    def away(self) -> tuple[str, ...]:
        """Devices that visits wait for, and that are not there."""
        return tuple(sorted(self.queues.keys() - {each.device.name for each in self.devices}))

    def rows(self) -> list[tuple[str, ...]]:
        """The devices as a table, with the columns of :data:`HEADER`."""
        found: list[tuple[str, ...]] = [
            (
                each.device.name,
                each.host,
                str(each.state.get("state", "")),
                str(self.queues.get(each.device.name, 0)),
                f"{each.state.get('visits_per_minute', 0.0):.1f}",
                str(each.state.get("made", 0)),
                str(each.state.get("failed", 0)),
            )
            for each in self.devices
        ]
        found += [(name, "", "away", str(self.queues[name]), "", "", "") for name in self.away]
        return found

    def last_errors(self) -> list[tuple[str, str]]:
        """Each device that has failed, and what it said last."""
        found = [(each.device.name, str(each.state.get("last_error", ""))) for each in self.devices]
        return [(name, error) for name, error in found if error]

    def to_dict(self) -> dict[str, Any]:
        """Return the status as plain JSON values."""
        devices = [
            each.to_dict() | {"queue": self.queues.get(each.device.name, 0)}
            for each in self.devices
        ]
        return {"address": self.address, "queue": self.queue, "devices": devices}

    def summary(self) -> str:
        """One line for people."""
        count = len(self.devices)
        waiting = f"; visits wait for {first_names(self.away, MOST_DEVICES)}" if self.away else ""
        work = f"{self.queue} visit{'' if self.queue == 1 else 's'} in work"
        return f"{count} device{'' if count == 1 else 's'}, {work}{waiting}"

    def page(self) -> str:
        """An HTML page, in light and dark; it loads nothing, and itself anew every minute."""
        from latprof.reports.rendering.theme import DARK, LIGHT, css_variables

        at = dt.datetime.fromtimestamp(self.at, dt.UTC)
        light, dark = css_variables(LIGHT), css_variables(DARK)
        colours = f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
        table = html_table("Devices", self.rows(), HEADER)
        for state, role in _ROLES.items():
            table = table.replace(f"<td>{state}</td>", f'<td class="{role}">{state}</td>')
        parts = [f'<div class="card numbers">{table}</div>'] if self.rows() else []
        if errors := self.last_errors():
            table = html_table("Last errors", errors, ("device", "last error"))
            parts.append(f'<div class="card">{table}</div>')
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" '
            f'content="60"><title>latprof farm</title><style>{colours}{_STYLE}</style><main>'
            f"<h1>{escape(self.summary())}</h1>"
            f"<p>latprof farm at {escape(self.address)}, {at:%Y-%m-%d %H:%M:%S} UTC</p>\n"
            + "\n".join(parts)
            + "</main></html>"
        )


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
    address, folder = address_and_keys(farm, keys)
    use_settings()
    try:
        with connected(address, folder) as client:
            with with_latprof():
                check_version(client.run_on_scheduler(version))
                queues = client.run_on_scheduler(waiting_visits)
            identity = client.scheduler_info(n_workers=-1)
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
