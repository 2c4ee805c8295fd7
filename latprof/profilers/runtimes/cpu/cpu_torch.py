"""``cpu:torch``: PyTorch on this computer's processor, eager or compiled."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from latprof.errors import DeviceError, RuntimeFailedError, UnsupportedModelError
from latprof.graph.convert.to_torch import INPUT_KEY, INPUT_NAME, torch_module
from latprof.profilers.base import Availability, Profiler
from latprof.profilers.host.facts import processor_name
from latprof.profilers.runtimes.model_inputs import NO_RULES, random_inputs
from latprof.profilers.runtimes.running import (
    first_line,
    package_availability,
    timed_runs,
)

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from latprof.graph.input_values.input_rules import Rules
    from latprof.graph.model_file import ModelSource
    from latprof.measurement.records import KernelTime, Target
    from latprof.profilers.runtimes.cpu.torch_profile import ClockedInterpreter


class CpuTorch(Profiler):
    """Measures on this computer's processor with PyTorch; a duration is the time of one call."""

    spelling = "cpu:torch"
    runs_on_host = True
    precisions = ("float32", "bfloat16", "float16")
    modes: ClassVar = {
        "channels-last": "images and weights with the channels innermost",
        "compile": "torch.compile; needs a C++ compiler",
    }

    @classmethod
    def availability(cls) -> Availability:
        return package_availability("torch", "PyTorch", "torch")

    def target(self, input_shape: tuple[int, ...] | None) -> Target:
        version = importlib.metadata.version("torch")
        return self.identity("cpu", processor_name(), "torch", version, input_shape)

    def load(self, model: ModelSource) -> TorchModel:
        module, inputs = self._loaded(model)
        if "compile" not in self.options.mode:
            return TorchModel(module, inputs)
        _check_compiler()
        return TorchModel(compiled(module, inputs), inputs)

    def load_profiled(self, model: ModelSource) -> ProfiledTorchModel:
        if "compile" in self.options.mode:
            raise DeviceError(
                "torch.compile fuses operators and does not say which kernel is whose",
                hint="time the kernels without the mode compile",
            )
        from latprof.profilers.runtimes.cpu.torch_profile import ClockedInterpreter

        module, inputs = self._loaded(model)
        return ProfiledTorchModel(ClockedInterpreter(module), inputs, model)

    def _loaded(self, model: ModelSource) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
        import torch

        torch.set_num_threads(self.options.threads)
        if self.options.precision == "float16" and not _computes_float16():
            raise DeviceError(
                "this processor has no float16 arithmetic that torch uses",
                hint="take float32 or bfloat16",
            )
        return placed(
            *read_module(model, self.input_seed, self.input_rules),
            "cpu",
            getattr(torch, self.options.precision),
            channels_last="channels-last" in self.options.mode,
        )


class TorchModel:
    """A module, or something as callable, with its input."""

    def __init__(self, run: Callable[..., Any], inputs: tuple[torch.Tensor, ...]) -> None:
        self.call, self.inputs = run, inputs

    def run(self, times: int) -> list[float]:
        """Run in inference mode; each duration ends when the call returns its result."""
        import torch

        with torch.inference_mode():
            return timed_runs(lambda: self.call(*self.inputs), times, "torch")


class ProfiledTorchModel(TorchModel):
    """A module that runs with a clock around each operator."""

    def __init__(
        self,
        interpreter: ClockedInterpreter,
        inputs: tuple[torch.Tensor, ...],
        model: ModelSource,
    ) -> None:
        super().__init__(interpreter.run, inputs)
        self._interpreter, self._model = interpreter, model

    def kernel_times(self, counted: Collection[int]) -> Sequence[KernelTime]:
        """The operators' times."""
        from latprof.profilers.runtimes.cpu.torch_profile import operator_kernels

        return operator_kernels(self._model, self._interpreter.runs, counted)


def read_module(
    model: ModelSource, seed: int, rules: Rules = NO_RULES
) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """A model's module and its inputs, random or by rules, in the model's types.

    Raises as :func:`latprof.graph.convert.to_torch.torch_module`.
    """
    module = torch_module(model)
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    inputs = {node.name: node.meta[INPUT_KEY] for node in placeholders}
    names = [node.meta[INPUT_NAME] for node in placeholders]
    values = random_inputs(inputs, seed, rules, names).values()
    return module, tuple(map(_tensor, values))


def _tensor(values: NDArray[Any]) -> torch.Tensor:
    """A tensor of the same type; NumPy has none of bfloat16 that torch takes."""
    import torch

    if values.dtype.name != "bfloat16":
        return torch.from_numpy(values)
    return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)


def placed(
    module: torch.nn.Module,
    inputs: tuple[torch.Tensor, ...],
    device: str,
    dtype: torch.dtype,
    *,
    channels_last: bool,
) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """A module and its inputs on a device, in its type and memory format.

    Integers stay integers; ``channels_last`` concerns images, four dimensions.
    """
    import torch

    values = [value.to(dtype) if value.is_floating_point() else value for value in inputs]
    try:
        module = module.to(device, dtype)
        values = [value.to(device) for value in values]
    except RuntimeError as error:
        raise RuntimeFailedError(f"torch has no place for the model: {first_line(error)}") from None
    if channels_last:
        blocked = torch.channels_last
        module = module.to(memory_format=blocked)
        values = [v.contiguous(memory_format=blocked) if v.dim() == 4 else v for v in values]
    return module, tuple(values)


def compiled(module: Any, inputs: tuple[torch.Tensor, ...]) -> Callable[..., Any]:
    """The module compiled for inputs of these shapes; UnsupportedModelError where that fails.

    Its own ``forward`` is compiled, which no other module shares: torch compiles one piece of code
    for a few kinds of input only, and counts every module that is called through it as another.
    """
    import torch

    function: Callable[..., Any] = torch.compile(module.forward, dynamic=False, fullgraph=True)
    try:
        with torch.inference_mode():
            function(*inputs)
    except Exception as error:  # noqa: BLE001 - compilers' exceptions have no common base
        raise UnsupportedModelError(
            f"torch cannot compile the model: {first_line(error)}"
        ) from None
    return function


def _check_compiler() -> None:
    """Raise DeviceError where torch.compile would look for a C++ compiler and find none."""
    wanted = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(wanted) is None:
        raise DeviceError(
            "torch.compile needs a C++ compiler",
            expected=f"{wanted} on the path",
            hint="install one, or leave out the mode compile",
        )


def _computes_float16() -> bool:
    """Whether torch has float16 kernels for this processor, and need not emulate them."""
    import torch

    return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())  # noqa: SLF001 - the only place
