"""Another computer, reached through the user's own ``ssh``, on which latprof is installed.

Everything is asked in a command of its own, which starts
:mod:`latprof.profilers.visits.remote_side` there with a Python that has latprof: nothing is copied
there but the models that are measured, and nothing listens.
The user's settings for the host (keys, port, jump hosts) are those of ``ssh`` itself. Nobody is
asked anything: a password, a passphrase or an unknown host key is an error in one line.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any, cast, get_args

from latprof._version import __version__
from latprof.common.checked_json import Fields
from latprof.common.children.child import Child
from latprof.errors import (
    ConnectionLostError,
    DeviceError,
    DeviceOfflineError,
    DeviceUnauthorizedError,
    InvalidValueError,
    RuntimeFailedError,
    UsageError,
)
from latprof.profilers.host.checks import Check, Status

#: The variable that names the Python to use there, where latprof has one of its own.
PYTHON = "LATPROF_SSH_PYTHON"
#: Longest time for a question, connecting and starting Python on a small board included.
ANSWER_S = 60.0
_CONNECT_S, _ALIVE_S, _ALIVE_COUNT = 15, 15, 3
_MOST_BYTES, _MOST_LINES = 1 << 20, 200
_ADDRESS = re.compile(
    r"(?P<host>(?:[A-Za-z0-9_][\w.-]*@)?(?:[A-Za-z0-9_][\w.-]*|\[[0-9A-Fa-f:.%]+\]))"
    r"(?::(?P<port>\d{1,5}))?",
    re.ASCII,
)
_PYTHON_PATH = re.compile(r"[\w./~+-]+", re.ASCII)
#: What is tried there in turn: `python3 -m venv ~/.latprof` makes the first.
_PYTHONS = '"$HOME/.latprof/bin/python" python3 python'
_OPTIONS = {
    "BatchMode": "yes",
    "ClearAllForwardings": "yes",
    "ConnectTimeout": str(_CONNECT_S),
    "ControlMaster": "no",
    "LogLevel": "ERROR",
    "PermitLocalCommand": "no",
    "ServerAliveCountMax": str(_ALIVE_COUNT),
    "ServerAliveInterval": str(_ALIVE_S),
}
# No quotation mark of the other kind, no line's end and no exclamation mark in these two: whatever
# shell the user has there reads them.
_FIND = (
    "for p in PYTHONS; do "
    'command -v "$p" >/dev/null 2>&1 && '
    '"$p" -c "import sys; sys.path[:] = filter(None, sys.path); import latprof._version" '
    '</dev/null >/dev/null 2>&1 && exec "$p" -c "$0" "$@"; '
    'done; echo "{\\"latprof\\": \\"\\"}"'
)
_GREET = (
    "import json, runpy, sys; sys.path[:] = filter(None, sys.path); "
    "from latprof._version import __version__ as v; "
    'print(json.dumps({"latprof": v}), flush=True); '
    "v == sys.argv.pop(1) and "
    'runpy.run_module("latprof.profilers.visits.remote_side", run_name="__main__")'
)


@dataclass(frozen=True)
class SshHost:
    """A computer behind ``ssh``; satisfies :class:`latprof.profilers.base.MeasuringHost`.

    Parameters
    ----------
    address : str
        ``HOST``, ``USER@HOST``, and either with ``:PORT``; a host of ``~/.ssh/config`` too.
    target : str
        The target's spelling there, such as ``"cpu:onnxruntime"``.
    python : str
        The Python to use there; empty for the first one that has latprof.

    Raises
    ------
    InvalidValueError
        For an address that is none, such as one that ``ssh`` would take for an option.
    UsageError
        For a Python whose path is none.
    """

    address: str
    target: str
    python: str = field(default_factory=lambda: os.environ.get(PYTHON, ""))

    def __post_init__(self) -> None:
        found = _ADDRESS.fullmatch(self.address)
        if found is None or not 0 < int(found["port"] or 22) < 1 << 16:
            raise InvalidValueError(
                "not the address of a computer",
                field="target",
                expected="ssh:HOST:RUNTIME, where HOST is as ssh takes it: pi, user@10.0.0.7, "
                "user@pi:2222",
                got=f"ssh:{self.address}"[:200],
            )
        if self.python and not _PYTHON_PATH.fullmatch(self.python):
            raise UsageError(
                f"{PYTHON} is no path of a Python",
                field=PYTHON,
                expected="letters, digits and ./~+_-",
                got=self.python[:200],
            )

    @property
    def name(self) -> str:
        """What the computer is called in the names of measuring processes."""
        return f"ssh:{self.address}"

    def command(self, *words: str) -> list[str]:
        """The command that starts the far side there with these words."""
        found = _ADDRESS.fullmatch(self.address)
        assert found is not None
        options = [f"-o{name}={value}" for name, value in _OPTIONS.items()]
        port = ["-p", found["port"]] if found["port"] else []
        script = _FIND.replace("PYTHONS", self.python or _PYTHONS)
        there = ("sh", "-c", script, _GREET, __version__, *words)
        host = found["host"].replace("[", "").replace("]", "")
        return ["ssh", "-T", "-x", "-a", *options, *port, "--", host, shlex.join(there)]

    # Asking --------------------------------------------------------------------------------------

    def facts(self) -> HostFacts:
        """What the computer is; it is asked once in a process.

        Raises DeviceOfflineError, DeviceUnauthorizedError or DeviceError where it cannot be
        reached, lacks latprof, has another version of it, or lacks the runtime.
        """
        return _facts(self)

    def surroundings(self) -> dict[str, Any]:
        """Its facts and checks, as a campaign keeps them; raises as :meth:`facts`."""
        found = self._ask("surroundings")
        return {
            "facts": {
                _printable(name): _printable(str(value))
                for name, value in found.fields("facts").values.items()
            },
            "checks": [dataclasses.asdict(check) for check in _checks(found)],
        }

    def look(self) -> tuple[Check, ...]:
        """Judge what happens there now; raises as :meth:`facts`."""
        return _checks(self._ask("look"))

    def _ask(self, what: str) -> Fields:
        deadline = time.monotonic() + ANSWER_S
        with (
            tempfile.TemporaryFile() as said,
            self._greeted(deadline, said, what, self.target) as child,
        ):
            try:
                line = child.read_line(deadline - time.monotonic(), _MOST_BYTES)
                values = json.loads(line)
            except TimeoutError:
                raise self._silent() from None
            except (EOFError, OSError):
                raise self.lost(child, said) from None
            except (ValueError, RecursionError):
                values = None
        if not isinstance(values, dict):
            raise RuntimeFailedError(f"{self.name} gave no usable answer")
        answer = Fields(f"the answer of {self.name}", values, RuntimeFailedError)
        if "problem" in values:
            raise DeviceError(
                f"{self.name}: {_printable(answer.text('problem'))}",
                hint=_printable(answer.text("hint")) or None,
            )
        return answer

    # Measuring processes -------------------------------------------------------------------------

    def start(self, stderr: IO[bytes], timeout_s: float) -> Child:
        """Start a measuring process there; raises as :meth:`facts`."""
        deadline = time.monotonic() + min(timeout_s, ANSWER_S)
        return self._greeted(deadline, stderr, "measure", self.target)

    def _greeted(self, deadline: float, stderr: IO[bytes], *words: str) -> Child:
        """A command there that has said which latprof it is, and that it is this one."""
        try:
            child = Child("latprof.common.children.become", *self.command(*words), stderr=stderr)
        except OSError as error:
            raise DeviceError(f"ssh cannot start: {error.strerror}") from None
        try:
            self._check_version(self._greeting(child, deadline, stderr))
        except BaseException:
            child.kill()
            raise
        return child

    def _greeting(self, child: Child, deadline: float, stderr: IO[bytes]) -> str:
        """The version that a command says first, after whatever the user's shell prints there."""
        try:
            for _ in range(_MOST_LINES):
                line = child.read_line(deadline - time.monotonic(), _MOST_BYTES)
                try:
                    values = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(values, dict) and isinstance(values.get("latprof"), str):
                    return str(values["latprof"])
        except TimeoutError:
            raise self._silent() from None
        except ValueError:  # a line without an end
            pass
        except (EOFError, OSError):
            raise self.lost(child, stderr, starting=True) from None
        raise RuntimeFailedError(f"{self.name} gave no usable answer")

    def _check_version(self, found: str) -> None:
        install = f"'latprof[collect]=={__version__}'"
        if not found:
            raise DeviceError(
                f"{self.name} has no Python with latprof",
                hint=f"there: python3 -m venv ~/.latprof && ~/.latprof/bin/pip install {install}; "
                f"or name another Python in {PYTHON}",
            )
        if found != __version__:
            raise DeviceError(
                f"{self.name} has latprof {_printable(found)[:60]}, here is {__version__}",
                hint=f"there: ~/.latprof/bin/pip install {install}",
            )

    # What goes wrong -----------------------------------------------------------------------------

    def _silent(self) -> DeviceOfflineError:
        return DeviceOfflineError(
            f"{self.name} does not answer", hint=f"see whether `ssh {self._words} true` does"
        )

    @property
    def _words(self) -> str:
        """The address as ssh's own words."""
        host, colon, port = self.address.rpartition(":")
        return f"-p {port} {host}" if colon and port.isdecimal() and host else self.address

    def lost(self, child: Child, stderr: IO[bytes], *, starting: bool = False) -> DeviceError:
        """The error of a command that has ended before it had answered, in ssh's own words."""
        how = child.wait(5.0) or "closed its output"
        stderr.seek(0, os.SEEK_END)
        stderr.seek(max(0, stderr.tell() - (1 << 16)))
        lines = stderr.read().decode(errors="replace").strip().splitlines()
        said = next((line for line in reversed(lines) if line.strip()), how)
        said = _printable(said)[:300]
        text = "\n".join(lines)
        if "Permission denied (" in text:
            return DeviceUnauthorizedError(
                f"{self.name} lets nobody in without being asked: {said}",
                hint=f"give it your key: ssh-copy-id {self._words}; a key with a passphrase has to "
                "be in ssh-agent",
            )
        if "Host key verification failed" in text or "REMOTE HOST IDENTIFICATION" in text:
            return DeviceUnauthorizedError(
                f"the host key of {self.name} is not known, or another than before",
                hint=f"check it and confirm it once by hand: ssh {self._words}",
            )
        if starting:
            return DeviceOfflineError(
                f"{self.name} cannot be reached: {said}",
                hint=f"see whether `ssh {self._words} true` works",
            )
        if how == "ended with status 255":  # ssh's own; the rest are the command's
            return ConnectionLostError(f"the connection to {self.name} broke: {said}")
        return RuntimeFailedError(f"latprof on {self.name} {how}: {said}")


