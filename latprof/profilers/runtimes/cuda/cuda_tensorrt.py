"""``cuda:N:tensorrt``: engines that TensorRT builds from ONNX models."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from latprof.common.files import cache_folder, write_atomically
from latprof.errors import DeviceError, LatprofError, RuntimeFailedError, UnsupportedModelError
from latprof.graph.reader import model_bytes, read_network
from latprof.measurement.records import KernelTime
from latprof.profilers.runtimes.cuda.cuda_device import CudaProfiler, device_name, event_burst
from latprof.profilers.runtimes.model_inputs import random_inputs
from latprof.profilers.runtimes.running import first_line

if TYPE_CHECKING:
    from latprof.graph.input_values.input_rules import Rules
    from latprof.graph.model_file import ModelSource
    from latprof.graph.operators import Operator
    from latprof.profilers.base import Availability

#: What TensorRT puts between the names of the layers that it runs as one.
_JOINT = " + "
#: How the layers begin that it adds to change a layout.
_LAYOUT = "Reformatting"


class CudaTensorRT(CudaProfiler):
    """Measures on an NVIDIA GPU with TensorRT.

    A duration is the time between two events on the GPU, around one run of the engine
    (:func:`latprof.profilers.runtimes.cuda.cuda_device.event_burst`). ``float16`` allows TensorRT
    to compute with 16 bits where that is faster; inputs and outputs stay float32. Building an
    engine takes seconds to minutes and chooses kernels by timing them, so that two builds differ:
    an engine is kept in ``latprof/tensorrt`` of the user's cache folder, by the model's content,
    TensorRT's version, the GPU and the precision. Needs torch for the GPU's memory and events.
    """

    spelling = "cuda:N:tensorrt"
    precisions = ("float32", "tf32", "float16")
    modes: ClassVar = {}
    runtime = "tensorrt"
    package = "tensorrt"

    @classmethod
    def installed(cls) -> tuple[str, Availability | None]:
        version, missing = super().installed()
        if missing is None:
            from latprof.profilers.runtimes.cuda.cuda_torch import CudaTorch

            _, missing = CudaTorch.installed()
        return version, missing

    def load(self, model: ModelSource) -> TensorRTModel:
        loaded = self._loaded(model)
        self._warm_up(loaded.run)
        return loaded

    def load_profiled(self, model: ModelSource) -> ProfiledTensorRTModel:
        loaded = self._loaded(model)
        self._warm_up(loaded.run)
        return ProfiledTensorRTModel(loaded, model)

    def _loaded(self, model: ModelSource) -> TensorRTModel:
        try:
            content = model if isinstance(model, bytes) else model_bytes(model)
        except LatprofError as error:
            raise UnsupportedModelError(f"TensorRT cannot read the model: {error}") from None
        device = self.use_device()
        import tensorrt

        path = engine_path(
            content,
            importlib.metadata.version(self.package),
            device_name(self._number()),
            self.options.precision,
        )
        logger = tensorrt.Logger(tensorrt.Logger.ERROR)
        runtime = tensorrt.Runtime(logger)
        engine = None
        if path.is_file():
            engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            plan = build_engine(tensorrt, logger, content, self.options.precision)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, plan)
            engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise RuntimeFailedError("TensorRT cannot load the engine that it built")
        return TensorRTModel(tensorrt, engine, self.input_seed, device, self.input_rules)


class TensorRTModel:
    """An engine with its input and outputs in the GPU's memory, and a stream of its own."""

    def __init__(self, tensorrt: Any, engine: Any, seed: int, device: Any, rules: Rules) -> None:
        import torch

        self._engine, self.context = engine, engine.create_execution_context()
        if self.context is None:
            raise RuntimeFailedError("TensorRT finds no memory for the engine's context")
        self._stream = torch.cuda.Stream()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        shapes = {name: tuple(engine.get_tensor_shape(name)) for name in names}
        dtypes = {name: tensorrt.nptype(engine.get_tensor_dtype(name)) for name in names}
        given = [
            name for name in names if engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
        ]
        values = random_inputs({name: (shapes[name], dtypes[name]) for name in given}, seed, rules)
        values |= {n: np.zeros(shapes[n], dtypes[n]) for n in names if n not in values}
        self._places = {name: torch.from_numpy(value).to(device) for name, value in values.items()}
        for name, place in self._places.items():
            self.context.set_tensor_address(name, place.data_ptr())

    def run(self, times: int) -> list[float]:
        """Run the engine, timed by the GPU."""
        import torch

        with torch.cuda.stream(self._stream):
            return event_burst(
                self.start,
                times,
                lambda: torch.cuda.Event(enable_timing=True),
                torch.cuda.synchronize,
            )

    def start(self) -> None:
        """Start one run."""
        if not self.context.execute_async_v3(self._stream.cuda_stream):
            raise RuntimeFailedError("TensorRT refuses to run the engine")


