"""What a user's function builds, as an ONNX model: a torch module is exported, a model checked."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.files import what_is_at
from latprof.common.own_code.calling import called, in_words
from latprof.common.own_code.users_code import folder_searched_last
from latprof.errors import InvalidValueError, shown
from latprof.graph.model_file import read_model
from latprof.graph.reader import fix_shapes

if TYPE_CHECKING:
    from latprof.graph.operators import Shape

_OPSET = 17
#: What torch modules may read; the first unless a space says otherwise.
INPUT_DTYPES = ("float32", "int64", "int32")


def call_build(
    build: Callable[[Any], Any], values: tuple[Any, ...], folder: Path, seed: int
) -> Any:
    """What ``build(values)`` returns, torch's random numbers beginning with ``seed``.

    Modules are found in ``folder`` too, for the time of the call. Raises OwnCodeError for
    whatever the function raises.
    """
    name = getattr(build, "__name__", "build")
    with called(f"{name}({shown(values, 200)})"), folder_searched_last(folder):
        known = "torch" in sys.modules
        with _seeded(seed):
            made = build(values)
        if not known and "torch" in sys.modules:  # by the call: its numbers began anywhere
            with _seeded(seed):
                made = build(values)
    return made


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def is_module(made: object) -> bool:
    """Whether something is a torch module; torch is not imported for it."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(made, torch.nn.Module)


def onnx_of(made: Any, inputs: Mapping[str | None, tuple[Shape, str]]) -> bytes:
    """The ONNX model of a torch module that reads these inputs, or an ONNX model, for their shapes.

    ``inputs`` are shapes and dtypes by names, None for the name of an only one. Raises
    InvalidValueError for anything else, and for a model of other inputs; ModelFileError for a model
    that cannot be read.
    """
    if is_module(made):
        return _exported(made, inputs)
    if isinstance(made, str | os.PathLike):
        made = Path(made).read_bytes() if what_is_at(Path(made)) == "file" else made
    if not isinstance(made, bytes) and not hasattr(made, "SerializeToString"):
        raise InvalidValueError(
            "build returned neither a torch module nor an ONNX model",
            field="build",
            expected="torch.nn.Module, onnx.ModelProto, its bytes, or the path of its file",
            got=type(made).__name__,
            hint="the function lacks a return" if made is None else None,
        )
    with called("reading what build returned"):
        model = read_model(made)
    fix_shapes(model, {name: shape for name, (shape, _) in inputs.items()}, "what build returned")
    content: bytes = model.SerializeToString()
    return content


def _exported(module: Any, inputs: Mapping[str | None, tuple[Shape, str]]) -> bytes:
    """As torch's exporter writes a module in eval mode: normalisation folded."""
    import torch

    examples = tuple(
        torch.zeros(shape, dtype=getattr(torch, dtype)) for shape, dtype in inputs.values()
    )
    names = [name or "input" for name in inputs]
    options: dict[str, Any] = {"opset_version": _OPSET, "input_names": names}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False  # it names operators after their modules, and needs no package
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad(), _plain_attention(torch):
            warnings.simplefilter("ignore")
            torch.onnx.export(module.eval(), examples, buffer, **options)
    except Exception as error:
        raise InvalidValueError(
            f"torch cannot export what build returned: {in_words(error)}",
            field="build",
        ) from error
    return buffer.getvalue()


@contextlib.contextmanager
def _plain_attention(torch: Any) -> Iterator[None]:
    """Attention layers without torch's fused operator, which its exporter does not know."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
