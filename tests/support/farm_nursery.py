"""Processes of a farm that start at once: forked from one that has imported what they import.

As a program it reads lines of JSON, ``{"words": [...], "log": PATH}`` to start a process and
``{"ended": PID}`` to ask for the status of one, and answers each with a line.
"""

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Self

import farm_processes

from latprof.errors import LatprofError

#: What a worker's words begin with; all others are of the command line.
WORKER = "worker"
#: What scheduler, workers and collections import when they start.
_IMPORTED = (
    *("distributed", "cryptography", "pandas", "scipy.stats", "psycopg", "latprof.cli.app"),
    *("latprof.workflows.collect_farm", "latprof.farm.starting", "latprof.farm.joining"),
    *("latprof.farm.farm_client", "latprof.farm.remote_visits", "latprof.farm.shared_store"),
    *("latprof.profilers.campaign.collection", "latprof.measurement.summary"),
    *("latprof.measurement.labels", "latprof.testing.fakes"),
)


class Grown:
    """A process of a nursery; ``lines`` is what it has printed."""

    def __init__(self, nursery: "Nursery", pid: int, log: Path) -> None:
        self._nursery, self.pid, self._log = nursery, pid, log
        self._status: int | None = None

    def poll(self) -> int | None:
        """Its exit status, once it has ended."""
        if self._status is None:
            self._status = self._nursery.ask(ended=self.pid)
        return self._status

    def kill(self) -> None:
        """Kill it, and wait until it has ended."""
        while self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)

    @property
    def lines(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines()


class Nursery:
    """Starts processes of a farm that has a folder; a context manager that ends them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock, self._count = folder, threading.Lock(), 0

    def start(self, words: list[str]) -> Grown:
        """A process; ``words`` are the command line's, or :data:`WORKER` and a worker's."""
        self._count += 1
        log = self._folder / f"log-{self._count}"
        log.write_text("")
        return Grown(self, self.ask(words=words, log=str(log)), log)

    def ask(self, **asked: object) -> Any:
        """Ask something of the process that all come from."""
        with self._lock:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=farm_processes.environment(self._folder),
            cwd=farm_processes.ROOT,
        )
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def main() -> None:
    """Start what is asked for; at the end of the questions kill all that live."""
    from latprof.farm.addresses import use_settings

    use_settings()
    for name in _IMPORTED:
        __import__(name)
    gc.collect()
    gc.freeze()
    alive = set()
    for line in sys.stdin:
        asked = json.loads(line)
        if "words" in asked:
            answer = os.fork()
            if not answer:
                _run(asked["words"], asked["log"])
                return
            alive.add(answer)
        else:
            ended, status = os.waitpid(asked["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else None
            alive.discard(ended)
        print(json.dumps(answer), flush=True)
    for pid in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _run(words: list[str], log: str) -> None:
    """Become the process that was asked for."""
    from distributed import Future

    Future._uid = uuid.uuid4().hex  # noqa: SLF001 - dask tells processes apart by it
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), number)
    if words[0] == WORKER:
        try:
            farm_processes.main(*words[1:])
        except LatprofError as error:  # as the command line
            sys.exit(str(error))
        return
    from latprof.cli.main import main as run

    sys.argv = ["latprof", *words]
    vars(sys.modules["__main__"])["main"] = run  # as of a program
    run()


if __name__ == "__main__":
    main()