class ProfiledTensorRTModel:
    """An engine that reports the time of each of its layers after every run."""

    def __init__(self, loaded: TensorRTModel, model: ModelSource) -> None:
        import tensorrt

        self._loaded, self._model = loaded, model
        self._runs: list[list[tuple[str, float]]] = []
        loaded.context.profiler = layer_clock(tensorrt, self._report)

    def _report(self, layer: str, latency_ms: float) -> None:
        if self._runs:
            self._runs[-1].append((layer, latency_ms))

    def run(self, times: int) -> list[float]:
        """Run one by one: with a profiler every run ends before the next begins."""
        durations = []
        for _ in range(times):
            self._runs.append([])
            durations += self._loaded.run(1)
        return durations

    def kernel_times(self, counted: Collection[int]) -> Sequence[KernelTime]:
        """The layers' times."""
        described = {operator.name: operator for operator in read_network(self._model).operators}
        return layer_kernels(self._runs, counted, described)


def engine_path(content: bytes, version: str, device: str, precision: str) -> Path:
    """Where an engine is kept: another one for any other content, version, GPU or precision."""
    model = hashlib.sha256(content).hexdigest()
    key = hashlib.sha256(f"{model}\n{version}\n{device}\n{precision}".encode()).hexdigest()
    return cache_folder("tensorrt") / f"{key}.engine"


def build_engine(tensorrt: Any, logger: Any, content: bytes, precision: str) -> bytes:
    """Build a serialised engine.

    Raises UnsupportedModelError where TensorRT refuses the model, DeviceError where this version
    has no switch for the precision.
    """
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(content):
        reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise UnsupportedModelError(
            f"TensorRT refuses the model: {first_line(ValueError(next(iter(reasons), '')))}"
        )
    configuration = builder.create_builder_config()
    configuration.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED
    flags = tensorrt.BuilderFlag
    if precision == "float32":
        configuration.clear_flag(flags.TF32)
    if precision == "float16":
        if not hasattr(flags, "FP16"):
            raise DeviceError(
                "this version of TensorRT takes the precision from the model",
                hint="take float32, or a version before 11",
            )
        configuration.set_flag(flags.FP16)
    plan = builder.build_serialized_network(network, configuration)
    if plan is None:
        raise UnsupportedModelError(
            "TensorRT cannot build an engine for the model", hint="see its messages on stderr"
        )
    return bytes(plan)


def layer_clock(tensorrt: Any, report: Callable[[str, float], None]) -> Any:
    """TensorRT's own kind of profiler, which hands every layer's time on."""

    class LayerClock(tensorrt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            tensorrt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            report(layer_name, ms)

    return LayerClock()


def layer_kernels(
    runs: Sequence[Sequence[tuple[str, float]]],
    counted: Collection[int],
    described: Mapping[str, Operator],
) -> list[KernelTime]:
    """The layers of one run in order, each with its median over the counted runs.

    Parameters
    ----------
    runs : sequence of sequence of (layer, milliseconds)
        A layer's name holds those of the operators that it runs, with ``" + "`` between them.
    counted : collection of int
        Numbers of the runs that count.
    described : mapping of str to Operator
        The graph's operators by name.

    Raises
    ------
    RuntimeFailedError
        Where runs are missing, or not all of them have the same layers.
    """
    if not counted or max(counted) >= len(runs):
        raise RuntimeFailedError("TensorRT's profile does not hold every run")
    chosen = [runs[number] for number in counted]
    layers = [layer for layer, _ in chosen[0]]
    if not layers or any([layer for layer, _ in run] != layers for run in chosen):
        raise RuntimeFailedError("TensorRT's profile does not hold the same layers for every run")
    return [
        _kernel(position, layer, [run[position][1] for run in chosen], described)
        for position, layer in enumerate(layers)
    ]


def _kernel(
    position: int, layer: str, times: Sequence[float], described: Mapping[str, Operator]
) -> KernelTime:
    operators = [described[name] for name in layer.split(_JOINT) if name in described]
    kind = operators[0].kind if operators else "layout" if layer.startswith(_LAYOUT) else "fused"
    return KernelTime(
        position=position,
        kind=kind,
        name=operators[0].name if operators else layer,
        operators=tuple(operator.name for operator in operators),
        latency_ms=float(np.median(times)),
        input_shapes=operators[0].input_shapes if operators else (),
        output_shapes=operators[-1].output_shapes if operators else (),
    )
