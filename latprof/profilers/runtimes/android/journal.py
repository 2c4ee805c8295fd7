"""What was changed on a phone, written down before it is changed: here, and on the phone.

Either journal alone suffices to put the phone back: the one here when the phone was away at the
end, the one on the phone when another computer finds it next.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from latprof.common.files import sync_directory, write_atomically
from latprof.errors import DeviceDiskFullError, DeviceError, DiskFullError, OutputPathError
from latprof.profilers.runtimes.android.owner import WORK_FOLDER, file_name, phones_folder
from latprof.profilers.runtimes.android.transport.services import MAKE_ROOM, NO_SPACE

if TYPE_CHECKING:
    from pathlib import Path

    from latprof.profilers.runtimes.android.transport.services import PhoneServices

_VERSION = 1
_ON_PHONE = f"{WORK_FOLDER}/changes.json"
_MOST_BYTES, _MOST_CHANGES = 1 << 16, 64
Kind = Literal["setting", "screen", "fixed-performance"]
_KINDS = ("setting", "screen", "fixed-performance")
#: Settings that may be changed, and so those that may be put back; a journal names no others.
SETTINGS = ("stay_on_while_plugged_in",)
#: What ``df -k`` says is available, and less than a journal wants.
_FREE_KB, _LEAST_KB = re.compile(r"\s(\d{1,15})\s+\d{1,3}%"), 64
_VALUE = re.compile(r"[A-Za-z0-9_.-]{0,40}")


@dataclass(frozen=True)
class Change:
    """One change: what was there before, and what was written. ``boot_id`` is the phone's then."""

    kind: Kind
    name: str
    before: str
    wrote: str
    boot_id: str


class Journal:
    """The changes of one phone, by its ``ro.serialno``; raises as :class:`PhoneServices`."""

    def __init__(self, services: PhoneServices, serial: str) -> None:
        self._services = services
        self.path: Path = phones_folder() / f"{file_name(serial)}.json"
        self.changes = self._read()

    def add(self, change: Change) -> None:
        """Write a change down, here and on the phone, before it is made."""
        self._write([*self.changes, change])

    def drop(self, change: Change) -> None:
        """Take out a change that was undone; where a disk is full it stays in the journal there.

        To undo it again changes nothing, and the journal goes with its last change.
        """
        with suppress(DeviceDiskFullError, DiskFullError, OutputPathError):
            self._write([each for each in self.changes if each != change])

    def _read(self) -> list[Change]:
        """The changes of both journals, in the order in which they were made."""
        here: list[Change] = []
        with suppress(OSError):
            here = read_changes(self.path.read_bytes()[: _MOST_BYTES + 1])
        # A phone that went down while the journal was written has a part of the next one, too.
        script = f"rm -f {_ON_PHONE}.new; cat {_ON_PHONE}"
        ended = self._services.run(["sh", "-c", script], most_bytes=_MOST_BYTES)
        there = read_changes(ended.stdout.encode()) if ended.status == 0 else []
        return here + [change for change in there if change not in here]

    def _write(self, changes: list[Change]) -> None:
        self.changes = changes
        content = json.dumps({"version": _VERSION, "changes": [asdict(c) for c in changes]})
        if changes:
            self._on_phone(  # first: what it refuses is not made
                f'mkdir -p {WORK_FOLDER} && printf %s "$1" > {_ON_PHONE}.new && '
                f"mv {_ON_PHONE}.new {_ON_PHONE} || {{ rm -f {_ON_PHONE}.new; false; }}",
                content,
            )
            write_atomically(self.path, content.encode())
        else:
            self._on_phone(f"rm -f {_ON_PHONE}", "")
            self.path.unlink(missing_ok=True)
            sync_directory(self.path.parent)

    def _on_phone(self, script: str, argument: str) -> None:
        ended = self._services.run(["sh", "-c", script, "sh", argument])
        if ended.status != 0:
            words = (ended.stderr or ended.stdout).strip()[:200]
            if not words and self._is_full():  # some shells do not say why
                words = NO_SPACE
            kind = DeviceDiskFullError if NO_SPACE in words else DeviceError
            raise kind(
                f"{self._services.link.serial} does not keep the journal of changes: {words}",
                hint=MAKE_ROOM
                if kind is DeviceDiskFullError
                else f"check that {WORK_FOLDER} can be written",
            )

    def _is_full(self) -> bool:
        told = self._services.run(["df", "-k", WORK_FOLDER]).stdout
        free = _FREE_KB.search(told)
        return free is not None and int(free[1]) < _LEAST_KB


def read_changes(content: bytes) -> list[Change]:
    """The changes of a journal; what is none of a change's own form is left out.

    A journal comes from a phone: it can name no setting but those of :data:`SETTINGS`, and no value
    that is not one word.
    """
    try:
        listed = json.loads(content[:_MOST_BYTES])["changes"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    changes = []
    for values in listed[:_MOST_CHANGES] if isinstance(listed, list) else ():
        try:
            change = Change(**values)
        except TypeError:
            continue
        if _is_sound(change):
            changes.append(change)
    return changes


def _is_sound(change: Change) -> bool:
    words = (change.kind, change.name, change.before, change.wrote, change.boot_id)
    return (
        all(isinstance(word, str) and _VALUE.fullmatch(word) for word in words)
        and change.kind in _KINDS
        and (change.kind != "setting" or change.name in SETTINGS)
    )