@dataclass(frozen=True)
class HostFacts:
    """What a computer behind ``ssh`` is.

    ``cores`` are the numbers of those that a process may use there; ``checks`` and what stands
    beside measurements are asked by themselves (:meth:`SshHost.surroundings`).
    """

    processor: str
    runtime_version: str
    cores: tuple[int, ...]


def ssh_program() -> str | None:
    """The user's ``ssh``; None where there is none."""
    return shutil.which("ssh")


@functools.cache
def _facts(host: SshHost) -> HostFacts:
    found = host._ask("facts")  # noqa: SLF001 - it is kept for the host's own method
    return HostFacts(
        _printable(found.text("processor", 500)),
        _printable(found.text("runtime_version", 100)),
        _cores(found.values),
    )


def _cores(values: Mapping[str, Any]) -> tuple[int, ...]:
    found = values.get("cores")
    if not isinstance(found, list) or not all(type(core) is int for core in found[:4096]):
        raise RuntimeFailedError("the computer says nothing usable of its cores")
    return tuple(found[:4096])


def _checks(answer: Fields) -> tuple[Check, ...]:
    found = []
    for each in answer.objects("checks", 1000):
        status = each.text("status")
        if status not in get_args(Status):
            each.wrong("status", " or ".join(get_args(Status)))
        name, finding, remedy = (
            _printable(each.text(field)) for field in ("name", "finding", "remedy")
        )
        found.append(Check(name, cast("Status", status), finding, remedy))
    return tuple(found)


def _printable(text: str) -> str:
    """Text of another computer without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
