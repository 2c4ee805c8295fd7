"""From an ONNX model to machine code with Apache TVM, for this processor or another.

The network becomes a Relax module with its weights as constants, its operators are fused into
kernels as TVM's own CPU pipeline does, and LLVM compiles them.
:mod:`latprof.profilers.runtimes.tvm.tvm_tuning` may schedule the kernels in between.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from latprof.errors import DeviceError, DynamicShapeError, UnsupportedModelError
from latprof.profilers.host.facts import Host
from latprof.profilers.runtimes.model_inputs import NO_RULES, random_inputs
from latprof.profilers.runtimes.running import first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.graph.input_values.input_rules import Rules
    from latprof.graph.model_file import ModelSource

#: A processor to compile for, in the words of :class:`tvm.target.Target`.
TargetWords: TypeAlias = Mapping[str, Any]

#: Processors that a remote device may have, by the name of their kind.
PROCESSORS: Mapping[str, TargetWords] = {
    "aarch64": {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "generic"},
    "armv7": {
        "kind": "llvm",
        "mtriple": "armv7l-linux-gnueabihf",
        "mattr": ["+neon"],
        "mfloat-abi": "hard",
    },
    "x86-64": {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "x86-64"},
}


@dataclass(frozen=True)
class Kernels:
    """A network as fused kernels, neither scheduled nor compiled.

    ``module`` is TVM's IRModule, ``target`` its Target; ``inputs`` are random arrays in the order
    that the function ``main`` takes them.
    """

    module: Any
    target: Any
    inputs: tuple[NDArray[Any], ...]


def prepare_process(threads: int) -> None:
    """Give TVM's pool this many threads, and leave the choice of cores to the scheduler.

    The variables are for TVM's first use here and for the processes that a tuner starts.
    """
    os.environ["TVM_NUM_THREADS"] = str(threads)
    os.environ["TVM_BIND_THREADS"] = "0"
    with quiet():
        import tvm

    any_core = 1  # the affinity mode that only counts threads
    tvm.get_global_func("runtime.config_threadpool")(any_core, threads)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep TVM's warnings and whatever it prints off stdout."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        yield


def host_target(threads: int) -> dict[str, Any]:
    """The processor of this computer as LLVM knows it, and the threads that schedules count on."""
    from tvm.target import codegen

    triple = str(codegen.llvm_get_system_triple())
    return visible_target(triple, host_processor(), host_cpuinfo()) | {"num-cores": threads}


def host_processor() -> str:
    """LLVM's name of this computer's processor."""
    from tvm.target import codegen

    return str(codegen.llvm_get_system_cpu())


def host_cpuinfo() -> str:
    """What Linux lists of this computer's processor; empty elsewhere."""
    return Host().read("proc/cpuinfo")


def visible_target(triple: str, processor: str, cpuinfo: str) -> dict[str, Any]:
    """A processor without the vector instructions that a hypervisor hides.

    LLVM knows a processor by its model alone; what the model has and Linux does not list in
    ``cpuinfo`` would end the process.
    """
    import tvm
    from tvm.target import codegen

    words: dict[str, Any] = {"kind": "llvm", "mtriple": triple, "mcpu": processor}
    with quiet():
        assumed = {str(name) for name in codegen.llvm_get_cpu_features(tvm.target.Target(words))}
    hidden = hidden_features(assumed, cpuinfo)
    return words | ({"mattr": [f"-{name}" for name in hidden]} if hidden else {})


def hidden_features(assumed: Collection[str], cpuinfo: str) -> list[str]:
    """Vector features (``"avx512f"``...) that LLVM assumes and Linux does not list, sorted.

    Empty where ``cpuinfo`` lists no flags at all: another architecture, or not visible.
    """
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    if flags is None:
        return []
    listed = {flag.replace("_", "") for flag in flags[1].split()}
    return sorted(name for name in assumed if name.startswith("avx") and name not in listed)


def fused_kernels(
    model: ModelSource, target: TargetWords, seed: int, rules: Rules = NO_RULES
) -> Kernels:
    """Read an ONNX model, make its input and fuse its operators.

    Parameters
    ----------
    model : bytes or path
        The ONNX model itself, or its path.
    target : mapping
        The processor to compile for.
    seed : int
        Of the input's random numbers.
    rules : mapping of str to InputRule, optional
        Of the inputs' values.

    Raises
    ------
    UnsupportedModelError
        For what is no ONNX model, or has operators that TVM does not import.
    DynamicShapeError
        For inputs whose shape is not fixed.
    """
    proto = _read(model)
    inputs = random_inputs(_inputs(proto), seed, rules)
    with quiet(), _refusals():
        import tvm
        from tvm import relax
        from tvm.relax.frontend.onnx import from_onnx

        # The importer takes every input for float32 unless it is told.
        types = {name: str(values.dtype) for name, values in inputs.items()}
        module = _with_folded_constants(from_onnx(proto, dtype_dict=types))
        compiled_for = tvm.target.Target(dict(target))
        with compiled_for:
            module = tvm.transform.Sequential(
                [
                    relax.transform.DecomposeOpsForInference(),
                    relax.transform.CanonicalizeBindings(),
                    relax.get_pipeline("zero"),
                ]
            )(module)
    return Kernels(module, compiled_for, tuple(inputs.values()))


def compiled(kernels: Kernels, database: Any = None) -> Any:
    """Compile kernels, by the schedules of a tuner's ``database`` where it has one of a kernel.

    Returns TVM's executable. Raises UnsupportedModelError where TVM cannot compile them.
    """
    with quiet(), _refusals():
        import tvm
        from tvm import relax

        module = kernels.module
        if database is not None:
            with kernels.target, database:
                module = relax.transform.MetaScheduleApplyDatabase(enable_warning=False)(module)
        return tvm.compile(module, target=kernels.target)


