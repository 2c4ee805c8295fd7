"""The keeper of one child process: forks it, and ends all that descends from it.

Run as a script, ``python -P keeper.py LIFELINE OWNER FOLDER ROOT WHAT [ARGUMENT...]``, by
:class:`latprof.common.children.child.Child`:

- ``LIFELINE`` is a socket whose other end the owner, and nobody else, holds open: when it is
  closed, by the owner or by the owner's death, everything is killed.
- ``OWNER`` is the owner's process id.
- ``FOLDER`` is the child's folder for temporary files, removed at the end; may be empty.
- ``ROOT`` is the folder that the owner imported latprof from; empty for a child that needs none.
- ``WHAT`` is the child: a module's name, or the path of a script.

The keeper becomes the parent of descendants whose own parent has died (``PR_SET_CHILD_SUBREAPER``
of Linux), so it finds those too that made a session of their own; the child is killed with it
(``PR_SET_PDEATHSIG``). Elsewhere it kills the child's process group. It leaves with the child's
status, or by the child's signal. Only the standard library is imported.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36
#: Seconds after which the owner's death is seen though somebody else holds its end of the lifeline.
_LOOK_S = 2.0
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> None:
    """Fork the child, wait for its end or the owner's, end what is left of it."""
    lifeline, owner, folder, root, what, *arguments = sys.argv[1:]
    keeper = Keeper(int(lifeline), int(owner), folder)
    if keeper.child == 0:
        _become(what, arguments, root)
        return
    status = keeper.wait()
    keeper.end_descendants()
    _remove(folder)
    _leave_with(status)


class Keeper:
    """A forked child and its descendants; ``child`` is 0 in the child itself."""

    def __init__(self, lifeline: int, owner: int, folder: str) -> None:
        self._lifeline, self._owner = lifeline, owner
        control = _prctl()
        control(_SET_CHILD_SUBREAPER, 1)
        self._wake, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        for number in (signal.SIGCHLD, *_ENDING):
            signal.signal(number, self._note)
        self._told_to_end = False
        me = os.getpid()
        self.child = os.fork()
        if self.child:
            os.set_blocking(lifeline, False)
            os.write(lifeline, b"%d\n" % self.child)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):  # the child's ends are the child's alone
                os.dup2(nowhere, stream)
            return
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *_ENDING):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what it means is the owner's to say
        for handle in (self._wake, wake, lifeline):
            os.close(handle)
        os.setpgid(0, 0)
        control(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != me:
            os._exit(1)
        if folder:
            os.environ["TMPDIR"] = folder

    def _note(self, number: int, _frame: object) -> None:
        self._told_to_end |= number in _ENDING

    def wait(self) -> int:
        """The child's status as ``waitpid`` has it, once it or the owner has ended."""
        while not self._told_to_end:
            ready, _, _ = select.select([self._lifeline, self._wake], [], [], _LOOK_S)
            if self._wake in ready:
                os.read(self._wake, 4096)
                # Orphans of the child are this process's too.
                if (ended := _reap(self.child)) is not None:
                    return ended
            if self._lifeline in ready or os.getppid() != self._owner:
                break
        self._kill_group()
        return os.waitpid(self.child, 0)[1]

    def end_descendants(self) -> None:
        """Kill until nothing is left."""
        self._kill_group()
        while _is_anything_left():
            for descendant in _children():
                _kill(os.kill, descendant)
            time.sleep(0.001)  # for the death of some, and the orphans that come of it

    def _kill_group(self) -> None:
        _kill(os.killpg, self.child)
        _kill(os.kill, self.child)  # before it had a group


def _reap(child: int) -> int | None:
    """Take note of processes that have ended; the child's status where it is one of them."""
    found = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if ended == 0:
            return found
        if ended == child:
            found = status


def _kill(how: Callable[[int, int], None], process: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        how(process, signal.SIGKILL)


def _is_anything_left() -> bool:
    """Take note of all that have ended; whether there are others."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    """Processes whose parent this one is; none where there is no ``/proc``."""
    found, me = [], str(os.getpid())
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            fields = status.read_text("ascii", "replace").rpartition(")")[2].split()
            if fields[1] == me:
                found.append(int(status.parent.name))
    return found


def _prctl() -> Callable[[int, int], object]:
    """Linux's ``prctl``, which Python has no function of; elsewhere one that does nothing."""
    if sys.platform != "linux":
        return lambda _what, _value: None
    import ctypes

    control: Callable[[int, int], object] = ctypes.CDLL(None).prctl
    return control


def _become(what: str, arguments: list[str], root: str) -> None:
    """Run the module or script in this process, as ``__main__``."""
    import runpy

    sys.argv = [what, *arguments]
    if root and root not in sys.path:
        sys.path.append(root)  # last: beside latprof lie folders with names of other packages
    if what.endswith(".py"):
        runpy.run_path(what, run_name="__main__")
    else:
        runpy.run_module(what, run_name="__main__", alter_sys=True)


def _remove(folder: str) -> None:
    if not folder:
        return
    try:
        Path(folder).rmdir()
    except OSError:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def _leave_with(status: int) -> None:
    """End as the child did."""
    if os.WIFSIGNALED(status):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
