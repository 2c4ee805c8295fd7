"""One owner a phone: a lock on this computer, and one on the phone against other computers.

Both end with the process that holds them, however it ends: the one here is a file lock, the one on
the phone is held by a program there whose input ends with the connection.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from latprof.errors import DeviceError, LatprofError, OutputPathError
from latprof.profilers.runtimes.android.transport.base import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from latprof.profilers.runtimes.android.transport.base import ByteStream
    from latprof.profilers.runtimes.android.transport.services import PhoneServices

#: The only folder of a phone that latprof writes to.
WORK_FOLDER = "/data/local/tmp/latprof"
#: How long a phone that another latprof has is waited for.
WAIT_S = 10.0
_LOOK_AGAIN_S = 0.5
#: What is soon over is not worth a note.
_SAY_AFTER_S = 1.5
_LET_GO_S = 5.0
_ELSEWHERE = "let XDG_STATE_HOME name a folder that can be written"
_MOST_BYTES = 4096


def phones_folder() -> Path:
    """Where locks and journals of phones are kept: ``latprof/phones`` of the user's state folder.

    Made where it is not there; raises OutputPathError.
    """
    import platformdirs

    folder = platformdirs.user_state_path("latprof", appauthor=False) / "phones"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputPathError(
            f"cannot make {folder}: {error.strerror}", field="XDG_STATE_HOME", hint=_ELSEWHERE
        ) from None
    return folder


def file_name(serial: str) -> str:
    """A phone's serial as the name of a file; two serials have two names."""
    return re.sub(r"[^A-Za-z0-9-]", lambda found: f"_{ord(found[0]):02x}", serial[:80])


@contextmanager
def owned(
    services: PhoneServices,
    serial: str,
    *,
    wait_s: float = WAIT_S,
    on_note: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Be the only latprof that changes and measures a phone, as long as the context lasts.

    Parameters
    ----------
    services : PhoneServices
        Their link stays open as long, where it can carry other streams beside.
    serial : str
        The phone's own, ``ro.serialno``.
    wait_s : float
        How long another owner's end is waited for.
    on_note : callable, optional
        Called once with who has the phone, before waiting.

    Raises
    ------
    DeviceError
        Where another latprof still has it after ``wait_s``; it says who.
    """
    end = time.monotonic() + wait_s
    say_at = end - wait_s + min(_SAY_AFTER_S, wait_s / 2)
    noted = False
    with ExitStack() as stack:
        for attempt in (_lock_here, _lock_there):
            while who := attempt(services, serial, stack):
                if time.monotonic() >= end:
                    raise DeviceError(
                        f"the phone {serial} is in use by {who}",
                        field="phone",
                        hint="wait for its end, or end it, and run the command again",
                    )
                if on_note is not None and not noted and time.monotonic() >= say_at:
                    on_note(f"the phone {serial} is in use by {who}: waiting up to {wait_s:g} s")
                    noted = True
                time.sleep(min(_LOOK_AGAIN_S, max(end - time.monotonic(), 0.01), wait_s / 4))
        yield


def owner_of(serial: str) -> str:
    """Who has a phone on this computer; empty where nobody has."""
    try:
        with _lock_file(serial).open("r+b") as file:
            if not _try_lock(file):
                return _who(file.read(_MOST_BYTES))
    except OSError:
        pass
    return ""


def _lock_file(serial: str) -> Path:
    return phones_folder() / f"{file_name(serial)}.lock"


def _lock_here(_services: PhoneServices, serial: str, stack: ExitStack) -> str:
    """Take the lock on this computer for as long as ``stack``; who has it where another does."""
    path = _lock_file(serial)
    try:
        file = path.open("a+b")
    except OSError as error:
        raise OutputPathError(
            f"cannot write {path}: {error.strerror}", field="phone", hint=_ELSEWHERE
        ) from None
    if not _try_lock(file):
        with file:
            file.seek(0)
            return _who(file.read(_MOST_BYTES))
    stack.enter_context(file)
    file.truncate(0)
    file.write(_me())
    file.flush()
    return ""


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lock_there(services: PhoneServices, serial: str, stack: ExitStack) -> str:
    """Take the lock on the phone; a phone without ``flock`` has none.

    The descriptor of the lock is the shell's stderr: it keeps others from what it starts.
    """
    file = f"{WORK_FOLDER}/owner"
    script = (
        f"mkdir -p {WORK_FOLDER}; exec 2>>{file}; flock -n 2; case $? in "
        f'0) printf %s "$1" >{file};; 127) echo none; exit;; '
        f"*) echo taken; exec cat {file};; esac; echo mine; read -r line"
    )
    stream = services.start(["sh", "-c", script, "sh", _me().decode()])
    deadline = Deadline(services.timeouts.run_s, f"the lock on {serial}")
    try:
        said = _line(stream, deadline)
        if said == "mine":
            stack.callback(_let_go, stream)
            return ""
        text = b""
        while said == "taken" and len(text) < _MOST_BYTES and (more := stream.read(deadline)):
            text += more
    except BaseException:
        stream.close()
        raise
    stream.close()
    return _who(text) if said == "taken" else ""


def _let_go(stream: ByteStream) -> None:
    """End the program that holds the lock, and see that it has ended."""
    with suppress(LatprofError, OSError), stream:
        deadline = Deadline(_LET_GO_S, "the end of the lock")
        stream.write(b"\n", deadline)
        while stream.read(deadline):
            pass


def _line(stream: ByteStream, deadline: Deadline) -> str:
    line = b""
    while not line.endswith(b"\n") and len(line) < 64 and (more := stream.read(deadline, 1)):
        line += more
    return line.decode("utf-8", "replace").strip()


def _me() -> bytes:
    values = {
        "command": " ".join(Path(word).name for word in sys.argv[:2])[:80],
        "process": os.getpid(),
        "host": socket.gethostname()[:80],
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    return json.dumps(values).encode()


def _who(text: bytes) -> str:
    """One line that says who holds a lock, from what the holder wrote."""
    try:
        values = json.loads(text)
        return (
            f"{str(values['command'])[:80]} (process {int(values['process'])} on "
            f"{str(values['host'])[:80]}, since {str(values['since'])[:20]})"
        )
    except (ValueError, KeyError, TypeError):
        return "another latprof"
