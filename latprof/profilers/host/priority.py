"""Precedence of a measuring process over the host's other work, where it may have it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

#: The niceness of a process that others hardly ever preempt; as low as it goes.
HIGHEST = -20
#: How Linux shares its cores between sessions, where it groups them (sched(7), autogroup).
_AUTOGROUP = Path("/proc/self/autogroup")
_NICE: Callable[[int], int] | None = getattr(os, "nice", None)


def take_precedence(
    autogroup: Path = _AUTOGROUP,
    nice: Callable[[int], int] | None = _NICE,
) -> bool:
    """Have this process, and the threads that it starts, run before others; whether it may.

    Only where it has the niceness that processes usually have: who started latprof with ``nice``
    wants it to stand back. Its session has to be its own: its precedence among sessions is raised
    too. Needs the privilege to do so (root, CAP_SYS_NICE or RLIMIT_NICE); without it nothing
    changes.
    """
    if nice is None or nice(0) != 0:
        return False
    try:
        nice(HIGHEST)
    except OSError:
        return False
    with contextlib.suppress(OSError):
        autogroup.write_text(f"{HIGHEST}\n")
    return True
