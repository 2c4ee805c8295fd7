"""Events of ONNX Runtime's profile, put together run by run: what each kernel took itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from latprof.errors import RuntimeFailedError

_SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class KernelKey:
    """Which kernel of a session an event is of.

    Numbers of nodes are those of one graph: ``inside`` is the operator whose subgraph it is, or
    None for the model's own graph.
    """

    inside: KernelKey | None
    index: int
    name: str


@dataclass(frozen=True)
class Timed:
    """A kernel in one run: what it took itself, without the kernels of its subgraphs.

    A kernel that ran several times, in a loop, has the sum of them.
    """

    start_us: float
    duration_us: float
    details: Mapping[str, Any]


@dataclass
class _Event:
    key: KernelKey
    start_us: float
    whole_us: float
    inner: list[_Event]
    details: Mapping[str, Any]


def runs_of(events: Sequence[Mapping[str, Any]]) -> list[dict[KernelKey, Timed]]:
    """The kernels of each whole run, in the order of the runs.

    An operator with subgraphs is an event around those of its kernels, and would count them twice;
    what is left of it is its own. The profile has room for so many events: a run that it does not
    hold to its end is left out.

    Parameters
    ----------
    events : sequence of mapping
        The profile's JSON: events with ``cat``, ``name``, ``ts`` and ``dur`` (microseconds) and
        ``args``, in the order in which they ended.

    Raises
    ------
    RuntimeFailedError
        When whole runs differ in the kernels of the model's own graph.
    """
    runs: list[dict[KernelKey, Timed]] = []
    ended: list[_Event] = []
    for event in events:
        category, name = event.get("cat"), str(event.get("name", ""))
        if category == "Node" and name.endswith(_SUFFIX):
            start, args = float(event["ts"]), event["args"]
            key = KernelKey(None, int(args["node_index"]), name.removesuffix(_SUFFIX))
            inner = []
            while ended and ended[-1].start_us > start:  # it ended earlier and began later
                inner.append(ended.pop())
            ended.append(_Event(key, start, float(event["dur"]), inner, args))
        elif category == "Session" and name == "model_run":
            runs.append(_summed(ended))
            ended = []
    own = {frozenset(key for key in run if key.inside is None) for run in runs}
    if len(own) > 1:
        raise RuntimeFailedError("ONNX Runtime's profile does not hold every run of every kernel")
    return runs


def _summed(ended: Sequence[_Event]) -> dict[KernelKey, Timed]:
    """What each kernel of one run took itself."""
    found: dict[KernelKey, Timed] = {}

    def add(event: _Event, inside: KernelKey | None) -> None:
        key = replace(event.key, inside=inside)
        own_us = max(event.whole_us - sum(inner.whole_us for inner in event.inner), 0.0)
        before = found.get(key)
        start_us = event.start_us if before is None else min(before.start_us, event.start_us)
        total_us = own_us + (0.0 if before is None else before.duration_us)
        found[key] = Timed(start_us, total_us, event.details)
        for inner in event.inner:
            add(inner, key)

    for event in ended:
        add(event, None)
    return found
