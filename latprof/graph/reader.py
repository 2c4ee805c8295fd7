"""Networks from ONNX models: operators in execution order, with the shapes they run at.

A model is read without its weights' external data. Work on constants (the shape arithmetic of
exporters, transposed weights) and operators that do nothing at inference are left out. The bodies
of If, Loop and Scan follow their operator.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.errors import ModelFileError, UnknownCostsError
from latprof.graph.external_data import load_external_data
from latprof.graph.guarded.inference import Allowance
from latprof.graph.model_file import (
    ModelSource,
    check_versions,
    graph_inputs,
    model_digest,
    read_model,
    read_nodes,
    without_data,
)
from latprof.graph.nodes.node_reading import GraphReading
from latprof.graph.nodes.node_view import resolved
from latprof.graph.operators import Network, Operator
from latprof.graph.static_shapes import InputShapes, fix_inputs, infer_shapes, parse_shape

if TYPE_CHECKING:
    import onnx

__all__ = [
    "known_operators",
    "load_model",
    "model_bytes",
    "model_digest",
    "parse_shape",
    "read_network",
]


def read_network(
    source: ModelSource | onnx.ModelProto, *, shapes: InputShapes | None = None
) -> Network:
    """Read a network's operators, shapes and parameter counts from an ONNX model.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        The model; a file of at most 2 GiB. It is not changed, nothing of it is run, and no other
        file is opened.
    shapes : mapping of input name to shape, optional
        Sizes to assume, batch first; needed for inputs with dimensions that have none. The key
        None stands for a model's only input.

    Raises
    ------
    ModelFileError
        For a file that is missing, empty, truncated, no ONNX model, or contradicts itself.
    DynamicShapeError
        For an input dimension without a size.
    UnknownCostsError
        For a model that can only be measured: sizes depend on values, nobody knows an operator, or
        the installed onnx is older than its format.
    InvalidValueError
        For ``shapes`` that name no input or do not fit it.
    """
    label = os.fspath(source) if isinstance(source, str | os.PathLike) else "the model"
    model, nodes = read_nodes(source, data=False)
    check_versions(model, label)
    without_data(model)
    held = fix_inputs(model, shapes, label)
    inputs = [value.name for value in graph_inputs(model.graph)]
    allowance = Allowance()
    found = infer_shapes(
        model, label, held, nodes=nodes, allowance=allowance, resolver=resolved, assume=True
    )
    known, graph = found.shapes, model.graph
    operators = tuple(GraphReading(label, model.opset_import, allowance).operators(found))
    if not operators:
        raise UnknownCostsError(f"{label} has no operators that depend on its inputs")
    return Network(
        name=graph.name,
        operators=operators,
        inputs=tuple((name, known[name] or ()) for name in inputs),
        outputs=tuple((value.name, known.get(value.name) or ()) for value in graph.output),
    )


def known_operators(source: ModelSource) -> tuple[Operator, ...]:
    """A model's operators, none where they are not known; raises as :func:`read_network` else."""
    try:
        return read_network(source).operators
    except UnknownCostsError:
        return ()


def load_model(
    path: str | os.PathLike[str],
    *,
    shapes: InputShapes | None = None,
    external_data: bool = False,
) -> onnx.ModelProto:
    """Load a model with the sizes of its inputs and outputs fixed.

    ``external_data`` also loads weights that lie in other files of the model's own folder;
    other places and links are refused. Raises as :func:`read_network`.
    """
    model = read_model(path)
    fix_shapes(model, shapes, os.fspath(path))
    if external_data:
        load_external_data(model, Path(path).parent, os.fspath(path))
    return model


def fix_shapes(model: onnx.ModelProto, shapes: InputShapes | None, label: str) -> None:
    """Fix the sizes of a model's inputs, in place, and those of its outputs where they are known.

    Raises as :func:`read_network`.
    """
    held = fix_inputs(model, shapes, label, sequences=True)
    try:
        known = infer_shapes(model, label, held, resolver=resolved).shapes
    except UnknownCostsError:
        known = {}
    for output in model.graph.output:
        shape = known.get(output.name)
        if shape is not None and output.type.HasField("tensor_type"):
            output.type.tensor_type.shape.ClearField("dim")
            for size in shape:
                output.type.tensor_type.shape.dim.add().dim_value = size


def model_bytes(path: str | os.PathLike[str], *, shapes: InputShapes | None = None) -> bytes:
    """Return the model that a runtime loads: static shapes, and every weight inside.

    Raises as :func:`read_network`, and ModelFileError where external weights are missing or the
    whole is larger than 2 GiB.
    """
    model = load_model(path, shapes=shapes, external_data=True)
    try:
        content: bytes = model.SerializeToString()
    except Exception as error:  # noqa: BLE001 - protobuf's size limit has no public type
        raise ModelFileError(f"{path} cannot be serialized: {error}") from None
    return content
