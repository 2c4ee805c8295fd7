"""The one folder of a phone that latprof writes: runner, libraries and models under digests."""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.errors import ConnectionLostError, DeviceDiskFullError, DeviceError
from latprof.profilers.runtimes.android.owner import WORK_FOLDER
from latprof.profilers.runtimes.android.transport.services import MAKE_ROOM, NO_SPACE

if TYPE_CHECKING:
    from latprof.profilers.runtimes.android.transport.services import PhoneServices

#: Models that are kept on a phone, in bytes; the longest unused go first.
MOST_MODEL_BYTES = 512 << 20
_LISTED = re.compile(r"(\d{1,15}) ([a-z]+-[0-9a-f]{40}(?:\.[a-z]{1,8})?)")


class WorkFolder:
    """What lies in the work folder, and what is pushed there, once.

    Names are made of a kind and the content's digest: ``model-8f3a...``. Nothing else of the phone
    is written or removed.

    Parameters
    ----------
    services : PhoneServices
    """

    def __init__(self, services: PhoneServices) -> None:
        self._services = services
        script = (
            f"mkdir -p {WORK_FOLDER} && cd {WORK_FOLDER} && rm -f part-* && "
            "for f in *-*; do stat -c '%s %n' \"$f\" 2>/dev/null; done; true"
        )
        ended = services.run(["sh", "-c", script])
        if ended.status:
            words = " ".join((ended.stderr or ended.stdout).split())[:300]
            kind = DeviceDiskFullError if NO_SPACE in words else DeviceError
            raise kind(
                f"{services.link.serial} has no place to work at {WORK_FOLDER}: {words}",
                hint=MAKE_ROOM
                if kind is DeviceDiskFullError
                else f"check that {Path(WORK_FOLDER).parent} can be written",
            )
        found = (_LISTED.fullmatch(line.strip()) for line in ended.stdout.splitlines())
        #: Sizes by name; models in the order of their last use as far as it is known.
        self._sizes = {match[2]: int(match[1]) for match in found if match}

    def program(self, kind: str, content: Path, *, mode: int = 0o755) -> str:
        """The path on the phone of a program or library, pushed whole where it is not there."""
        data = content.read_bytes()
        name = f"{kind}-{hashlib.sha256(data).hexdigest()[:40]}"
        if self._sizes.get(name) != len(data):
            part = f"{WORK_FOLDER}/part-{secrets.token_hex(8)}"
            self._push(data, part, mode)
            moved = self._services.run(["mv", "-f", part, f"{WORK_FOLDER}/{name}"])
            if moved.status:
                raise ConnectionLostError(f"{part} is not on the phone: {moved.stderr[:200]}")
            self._sizes[name] = len(data)
        return f"{WORK_FOLDER}/{name}"

    def model(self, content: bytes, sha256: str, *, again: bool = False) -> str:
        """The path of a model, pushed where it is not there; the runner checks its digest."""
        name = f"model-{sha256[:40]}"
        if again or self._sizes.get(name) != len(content):
            self._sizes.pop(name, None)
            self._make_room(len(content))
            self._push(content, f"{WORK_FOLDER}/{name}", 0o644)
        else:
            del self._sizes[name]
        self._sizes[name] = len(content)  # the last one used
        return f"{WORK_FOLDER}/{name}"

    def remove_models(self) -> None:
        """Remove all models."""
        self._remove([name for name in self._sizes if name.startswith("model-")])

    def _make_room(self, size: int) -> None:
        models = [name for name in self._sizes if name.startswith("model-")]
        excess = sum(self._sizes[name] for name in models) + size - MOST_MODEL_BYTES
        removed = []
        for name in models:
            if excess <= 0:
                break
            excess -= self._sizes[name]
            removed.append(name)
        self._remove(removed)

    def _remove(self, names: list[str]) -> None:
        for start in range(0, len(names), 200):
            paths = [f"{WORK_FOLDER}/{name}" for name in names[start : start + 200]]
            self._services.run(["rm", "-f", *paths])
        for name in names:
            del self._sizes[name]

    def _push(self, content: bytes, path: str, mode: int) -> None:
        try:
            self._services.push(content, path, mode=mode)
        except DeviceDiskFullError as error:
            self._services.run(["rm", "-f", path])
            if not any(name.startswith("model-") for name in self._sizes):
                wanted = f"{len(content) / 1e6:.1f} MB free at {WORK_FOLDER}"
                raise DeviceDiskFullError(
                    error.problem, field="space", expected=wanted, hint=error.hint
                ) from None
            self.remove_models()
            self._push(content, path, mode)
