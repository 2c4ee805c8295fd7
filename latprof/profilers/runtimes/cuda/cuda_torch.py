"""``cuda:N:torch``: PyTorch on an NVIDIA GPU, eager, compiled, or as a captured graph."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from latprof.errors import DeviceError, UnsupportedModelError
from latprof.profilers.base import Availability
from latprof.profilers.runtimes.cpu.cpu_torch import compiled, placed, read_module
from latprof.profilers.runtimes.cuda.cuda_device import CudaProfiler, event_burst
from latprof.profilers.runtimes.running import first_line

if TYPE_CHECKING:
    import torch

    from latprof.graph.model_file import ModelSource
    from latprof.measurement.records import KernelTime
    from latprof.profilers.runtimes.cpu.torch_profile import DeviceKernel, RunTimes

_LEAST_FLUSHED_BYTES = 64 << 20
#: Parts of a version that say that a build has no CUDA.
_OTHER_BUILDS = ("cpu", "rocm", "xpu")


class CudaTorch(CudaProfiler):
    """Measures on an NVIDIA GPU with PyTorch.

    A duration is the time between two events on the GPU, around one run
    (:func:`latprof.profilers.runtimes.cuda.cuda_device.event_burst`). Without the mode ``graph``
    the kernels of a run are started one by one, and short ones wait for the host. ``float32``
    computes in float32 throughout; ``tf32`` lets matrix products and convolutions round their
    factors to 10 bits.
    """

    spelling = "cuda:N:torch"
    precisions = ("float32", "tf32", "float16", "bfloat16")
    modes: ClassVar = {
        "channels-last": "images and weights with the channels innermost",
        "compile": "torch.compile",
        "flush-l2": "the second-level cache is overwritten before every run",
        "graph": "kernels captured once and started together, as a CUDA graph",
    }
    runtime = "torch"
    package = "torch"

    @classmethod
    def installed(cls) -> tuple[str, Availability | None]:
        try:
            version = importlib.metadata.version("torch")
        except importlib.metadata.PackageNotFoundError:
            missing = Availability(
                "missing", "PyTorch is not installed", "pip install 'latprof[cuda]'"
            )
            return "", missing
        if version.partition("+")[2].startswith(_OTHER_BUILDS):
            detail = f"PyTorch {version} is a build without CUDA"
            return "", Availability("missing", detail, "pip install torch, the build for CUDA")
        return f"PyTorch {version}", None

    @property
    def prepares_ahead(self) -> bool:
        return "graph" in self.options.mode

    def load(self, model: ModelSource) -> CudaTorchModel:
        return self.prepare(model)()

    def prepare(self, model: ModelSource) -> Callable[[], CudaTorchModel]:
        return partial(self._load, *read_module(model, self.input_seed, self.input_rules))

    def _load(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> CudaTorchModel:
        run = self._runnable(*self._placed(module, inputs))
        loaded = CudaTorchModel(run, self._between())
        self._warm_up(loaded.run)
        return loaded

    def load_profiled(self, model: ModelSource) -> ProfiledCudaTorchModel:
        if "compile" in self.options.mode:
            raise DeviceError(
                "torch.compile fuses operators and does not say which kernel is whose",
                hint="time the kernels without the mode compile",
            )
        from latprof.profilers.runtimes.cpu.torch_profile import RangedInterpreter

        module, inputs = self._placed(*read_module(model, self.input_seed, self.input_rules))
        self._warm_up(CudaTorchModel(_bound(module, inputs)).run)
        ranged = RangedInterpreter(module)
        eager = CudaTorchModel(_bound(ranged.run, inputs), self._between())
        if "graph" not in self.options.mode:
            return ProfiledCudaTorchModel(eager, ranged.operators, model)
        graph = CudaTorchModel(captured(module, inputs), self._between())
        return ProfiledCudaTorchModel(graph, ranged.operators, model, eager)

    def _placed(
        self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]
    ) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
        device = self.use_device()
        import torch

        torch.set_num_threads(self.options.threads)
        rounded = self.options.precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = rounded
        torch.backends.cudnn.allow_tf32 = rounded
        name = "float32" if rounded else self.options.precision
        return placed(
            module,
            inputs,
            device,
            getattr(torch, name),
            channels_last="channels-last" in self.options.mode,
        )

    def _runnable(
        self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]
    ) -> Callable[[], object]:
        run: Callable[..., Any] = module
        if "compile" in self.options.mode:
            run = compiled(module, inputs)
        return captured(run, inputs) if "graph" in self.options.mode else _bound(run, inputs)

    def _between(self) -> Callable[[], object] | None:
        """Work before every run, not timed: what overwrites the second-level cache."""
        if "flush-l2" not in self.options.mode:
            return None
        import torch

        properties = torch.cuda.get_device_properties(self._number())
        size = max(2 * getattr(properties, "L2_cache_size", 0), _LEAST_FLUSHED_BYTES)
        buffer = torch.empty(size, dtype=torch.int8, device="cuda")
        flush: Callable[[], object] = buffer.zero_
        return flush


class CudaTorchModel:
    """Something that starts one run of a network on the current GPU."""

    def __init__(
        self, start: Callable[[], object], between: Callable[[], object] | None = None
    ) -> None:
        self.start, self._between = start, between

    def run(self, times: int) -> list[float]:
        """Run in inference mode, timed by the GPU."""
        import torch

        with torch.inference_mode():
            return event_burst(
                self.start,
                times,
                lambda: torch.cuda.Event(enable_timing=True),
                torch.cuda.synchronize,
                self._between,
            )


class ProfiledCudaTorchModel:
    """A network whose every burst runs under torch's profiler.

    ``eager`` is the same network with ranges around its operators, for a captured graph that has
    none: it runs once, to learn whose the graph's kernels are.
    """

    def __init__(
        self,
        timed: CudaTorchModel,
        operators: Sequence[str],
        model: ModelSource,
        eager: CudaTorchModel | None = None,
    ) -> None:
        self._timed, self._operators, self._model = timed, operators, model
        self._runs: list[RunTimes] = []
        self._launched: list[DeviceKernel] | None = None
        if eager is not None:
            from latprof.profilers.runtimes.cpu.torch_profile import kernels_by_launch

            _, events = profiled_burst(eager, 1)
            self._launched = kernels_by_launch(events, operators)

    def run(self, times: int) -> list[float]:
        """Run a burst under the profiler, which begins and ends outside of its timed part."""
        from latprof.profilers.runtimes.cpu.torch_profile import (
            kernels_by_launch,
            kernels_by_time,
            label_replays,
            split_runs,
        )

        durations, events = profiled_burst(self._timed, times)
        if self._launched is None:
            kernels = kernels_by_launch(events, self._operators)
        else:
            kernels = label_replays(kernels_by_time(events), self._launched)
        self._runs += split_runs(kernels, times)
        return durations

    def kernel_times(self, counted: Collection[int]) -> Sequence[KernelTime]:
        """The operators' times on the GPU."""
        from latprof.profilers.runtimes.cpu.torch_profile import operator_kernels

        return operator_kernels(self._model, self._runs, counted)


def captured(run: Callable[..., Any], inputs: tuple[torch.Tensor, ...]) -> Callable[[], object]:
    """A CUDA graph of one run, ready to be replayed; UnsupportedModelError where it has none.

    A run on a stream of its own comes first, in which libraries choose their kernels.
    """
    import torch

    graph = torch.cuda.CUDAGraph()
    try:
        with torch.inference_mode():
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                run(*inputs)
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(graph):
                output = run(*inputs)
    except Exception as error:  # noqa: BLE001 - CUDA's exceptions have no common base
        raise UnsupportedModelError(
            f"torch cannot capture the model as a CUDA graph: {first_line(error)}",
            hint="leave out the mode graph",
        ) from None

    def replay(_kept: object = (run, inputs, output)) -> None:
        graph.replay()  # reads and writes what is kept alive here

    return replay


def _bound(run: Callable[..., Any], inputs: tuple[torch.Tensor, ...]) -> Callable[[], object]:
    return lambda: run(*inputs)


def profiled_burst(model: CudaTorchModel, times: int) -> tuple[list[float], Sequence[Any]]:
    """A burst's durations, and what torch's profiler saw."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        durations = model.run(times)
    events: Sequence[Any] = profiler.events()
    return durations, events