def export_module(model: ModelSource, path: str | Path, target: TargetWords) -> Path:
    """Compile an ONNX model for a processor and write it for TVM's runtime to load there.

    Parameters
    ----------
    model : bytes or path
        The ONNX model itself, or its path.
    path : str or Path
        A name in ``.so`` is a shared library, which needs a linker for that processor here; one in
        ``.tar`` holds object files, which the runtime links when it loads them.
    target : mapping
        For example ``PROCESSORS["aarch64"]``.

    Raises
    ------
    UnsupportedModelError, DynamicShapeError
        As :func:`fused_kernels`.
    DeviceError
        For a shared library without a linker, or whose linking failed.
    """
    path = Path(path)
    link = _link_into(path, target)
    executable = compiled(fused_kernels(model, target, seed=0))
    write_library(executable, path, link)
    return path


def write_library(executable: Any, path: Path, link: Callable[..., None] | None) -> None:
    """Write what :func:`compiled` returned; ``link`` is None for a ``.tar``.

    Raises DeviceError where that fails.
    """
    try:
        with quiet(), tempfile.TemporaryDirectory(prefix="latprof-") as directory:
            executable.export_library(str(path), fcompile=link, workspace_dir=directory)
    except Exception as error:  # noqa: BLE001 - TVM's exceptions have no common base
        raise DeviceError(f"the module cannot be written: {first_line(error)}") from None


def _link_into(path: Path, target: TargetWords) -> Callable[..., None] | None:
    if path.suffix == ".tar":
        return None
    triple = str(target.get("mtriple", ""))
    link = linker(triple)
    if link is None:
        raise DeviceError(
            f"there is no linker for {triple} here",
            hint="install a cross compiler (g++-aarch64-linux-gnu, for example), "
            "or write a .tar, which the device links itself",
        )
    return link


def linker(triple: str) -> Callable[..., None] | None:
    """What links objects for a processor into a shared library here; None where nothing does."""
    from tvm.support import cc

    name: str | None
    options: list[str] = []
    if triple.partition("-")[0] == platform.machine():
        name = cc.get_cc()
    else:
        prefix = triple.replace("armv7l-", "arm-")  # as compilers for it are called
        name = shutil.which(f"{prefix}-g++") or shutil.which(f"{prefix}-gcc")
        clang = shutil.which("clang++") or shutil.which("clang")
        if name is None and clang and shutil.which("ld.lld"):
            name = clang
            options = [f"--target={triple}", "-fuse-ld=lld", "-nostdlib"]
    if name is None:
        return None
    found: Callable[..., None] = cc.cross_compiler(partial(cc.create_shared, cc=name), options)
    return found


def _read(model: ModelSource) -> Any:
    import onnx

    try:
        proto = onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(model)
        if not proto.graph.node:
            raise UnsupportedModelError("an ONNX model without operators")
    except UnsupportedModelError:
        raise
    except Exception as error:  # noqa: BLE001 - onnx's exceptions have no common base
        raise UnsupportedModelError(f"not an ONNX model: {first_line(error)}") from None
    return proto


def _inputs(proto: Any) -> dict[str, tuple[list[int | str], Any]]:
    """Shape and type of each input that is no weight, in order."""
    import onnx

    weights = {tensor.name for tensor in proto.graph.initializer}
    found: dict[str, tuple[list[int | str], Any]] = {}
    for value in proto.graph.input:
        if value.name in weights:
            continue
        tensor = value.type.tensor_type
        try:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        except KeyError:
            dtype = np.dtype(object)
        if dtype.kind not in "biuf":
            raise UnsupportedModelError(
                f"input {value.name!r} is of a type latprof makes no input for", got=str(dtype)
            )
        if not tensor.HasField("shape"):
            raise DynamicShapeError(f"input {value.name!r} has no shape")
        found[value.name] = (
            [dim.dim_value or dim.dim_param or "?" for dim in tensor.shape.dim],
            dtype,
        )
    return found


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Whatever TVM raises while it imports or compiles is a refusal of the model."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - TVM's exceptions have no common base
        raise UnsupportedModelError(
            f"TVM refuses the model: {first_line(error)}",
            hint="see which operators its ONNX frontend has, or another opset",
        ) from None


def _with_folded_constants(module: Any) -> Any:
    """Compute what the importer puts around biases and limits, with NumPy.

    TVM folds these constants too, but compiles a function for every one of them: seconds a network.
    """
    from tvm import relax

    @relax.expr_functor.mutator
    class Folding(relax.expr_functor.PyExprMutator):  # type: ignore[misc]
        """Replaces calls whose arguments are all constants."""

        def visit_call_(self, call: Any) -> Any:
            call = self.visit_expr_post_order(call)
            fold = _FOLDED.get(getattr(call.op, "name", ""))
            values = [self.value(argument) for argument in call.args]
            if fold is None or any(value is None for value in values):
                return call
            result = np.asarray(fold(*values))
            return relax.const(result, str(result.dtype))

        def value(self, argument: Any) -> Any:
            """A constant's array, a fixed shape's sizes, or None."""
            if isinstance(argument, relax.ShapeExpr):
                return [int(size) for size in argument.values]
            if isinstance(argument, relax.Var):
                argument = self.lookup_binding(argument)
            constant: Any = getattr(argument, "value", None)
            return constant.numpy() if hasattr(constant, "numpy") else None

    folding = Folding(module)
    module["main"] = folding.visit_expr(module["main"])
    return module


def _reshaped(values: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    return values.reshape(shape)


_FOLDED: Mapping[str, Callable[..., Any]] = {
    "relax.reshape": _reshaped,
    "relax.isnan": np.isnan,
    "relax.where": np.where,
}
