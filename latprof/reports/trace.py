"""Chrome traces: one run of a network, kernel after kernel, for Perfetto or chrome://tracing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from latprof.common.files import write_atomically

if TYPE_CHECKING:
    import os

    from latprof.profilers.profiling import Profile


def chrome_trace(profile: Profile) -> dict[str, Any]:
    """Return a profile as a trace in the JSON object format; times in microseconds.

    Kernels stand one after the other with their median durations. What the run took beyond them is
    an event of its own at the end, so that the whole is the end-to-end latency.
    """
    events: list[dict[str, Any]] = [
        _named("process_name", 0, profile.target.describe()),
        _named("thread_name", 0, profile.name),
    ]
    start_us = 0.0
    for kernel in profile.kernels:
        duration_us = kernel.latency_ms * 1e3
        events.append(
            {
                "name": kernel.name,
                "cat": kernel.kind,
                "ph": "X",
                "pid": 0,
                "tid": 0,
                "ts": round(start_us, 3),
                "dur": round(duration_us, 3),
                "args": {
                    "kind": kernel.kind,
                    "operators": list(kernel.operators),
                    "input_shapes": [list(shape) for shape in kernel.input_shapes],
                    "output_shapes": [list(shape) for shape in kernel.output_shapes],
                },
            }
        )
        start_us += duration_us
    if profile.gap_ms > 0:
        gap_us = round(profile.gap_ms * 1e3, 3)
        outside = {"name": "outside kernels", "cat": "gap", "ph": "X", "pid": 0, "tid": 0}
        events.append({**outside, "ts": round(start_us, 3), "dur": gap_us})
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            "network": profile.name,
            "target": profile.target.describe(),
            "latency_ms": profile.latency_ms,
        },
    }


def _named(what: str, thread: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": 0, "tid": thread, "args": {"name": name}}


def write_trace(profile: Profile, path: str | os.PathLike[str]) -> None:
    """Write :func:`chrome_trace` as a file, all or nothing."""
    write_atomically(path, json.dumps(chrome_trace(profile)).encode())
