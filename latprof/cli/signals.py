"""How a signal ends the command: children and temporary files gone, no traceback, 128 + its number.

Ctrl-C (SIGINT), SIGTERM, which Slurm, systemd and Docker send, and SIGHUP raise KeyboardInterrupt
where the command is. That is not enough: a library may be importing and make it an ImportError, a
callback without a caller loses it, and a computation in C does not look. So

- while the command itself is imported there is nothing to clean up: the process leaves at once;
- while its folder of temporary files is made nothing is raised;
- nothing is raised within a later import: modules of C code that import others do not all look for
  errors, and crash (SIGSEGV). It is raised when the import is over;
- an interrupt that a callback lost is raised again;
- nothing is logged any more: libraries log what an interrupt breaks off, with its traceback;
- a thread looks, and after :data:`GRACE_S`, or at a second signal, the process leaves at once, its
  children killed and its temporary files removed; a store is valid at every moment. Work that has
  something to put back, such as a phone, gets the time that it asked for
  (:mod:`latprof.common.endings`).
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

from latprof.common import endings

#: How long the command may take to end by itself.
GRACE_S = 1.5
#: A second signal that comes sooner is the first one: ``timeout`` sends it to the process and to
#: its group.
_ONE_SIGNAL_S = 0.5
_LOOK_S = 0.02
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: The names of the files that the interpreter's own import is compiled from begin so.
_OF_IMPORTS = "<frozen importlib."


class Ending:
    """The context in which a signal ends the command; leaves it with SystemExit after a signal.

    Signals that are ignored (``nohup``, a shell's background) stay ignored.

    Parameters
    ----------
    is_program : bool
        Whether the process ends with the context; handlers then stay until it has.
    """

    def __init__(self, *, is_program: bool) -> None:
        self._is_program = is_program
        self._number = 0  # of the signal that came
        self._came_at = 0.0
        self._can_leave_at_once = True
        self._ended = threading.Event()
        self._before: dict[int, Any] = {}
        self._folder: Any = None  # an OwnedFolder
        self._before_folder: str | None = None
        self._is_lost = False  # and now comes a second time
        self._is_put_off = False  # until an import is over, or the folder is there
        self._is_making_folder = False
        self._caller: FrameType | None = None
        self._logged_before: int | None = None  # the level up to which nothing was logged

    def __enter__(self) -> Self:
        self._caller = _this_frame().f_back
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in _SIGNALS:
            found = signal.getsignal(number)
            if found in {signal.SIG_DFL, signal.default_int_handler}:
                self._before[number] = signal.signal(number, self._handle)
        if self._before:
            reading, self._writing = os.pipe()
            os.set_blocking(self._writing, False)
            self._before_wakeup = signal.set_wakeup_fd(self._writing)
            self._before_hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
            threading.Thread(target=self._watch, args=(reading,), daemon=True).start()
            if self._is_program:
                # The last of what the interpreter calls at its end, which makes signals deadly.
                atexit.register(self._end)
        return self

    def _end(self) -> None:
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)
        if self._folder is not None:  # a library may have written there at its own end
            import shutil

            shutil.rmtree(self._folder.path, ignore_errors=True)

    def expect_files(self) -> None:
        """Imports are done; temporary files have a folder of this process from here on."""
        import tempfile

        from latprof.common.children.owned_folders import OwnedFolder

        # Whether files can be made is tried with one, which is there for a moment.
        self._is_making_folder, self._can_leave_at_once = True, False
        try:
            self._folder = OwnedFolder()
            self._folder.make()
        except OSError:  # there is no place for any: the command may need none
            self._folder = None
        else:
            self._before_folder, tempfile.tempdir = tempfile.tempdir, self._folder.path
        self._is_making_folder = False

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._number and self._is_program:  # threads and libraries might hold the exit up
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()
            self._leave()
        self._remove_files()
        if self._is_program and self._folder is not None:
            from latprof.common.children.owned_folders import remove_abandoned

            remove_abandoned()
        if self._before and not self._is_program:
            self._restore()
        self._can_leave_at_once = True
        if self._number:
            sys.exit(128 + self._number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._logged_before is not None:
            sys.modules["logging"].disable(self._logged_before)
        sys.unraisablehook = self._before_hook
        signal.set_wakeup_fd(self._before_wakeup)
        os.close(self._writing)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self._came_at > 0  # not by the number: the thread that looks may have set it first
        self._number = self._number or number
        if self._can_leave_at_once:
            self._leave()
        if self._ended.is_set():
            return
        if not again:
            self._came_at = time.monotonic()
        elif self._is_lost:
            self._is_lost = False
        elif time.monotonic() < self._came_at + _ONE_SIGNAL_S:
            return
        else:
            self._leave()
        if self._is_making_folder or self._is_importing(frame):
            self._is_put_off = True
            return
        self._log_nothing()
        raise KeyboardInterrupt

    def _log_nothing(self) -> None:
        """Where logging is imported, to its end."""
        logging: Any = sys.modules.get("logging")
        if self._logged_before is None and hasattr(logging, "disable"):
            self._logged_before = logging.root.manager.disable
            logging.disable(logging.CRITICAL)

    def _is_importing(self, frame: FrameType | None) -> bool:
        """Whether an import has begun within the command and is not over; C code may be part."""
        while frame is not None and frame is not self._caller:
            if frame.f_code.co_filename.startswith(_OF_IMPORTS):
                return True
            frame = frame.f_back
        return False

    def _unraisable(self, unraisable: Any) -> None:
        """Of an interrupt that nobody can catch: it is raised anew, soon."""
        if self._number and isinstance(unraisable.exc_value, KeyboardInterrupt):
            threading.Thread(target=self._raise_again, daemon=True).start()
        else:
            self._before_hook(unraisable)

    def _raise_again(self) -> None:
        time.sleep(0.01)
        self._send_again()

    def _send_again(self) -> None:
        self._is_lost = True
        signal.pthread_kill(threading.main_thread().ident or 0, self._number)

    def _watch(self, reading: int) -> None:
        """Leave at once where the command does not end by itself."""
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            while came := pipe.read(1):
                if came[0] in self._before:
                    self._number = self._number or came[0]
                    if not self._ends_by_itself():
                        self._leave()

    def _ends_by_itself(self) -> bool:
        """Whether the command ends in time, or in the time that its work asked for."""
        start = time.monotonic()
        while not self._ended.wait(_LOOK_S):
            if time.monotonic() >= start + max(GRACE_S, endings.seconds_to_end()):
                return False
            if self._is_put_off:
                self._is_put_off = False
                self._send_again()
        return True

    def _leave(self) -> None:
        """End the process here, whatever its main thread does."""
        for module, clean_up in (
            ("latprof.common.children.child", "kill_all"),
            ("latprof.common.files", "remove_temporary_files"),
        ):  # neither is there before it was imported to its end
            getattr(sys.modules.get(module), clean_up, _nothing)()
        self._remove_files()
        if not self._ended.is_set():
            with contextlib.suppress(OSError):  # a closed stderr
                os.write(2, f"{_last_line}\n".encode())
        os._exit(128 + self._number)

    def _remove_files(self) -> None:
        if self._folder is not None:
            import tempfile

            tempfile.tempdir = self._before_folder
            self._folder.remove()


def _nothing() -> None:
    """No clean-up."""


def say_when_left(text: str) -> None:
    """What is said where the process leaves without the command's own last line."""
    global _last_line  # noqa: PLW0603 - of the process, as its signals are
    _last_line = text


_last_line = "latprof: interrupted"


def _this_frame() -> FrameType:
    """The frame of the caller; ``inspect``, which would tell it, is slow to import."""
    try:
        raise LookupError
    except LookupError as error:
        trace = error.__traceback__
    assert trace is not None
    assert trace.tb_frame.f_back is not None
    return trace.tb_frame.f_back
