"""Folders for temporary files that do not outlive their process for long, however it ends.

Each has a lock that its process holds. A process that is killed (``kill -9``) leaves its folder
behind, and a later one finds that nobody holds the lock, and removes it. Process ids would not do:
they are used again, and other containers with the same folder have ids of their own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import Self

if sys.platform != "win32":  # where folders of killed processes stay
    import fcntl

PREFIX = "latprof-"
_LOCK = ".in-use"
#: A folder younger than that may be about to get its lock.
_YOUNG_S = 60.0


class OwnedFolder:
    """A folder that is removed when the object goes, when the process ends, or by a later one.

    It is there once it is made: an interruption that comes meanwhile knows its ``path``.

    Parameters
    ----------
    prefix : str
        What its name begins with; begins with :data:`PREFIX`.

    Raises
    ------
    OSError
        Where there is no folder for temporary files.
    """

    def __init__(self, prefix: str = PREFIX) -> None:
        self.path = os.path.join(tempfile.gettempdir(), prefix + os.urandom(8).hex())  # noqa: PTH118
        self._locks: list[int] = []
        self.remove = weakref.finalize(self, _remove, self.path, self._locks)

    def make(self) -> Self:
        """Make the folder, for this user alone; raises OSError where that cannot be."""
        Path(self.path).mkdir(0o700)
        self._locks.append(os.open(Path(self.path, _LOCK), os.O_CREAT | os.O_RDWR, 0o600))
        if sys.platform != "win32":
            fcntl.flock(self._locks[0], fcntl.LOCK_EX)
        return self

    def __enter__(self) -> Path:
        """Make the folder, after those that killed processes left are removed."""
        remove_abandoned()
        return Path(self.make().path)

    def __exit__(self, *_error: object) -> None:
        self.remove()


def _remove(path: str, locks: list[int]) -> None:
    shutil.rmtree(path, ignore_errors=True)
    for lock in locks:
        os.close(lock)


def remove_abandoned() -> None:
    """Remove the folders of this user's processes that ended without removing theirs."""
    if sys.platform == "win32":
        return
    before = time.time() - _YOUNG_S
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                found = entry.stat(follow_symlinks=False)
                if found.st_uid == os.getuid() and found.st_mtime < before:
                    _remove_unless_owned(entry.path)


def _remove_unless_owned(path: str) -> None:
    if sys.platform == "win32":
        return
    try:
        lock = os.open(Path(path, _LOCK), os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # no folder of ours, or one on the way out
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # its process lives
        os.close(lock)
        return
    _remove(path, [lock])
