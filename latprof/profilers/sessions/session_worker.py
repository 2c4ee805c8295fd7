"""A process with one session of a model: loads it, says what that cost, runs it when told.

Started by :class:`latprof.profilers.sessions.session_process.SessionProcess`. It reads one line of
JSON a request from stdin and answers one line each; what a runtime prints goes to stderr.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from latprof.errors import LatprofError
from latprof.measurement.visits import Failure
from latprof.profilers.base import RunOptions
from latprof.profilers.host.memory import ProcessMemory
from latprof.profilers.host.priority import take_precedence
from latprof.profilers.targets import profiler_class
from latprof.profilers.visits.network_source import NetworkSource

if TYPE_CHECKING:
    from latprof.measurement.protocol import LoadedModel
    from latprof.profilers.base import Profiler


def main() -> None:
    """Load the model that the first line names, and run it as the others say."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        configuration = json.loads(sys.stdin.buffer.readline())
        content = sys.stdin.buffer.read(configuration["network"]["bytes"])
        if profiler_class(configuration["target"]).runs_on_host:
            take_precedence()  # as the measuring processes do, whose numbers stand beside these
        model, figures = loaded(configuration, content)
        _answer(answers, figures)
        gc.collect()
        gc.freeze()
        gc.disable()
        for line in sys.stdin.buffer:
            request = json.loads(line)
            _answer(answers, {"runs_ms": run_between(model, request["start_s"], request["end_s"])})
    except LatprofError as error:
        _answer(answers, {"failure": Failure.of(error).to_dict()})


def loaded(configuration: dict[str, Any], given: bytes = b"") -> tuple[LoadedModel, dict[str, Any]]:
    """Load the model; return it and what that cost."""
    options = RunOptions.from_dict(configuration["options"])
    profiler = profiler_class(configuration["target"])(options)
    if options.cores and profiler.runs_here and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, options.cores)
    network = NetworkSource.from_dict(configuration["network"], given)
    content = network.model(options.batch_size)
    _load_runtime(profiler)
    memory = ProcessMemory()
    profiler.input_rules = network.rules
    start = time.perf_counter()
    model = profiler.load(content)
    load_s = time.perf_counter() - start
    (first_ms,) = model.run(1)
    model.run(1)
    figures = {"load_s": load_s, "first_inference_ms": float(first_ms)}
    return model, figures | (memory.peaks(model) if profiler.runs_here else {})


def _load_runtime(profiler: Profiler) -> None:
    """Load and run a model of one addition: the runtime's own libraries are no part of a model."""
    from onnx import TensorProto, helper

    shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [shape], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with contextlib.suppress(LatprofError):  # what the runtime lacks, the model's own load says
        profiler.load(model.SerializeToString()).run(1)


def run_between(model: LoadedModel, start_s: float, end_s: float) -> list[float]:
    """Run again and again between two moments of the monotonic clock; durations in ms.

    Only runs that ended in time are returned.
    """
    while (now := time.monotonic()) < start_s:
        time.sleep(min(start_s - now, 0.01))
    durations: list[float] = []
    while True:
        durations += model.run(1)
        if time.monotonic() > end_s:
            return durations[:-1]


def _answer(answers: TextIO, values: dict[str, Any]) -> None:
    answers.write(json.dumps(values, separators=(",", ":")) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
