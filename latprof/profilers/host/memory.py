"""The memory of a measuring process: its peak while one model was loaded and run."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from latprof.measurement.quiet.conditions import read_text

_SELF = Path("/proc/self")
#: Written to ``clear_refs``, it has the kernel forget the peak (proc(5), since Linux 4.0).
_FORGET_PEAK = "5"


class ProcessMemory:
    """The memory of this process from now on.

    The kernel is asked to forget the peak so far; where it refuses, the peak is that since the
    process began.

    Parameters
    ----------
    root : Path
        The process's folder in ``/proc``.
    """

    def __init__(self, root: Path = _SELF) -> None:
        self._root = root
        with contextlib.suppress(OSError):
            (root / "clear_refs").write_text(_FORGET_PEAK)
        self._before = self._read("VmRSS")

    def peaks(self, model: object = None) -> dict[str, int]:
        """Bytes at most: ``process_peak_bytes`` of the process, ``model_peak_bytes`` beyond before.

        And ``activations_peak_bytes`` where the loaded model tells it. What is not visible is left
        out.
        """
        found = {}
        peak = self._read("VmHWM")
        if peak is not None:
            found["process_peak_bytes"] = peak
            if self._before is not None:
                found["model_peak_bytes"] = max(peak - self._before, 0)
        activations = getattr(model, "activations_peak_bytes", None)
        if activations is not None:
            found["activations_peak_bytes"] = int(activations())
        return found

    def _read(self, name: str) -> int | None:
        match = re.search(rf"^{name}:\s+(\d+) kB$", read_text(self._root / "status"), re.MULTILINE)
        return None if match is None else 1024 * int(match[1])
