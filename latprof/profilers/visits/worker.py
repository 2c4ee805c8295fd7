"""The measuring process: a bench that is told what to do by lines of JSON.

Started by :class:`latprof.profilers.visits.measuring_process.RemoteBench` as ``python -m
latprof.profilers.visits.worker``. It reads one request a line from stdin and answers one line each
on what was its stdout; anything that a runtime prints goes to stderr. It ends when stdin does, so
it never outlives the process that started it by more than one visit.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import signal
import sys
import time
from typing import Any, TextIO

from latprof.errors import LatprofError
from latprof.measurement.records import Failure, PairedProtocol
from latprof.profilers.base import RunOptions
from latprof.profilers.targets import profiler_class
from latprof.profilers.visits.measurer import Bench, Visit
from latprof.profilers.visits.network_source import Network


def main() -> None:
    """Serve requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # The campaign decides what an interruption means; it is sent to the whole terminal group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        bench = make_bench(json.loads(sys.stdin.readline()))
    except LatprofError as error:
        _answer(answers, {"failure": [error.code, str(error)]})
        return
    # What the libraries made is here to stay: the garbage collector need not look at it again.
    gc.collect()
    gc.freeze()
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        _answer(answers, serve(bench, json.loads(line)))


def make_bench(configuration: dict[str, Any]) -> Bench:
    """Make the bench that the first line describes, after pinning the process where asked."""
    options = RunOptions.from_dict(configuration["options"])
    if options.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, options.cores)
    return Bench(
        profiler_class(configuration["target"])(options),
        Network.from_dict(configuration["reference"]),
        PairedProtocol(**configuration["protocol"]),
        # A number of a process is given again, after a restart of the host for example.
        process=f"{configuration['host']}/{int(time.time())}/{os.getpid()}",
        reference_runs=configuration["reference_runs"],
    )


def serve(bench: Bench, request: dict[str, Any]) -> dict[str, Any]:
    """Answer one request with plain JSON values."""
    network = Network.from_dict(request["network"])
    if request["do"] == "kernels":
        profile = bench.profile(network)
        if isinstance(profile, Failure):
            return {"failure": [profile.code, profile.message]}
        return {"profile": dataclasses.asdict(profile)}
    if request["do"] == "prepare":
        bench.prepare(network)
        return {"prepared": True}
    return visit_to_dict(bench.visit(network))


def visit_to_dict(visit: Visit) -> dict[str, Any]:
    """Return a visit as plain JSON values."""
    values = {
        "started_at": visit.started_at,
        "wall_s": visit.wall_s,
        "load_s": visit.load_s,
        "process": visit.process,
        "conditions": dict(visit.conditions),
    }
    if visit.failure is not None:
        return values | {"failure": [visit.failure.code, visit.failure.message]}
    assert visit.samples is not None
    return values | {"samples": dataclasses.asdict(visit.samples)}


def _answer(answers: TextIO, values: dict[str, Any]) -> None:
    answers.write(json.dumps(values, separators=(",", ":")) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
