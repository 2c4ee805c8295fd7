"""TFLite models from ONNX models: written directly, or by way of torch and its LiteRT converter.

The writer (:mod:`latprof.graph.convert.tflite`) takes milliseconds and needs neither torch nor
TensorFlow. What it has no translation of goes through litert-torch, where that is installed.

Images come in channels-last, as on phones: TFLite's convolutions read them so, and a user who
deploys a network feeds it so. With ONNX's channels-first input a transpose would run before the
first convolution and be timed with the rest.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.common.extras import is_installed, require
from latprof.errors import UnsupportedModelError
from latprof.graph.convert.skeletons import (
    LEAST_FILLED,
    SEEDS_APART,
    fill_for,
    skeleton_bytes,
)
from latprof.graph.convert.tflite.translation import write_tflite
from latprof.graph.model_file import graph_inputs, read_model
from latprof.graph.reader import model_bytes, read_network

if TYPE_CHECKING:
    import torch

    from latprof.graph.model_file import ModelSource
    from latprof.graph.operators import Shape

#: Changed whenever this module makes other models from the same file.
RECIPE = 2
_IMAGE_DIMENSIONS = 4
#: The identifier of FlatBuffers of TFLite's schema.
_TFLITE = b"TFL3"
#: What converts models with operators that the writer has no translation of.
FALLBACK = "litert-torch"
#: What to do about a model that has no TFLite form, or whose file LiteRT refuses.
OTHER_RUNTIME = (
    "check that the file is whole; ONNX Runtime may run the model: cpu:onnxruntime, adb:onnxruntime"
)


def tflite_bytes(model: ModelSource) -> bytes:
    """Convert a float32 ONNX model to TFLite; four-dimensional inputs and outputs become NHWC.

    Other values keep their order of dimensions; 64-bit integers become 32-bit ones. A model is
    written directly in milliseconds; where it holds an operator that the writer has no translation
    of, litert-torch converts it, which takes seconds, and as many again for its import.

    Parameters
    ----------
    model : bytes or path
        A model of static shapes; a path is for models whose weights lie in files beside them.

    Raises
    ------
    ModelFileError
        For a file that is no ONNX model.
    DynamicShapeError
        For an input dimension without a size.
    UnsupportedModelError
        For bytes that are no model, and an operator that has no translation, by its name.
    MissingDependencyError
        Without flatbuffers.
    """
    content = model if isinstance(model, bytes) else model_bytes(model)
    try:
        return write_tflite(content).content
    except UnsupportedModelError as error:
        if not (is_installed("litert_torch") and is_installed("torch")):
            error.hint = (
                error.hint or f"{FALLBACK} may convert it: pip install 'latprof[{FALLBACK}]'"
            )
            raise
        refusal = error
    try:
        return convert_with_torch(content)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(
            f"{refusal.problem}; nor can torch: {error.problem}", hint=OTHER_RUNTIME
        ) from None


def is_tflite(model: ModelSource) -> bool:
    """Whether a model is a TFLite file, by what it begins with."""
    if isinstance(model, bytes):
        return model[4:8] == _TFLITE
    with contextlib.suppress(OSError), Path(model).open("rb") as file:
        return file.read(8)[4:] == _TFLITE
    return False


def tflite_skeleton(model: ModelSource, seed: int = 0) -> bytes:
    """Convert a model as :func:`tflite_bytes` does, without its weights.

    :func:`latprof.graph.convert.skeletons.filled` makes a TFLite file of it again, whose weights
    are random with the scale of the model's own; ``seed`` chooses which. Kernels, biases and dense
    layers' matrices are left out; other constants are kept as they are. Raises as
    :func:`tflite_bytes`, and UnsupportedModelError where only litert-torch can convert the model.
    """
    content = model if isinstance(model, bytes) else model_bytes(model)
    try:
        written = write_tflite(content)
    except UnsupportedModelError as error:
        error.hint = error.hint or OTHER_RUNTIME
        raise
    fills = [
        fill_for(written.content, start, count, (seed * SEEDS_APART + index) % 2**32)
        for index, (start, count) in enumerate(written.weights)
        if count >= LEAST_FILLED
    ]
    return skeleton_bytes(written.content, fills)


def convert_with_torch(content: bytes) -> bytes:
    """Convert a model with litert-torch, whether the writer can or not.

    Raises UnsupportedModelError for what torch or litert-torch cannot convert, DynamicShapeError
    for an input dimension without a size, and MissingDependencyError without the two.
    """
    from latprof.graph.convert.to_torch import torch_module

    require(FALLBACK, "converting a model by way of torch", "litert_torch", "torch")
    module = torch_module(content)
    network = read_network(content)
    inputs, outputs = (_images(values) for values in (network.inputs, network.outputs))
    with silenced():
        import litert_torch

        try:
            wrapped = litert_torch.to_channel_last_io(module, args=inputs, outputs=outputs)
            converted: bytes = litert_torch.convert(
                wrapped.eval(), _examples(content)
            ).model_content()
        except Exception as error:  # noqa: BLE001 - torch's and MLIR's have no common base
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise UnsupportedModelError(f"{FALLBACK} cannot convert the model: {reason}") from None
    return bytes(converted)


def converter_version() -> str:
    """What converts models here: the writer's version, and litert-torch's where it is installed."""
    versions = [f"latprof writer {RECIPE}"]
    if is_installed("litert_torch"):
        versions.append(f"{FALLBACK} {importlib.metadata.version(FALLBACK)}")
    return ", ".join(versions)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep libraries in C++ from writing to this process's stdout and stderr, and Python's logs.

    For as long as it lasts nothing else of the process may print.
    """
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
            with contextlib.suppress(OSError):  # it is closed: nothing is written to it
                saved = os.dup(descriptor)
                stack.callback(os.close, saved)
                stack.callback(os.dup2, saved, descriptor)
                os.dup2(nowhere.fileno(), descriptor)
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.CRITICAL)
        yield


def _images(values: Sequence[tuple[str, Shape]]) -> list[int]:
    """Positions of what is taken for images: values of four dimensions."""
    return [index for index, (_, shape) in enumerate(values) if len(shape) == _IMAGE_DIMENSIONS]


def _examples(content: bytes) -> tuple[torch.Tensor, ...]:
    """Inputs to trace the channels-last module with; their values do not matter."""
    import torch
    from onnx.helper import tensor_dtype_to_np_dtype

    examples = []
    for value in graph_inputs(read_model(content).graph):
        tensor = value.type.tensor_type
        batch, *rest = (dim.dim_value for dim in tensor.shape.dim)
        if len(rest) == _IMAGE_DIMENSIONS - 1:
            rest = [*rest[1:], rest[0]]
        dtype = getattr(torch, str(tensor_dtype_to_np_dtype(tensor.elem_type)))
        examples.append(torch.ones((batch, *rest), dtype=dtype))
    return tuple(examples)
