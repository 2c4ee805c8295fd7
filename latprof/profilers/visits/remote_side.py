"""What runs on a computer that is reached through ``ssh``: answers to what is asked from afar.

``facts TARGET``, ``look TARGET`` and ``surroundings TARGET`` print one line of JSON. ``measure`` is
a measuring process as on the other side of the connection: requests and answers are handed through,
the files that requests bring are put into a folder, and everything ends with the connection.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, BinaryIO

from latprof.common.checked_json import MOST_JSON_BYTES
from latprof.common.children.child import Child
from latprof.profilers.base import WORKER_MODULE
from latprof.profilers.visits.sending import place

#: Waited for at once: the other side has its own deadline, and its end is seen.
_FOREVER_S = 10.0**6
#: Longest wait for the end of a process that has closed its output, in seconds.
_DEATH_S = 5.0
_FILE_NAME = re.compile(r"[0-9a-f]{64}\.(?:onnx|tflite|npy)")


def main() -> None:
    """Answer what the arguments ask."""
    what, *target = sys.argv[1:]
    if what == "measure":
        _measure()
        return
    answers = {"facts": _facts, "look": _look, "surroundings": _surroundings}
    answer = answers[what](*target)
    print(json.dumps(answer), flush=True)  # noqa: T201 - the answer


def _facts(target: str) -> dict[str, Any]:
    from latprof.errors import LatprofError
    from latprof.profilers.base import RunOptions
    from latprof.profilers.host.facts import Host
    from latprof.profilers.targets import profiler_class

    try:
        profiler = profiler_class(target)
        found = profiler.availability()
        if found.state != "ready":
            return {"problem": found.detail, "hint": f"there: {found.remedy}"}
        identity = profiler(RunOptions()).target(None)
    except LatprofError as error:
        return {"problem": str(error), "hint": ""}
    return {
        "processor": identity.device_name,
        "runtime_version": identity.runtime_version,
        "cores": sorted(Host().allowed_cores),
    }


def _look(_target: str) -> dict[str, Any]:
    from latprof.profilers.host.host_report import look

    return {"checks": [vars(check) for check in look()]}


def _surroundings(_target: str) -> dict[str, Any]:
    from latprof.profilers.host.checks import run_checks
    from latprof.profilers.host.facts import host_facts

    return {"facts": host_facts(), "checks": [vars(check) for check in run_checks()]}


def _measure() -> None:
    """Hand requests and answers through until the connection ends."""
    folder = tempfile.mkdtemp(prefix="latprof-ssh-")
    try:
        with Child(WORKER_MODULE, stderr=sys.stderr.buffer) as worker:
            ended = threading.Event()
            threading.Thread(target=_watch, args=(worker, folder, ended), daemon=True).start()
            try:
                _hand_through(worker, Path(folder))
            except (EOFError, OSError):  # the connection's end is seen elsewhere
                how = worker.wait(_DEATH_S) or "closed its output"
                sys.exit(f"the measuring process {how}")
            finally:
                ended.set()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _watch(worker: Child, folder: str, ended: threading.Event) -> None:
    """End everything at once when nobody can ask any more, in the middle of a visit too."""
    poll = select.poll()
    poll.register(0, select.POLLHUP | getattr(select, "POLLRDHUP", 0))
    poll.poll()
    if ended.wait(1.0):  # it was the orderly end
        return
    worker.begin_to_kill()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _hand_through(worker: Child, folder: Path) -> None:
    """The configuration first, to which it answers when it is ready; then a request at a time."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while line := requests.readline(MOST_JSON_BYTES):
        request = json.loads(line)
        network = request.get("network")
        content = b""
        if network is not None:
            _take_files(network, requests, folder)
            content = _taken(requests, network["bytes"])
        worker.write(json.dumps(request).encode() + b"\n" + content, _FOREVER_S)
        waiting = True
        while waiting:
            answer = worker.read_line(_FOREVER_S, MOST_JSON_BYTES)
            answers.write(answer + b"\n")
            answers.flush()
            waiting = b'"waiting"' in answer[:20]


def _take_files(network: dict[str, Any], source: BinaryIO, folder: Path) -> None:
    """Put the files that a request brings into the folder, and name them by their paths there."""
    for name, size in network.pop("files", ()):
        if not _FILE_NAME.fullmatch(name):
            raise OSError(f"{name[:100]!r} is no name of a file here")
        with (folder / name).open("wb") as file:
            left = size
            while left:
                piece = _taken(source, min(left, 1 << 20))
                file.write(piece)
                left -= len(piece)
    place(network, folder)


def _taken(source: BinaryIO, size: int) -> bytes:
    content = source.read(size)
    if len(content) < size:
        raise EOFError
    return content


if __name__ == "__main__":
    main()
