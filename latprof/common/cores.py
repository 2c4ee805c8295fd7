"""The cores of this computer that this process may run on."""

from __future__ import annotations

import os


def allowed_cores() -> frozenset[int]:
    """Numbers of the cores; all of them where the operating system does not say which."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))
