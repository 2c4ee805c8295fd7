"""Times of single operators in torch, mapped back to the operators of the ONNX graph.

On the processor a module runs node by node with a clock around each. On a GPU, torch's profiler
tells how long each of the device's kernels ran; a range around every node tells whose it was, and a
captured graph, which has no ranges any more, is recognised by the order of its kernels.

Needs torch; loaded only for a profile.
"""

# mypy: disable-error-code="misc"

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from latprof.errors import RuntimeFailedError
from latprof.graph.convert.to_torch import OPERATOR_KEY
from latprof.graph.reader import read_network
from latprof.measurement.records import KernelTime

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource

#: How the ranges around operators are named in torch's trace; the node's number follows.
RANGE = "latprof operator "
_CUDA_CALL = re.compile(r"cu(da)?[A-Z]")
#: One run: milliseconds by operator.
RunTimes = Mapping[str, float]


class ClockedInterpreter(torch.fx.Interpreter):
    """Runs a module of :mod:`latprof.graph.convert.to_torch`, a clock around each operator.

    Only the call itself is timed, not the interpreter's work between calls. ``runs`` collects one
    entry a run.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__(module)
        self.runs: list[RunTimes] = []
        self._spent: dict[str, float] = {}
        self._operator = ""

    def run(self, *arguments: Any) -> Any:
        """Run the module; its operators' times become the last entry of ``runs``."""
        self._spent = defaultdict(float)
        result = super().run(*arguments)
        self.runs.append(self._spent)
        return result

    def run_node(self, n: torch.fx.Node) -> Any:
        """Run one node, remembering whose it is."""
        self._operator = n.meta.get(OPERATOR_KEY, "")
        return super().run_node(n)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an operator's function."""
        start = time.perf_counter_ns()
        result = target(*args, **kwargs)
        self._spent[self._operator] += (time.perf_counter_ns() - start) / 1e6
        return result


class RangedInterpreter(torch.fx.Interpreter):
    """Runs a module with a range of torch's profiler around each operator."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__(module)
        self.operators: list[str] = [n.meta.get(OPERATOR_KEY, "") for n in module.graph.nodes]
        self._numbers = {node: number for number, node in enumerate(module.graph.nodes)}

    def run_node(self, n: torch.fx.Node) -> Any:
        """Run one node inside its range."""
        if OPERATOR_KEY not in n.meta:
            return super().run_node(n)
        with torch.profiler.record_function(f"{RANGE}{self._numbers[n]}"):
            return super().run_node(n)


@dataclass(frozen=True)
class DeviceKernel:
    """One kernel that a device ran: the operator it was started for, ``""`` for none."""

    name: str
    operator: str
    latency_ms: float


def kernels_by_launch(events: Sequence[Any], operators: Sequence[str]) -> list[DeviceKernel]:
    """The kernels that torch's profiler saw start inside and outside of ranges, in that order.

    Parameters
    ----------
    events : sequence of torch.autograd.profiler_util.FunctionEvent
        What ``torch.profiler.profile.events()`` gives.
    operators : sequence of str
        The operator of each node of the graph, by the node's number.
    """
    roots = [e for e in events if _on_host(e) and e.cpu_parent is None]
    return [
        kernel for event in sorted(roots, key=_start) for kernel in _launched(event, "", operators)
    ]


def _launched(event: Any, operator: str, operators: Sequence[str]) -> Iterator[DeviceKernel]:
    if event.name.startswith(RANGE):
        operator = operators[int(event.name.removeprefix(RANGE))]
    # Calls of CUDA's own interface have numbers of another kind, under which torch may file kernels
    # that are an operator's.
    for kernel in () if _CUDA_CALL.match(event.name) else event.kernels:
        yield DeviceKernel(kernel.name, operator, kernel.duration / 1000)
    for child in sorted(event.cpu_children, key=_start):
        yield from _launched(child, operator, operators)


def kernels_by_time(events: Sequence[Any]) -> list[tuple[str, float]]:
    """Name and milliseconds of every kernel the device ran, in the order they ran."""
    ran = [e for e in events if not _on_host(e) and not e.name.startswith(RANGE)]
    return [(event.name, event.time_range.elapsed_us() / 1000) for event in sorted(ran, key=_start)]


def _on_host(event: Any) -> bool:
    return bool(event.device_type == torch.autograd.DeviceType.CPU)


def _start(event: Any) -> float:
    return float(event.time_range.start)


def split_runs(kernels: Sequence[DeviceKernel], runs: int) -> list[RunTimes]:
    """Operators' times by run, from the kernels of so many equal runs one after another.

    Raises RuntimeFailedError where the runs are not equal.
    """
    length, rest = divmod(len(kernels), runs)
    parts = [
        kernels[start : start + length] for start in range(0, len(kernels) - rest, length or 1)
    ]
    signatures = {tuple((kernel.name, kernel.operator) for kernel in part) for part in parts}
    if rest or len(signatures) != 1:
        raise RuntimeFailedError("torch's profile does not hold the same kernels for every run")
    return [_summed(part) for part in parts]


def label_replays(
    replayed: Sequence[tuple[str, float]], launched: Sequence[DeviceKernel]
) -> list[DeviceKernel]:
    """The kernels of replays of a captured graph, with the operators of one run without it.

    A graph starts the same kernels in the same order, so each is known by its place. Raises
    RuntimeFailedError where names or number differ.
    """
    names = [kernel.name for kernel in launched]
    times, rest = divmod(len(replayed), len(names) or 1)
    if not names or rest or [name for name, _ in replayed] != names * times:
        raise RuntimeFailedError(
            "the captured graph runs other kernels than the network outside of it",
            hint="profile the kernels without the mode graph",
        )
    return [
        DeviceKernel(name, launched[position % len(names)].operator, latency_ms)
        for position, (name, latency_ms) in enumerate(replayed)
    ]


def _summed(kernels: Sequence[DeviceKernel]) -> RunTimes:
    times: dict[str, float] = defaultdict(float)
    for kernel in kernels:
        if kernel.operator:
            times[kernel.operator] += kernel.latency_ms
    return times


def operator_kernels(
    model: ModelSource, runs: Sequence[RunTimes], counted: Collection[int]
) -> list[KernelTime]:
    """One entry an operator, in the graph's order: its median over the counted runs.

    Several kernels of one operator count as one; operators that start none are left out. Raises
    RuntimeFailedError where a counted run is missing.
    """
    if not counted or max(counted) >= len(runs):
        raise RuntimeFailedError("torch's profile does not hold every run")
    chosen = [runs[number] for number in counted]
    described = {operator.name: operator for operator in read_network(model).operators}
    seen = set().union(*chosen)
    # Operators that the reader left out as constant work start no kernels either.
    return [
        KernelTime(
            position=position,
            kind=described[name].kind,
            name=name,
            operators=(name,),
            latency_ms=float(np.median([run.get(name, 0.0) for run in chosen])),
            input_shapes=described[name].input_shapes,
            output_shapes=described[name].output_shapes,
        )
        for position, name in enumerate(name for name in described if name in seen)
    ]
