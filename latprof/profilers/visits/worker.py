"""The measuring process: a measurer that is told what to do by lines of JSON.

Started by :class:`latprof.profilers.visits.measuring_process.ProcessMeasurer` as ``python -m
latprof.profilers.visits.worker``. It reads one request a line from stdin and answers one line each
on what was its stdout, after any number of lines that say what it waits for; anything that a
runtime prints goes to stderr. It ends when stdin does, so it never outlives the process that
started it by more than one visit. The content of a model follows its request where ``bytes`` of its
network says how long it is: no code of a search space of the user's runs here.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from latprof.errors import LatprofError
from latprof.measurement.records import PairedProtocol
from latprof.measurement.visits import Failure
from latprof.profilers.base import RunOptions
from latprof.profilers.host.priority import take_precedence
from latprof.profilers.targets import profiler_class
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource


def main() -> None:
    """Serve requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # The campaign decides what an interruption means; it is sent to the whole terminal group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        configuration = json.loads(sys.stdin.buffer.readline())
        if profiler_class(configuration["target"]).runs_on_host:
            take_precedence()  # before a runtime starts threads
        measurer = make_measurer(configuration, lambda text: _answer(answers, {"waiting": text}))
    except LatprofError as error:
        _answer(answers, {"failure": Failure.of(error).to_dict()})
        return
    # What the libraries made is here to stay: the garbage collector need not look at it again.
    gc.collect()
    gc.freeze()
    _answer(answers, {"ready": True})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        content = sys.stdin.buffer.read(request["network"]["bytes"])
        _answer(answers, serve(measurer, request, content))


def make_measurer(
    configuration: dict[str, Any], report: Callable[[str], None] = lambda _waiting: None
) -> InProcessMeasurer:
    """Make the measurer that the first line describes, after pinning the process where asked."""
    options = RunOptions.from_dict(configuration["options"])
    profiler = profiler_class(configuration["target"])
    if profiler.runs_here and options.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, options.cores)
    return InProcessMeasurer(
        profiler(options),
        NetworkSource.from_dict(configuration["reference"]),
        PairedProtocol.from_dict(configuration["protocol"]),
        # A number of a process is given again, after a restart of the host for example.
        process=f"{configuration['host']}/{int(time.time())}/{os.getpid()}",
        reference_runs=configuration["reference_runs"],
        report=report,
    )


def serve(
    measurer: InProcessMeasurer, request: dict[str, Any], content: bytes = b""
) -> dict[str, Any]:
    """Answer one request with plain JSON values; a failed visit is a visit."""
    network = NetworkSource.from_dict(request["network"], content)
    if request["do"] == "kernels":
        found = measurer.profile(network)
        return {"failure" if isinstance(found, Failure) else "profile": found.to_dict()}
    if request["do"] == "prepare":
        measurer.prepare(network)
        return {"prepared": True}
    measurer.expect([NetworkSource.from_dict(each) for each in request.get("following", ())])
    return {"visit": measurer.visit(network).to_dict()}


def _answer(answers: TextIO, values: dict[str, Any]) -> None:
    answers.write(json.dumps(values, separators=(",", ":")) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
