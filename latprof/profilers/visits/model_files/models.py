"""Model files as they are measured: shapes, the values of their inputs, what is known of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import ModelFileError, UnknownCostsError
from latprof.graph.external_data import check_external_data
from latprof.graph.input_values.input_rules import input_rules
from latprof.graph.model_file import graph_inputs, model_digest, read_model
from latprof.graph.reader import read_network
from latprof.graph.static_shapes import checked_shapes, fix_inputs
from latprof.measurement.records import Subject
from latprof.profilers.base import Profiler
from latprof.profilers.runtimes.model_inputs import MAX_INPUT_BYTES, random_inputs
from latprof.profilers.visits.model_files.input_files import read_input

if TYPE_CHECKING:
    import os
    from pathlib import Path

    import onnx

    from latprof.graph.input_values.input_rules import InputRule

#: Inputs with more values than this are not made only to see whether rules change them.
_MOST_COMPARED = 1 << 22


@dataclass(frozen=True)
class Costs:
    """What is known of a model before it runs.

    Parameters
    ----------
    batch_size : int or None
        The leading size that all inputs of two dimensions or more have; None where they differ.
    input_shape : tuple of int or None
        That of a model's only input.
    macs, parameters : int or None
        Multiply-accumulates of one run, and learnt values; None where they cannot be told.
    unknown : str
        Why they cannot, or what of the work is not in them: an operator without a handler.
    """

    batch_size: int | None
    input_shape: tuple[int, ...] | None
    macs: int | None = None
    parameters: int | None = None
    unknown: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what is known as plain JSON values; null for what is not."""
        return {
            "batch_size": self.batch_size,
            "macs": self.macs,
            "parameters": self.parameters,
            "costs_unknown": self.unknown or None,
        }

    def describe(self) -> str:
        """One line for people."""
        if self.macs is None or self.parameters is None:
            return f"not known: {self.unknown}"
        counted = f"{self.macs:,} MACs, {self.parameters:,} parameters"
        return f"{counted}; not counted: {self.unknown}" if self.unknown else counted


class ModelReading:
    """One model file, with the shapes and the files that are for its inputs.

    Parameters
    ----------
    path : Path
    shapes : mapping of str to sequence of int
        Those of inputs that the model lacks are ignored; the key None is its only input.
    inputs : mapping of str to path
        NumPy files in the same way.
    """

    def __init__(
        self,
        path: Path,
        shapes: Mapping[str | None, Sequence[int]],
        inputs: Mapping[str, str | os.PathLike[str]],
    ) -> None:
        self.path = path
        model = read_model(path)
        check_external_data(model, path.resolve())
        values = graph_inputs(model.graph)
        self.names = [value.name for value in values]
        given: dict[str | None, tuple[int, ...]] = {
            name: shape
            for name, shape in checked_shapes(shapes, str(path)).items()
            if name is None or name in self.names
        }
        files = {name: read_input(inputs[name], name) for name in self.names if name in inputs}
        for value in values:
            if value.name in files:
                shape = files[value.name].shape_for(value, path)
                if shape is not None and value.name not in given and None not in given:
                    given[value.name] = shape
        fix_inputs(model, given or None, str(path), sequences=True)
        for value in values:
            if value.name in files:
                files[value.name].check(value, path)
            else:
                _check_numbers(value, path)
        self._given = given
        #: The shapes that were given, by name.
        self.shapes = {values[0].name if n is None else n: shape for n, shape in given.items()}
        #: How the inputs' values are made, where they are not the usual ones.
        self.rules = {name: file.rule for name, file in files.items()}
        self.rules |= needed_rules(
            values, {n: r for n, r in input_rules(model).items() if n not in files}
        )
        self._sizes = [
            tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in values
        ]

    def subject(self) -> Subject:
        """The model's identity: its content, the shapes given, how its inputs are made."""
        suffix = "".join(
            f" {name}={'x'.join(map(str, self.shapes[name]))}" for name in sorted(self.shapes)
        )
        rules = sorted(self.rules.items())
        made = "".join(f" {name}~{rule.describe()}" for name, rule in rules)
        files = "".join(f" {n}={rule.file_name}" for n, rule in rules if rule.kind == "file")
        key = model_digest(self.path) + suffix + made
        return Subject("model", key, f"{self.path.name}{suffix}{files}")

    def costs(self) -> Costs:
        """What is known of the model; raises ModelFileError for one that nobody should run."""
        first = {shape[0] for shape in self._sizes if len(shape) > 1}
        batch_size = first.pop() if len(first) == 1 else None
        shape = self._sizes[0] if len(self._sizes) == 1 else None
        try:
            network = read_network(self.path, shapes=self._given or None)
        except UnknownCostsError as error:
            return Costs(batch_size, shape, unknown=str(error))
        unknown = "; ".join(network.unknown)
        return Costs(batch_size, shape, network.macs, network.parameters, unknown=unknown)


def _check_numbers(value: onnx.ValueInfoProto, path: Path) -> None:
    """Refuse an input that no values are made for, and one that is larger than any memory."""
    tensor = value.type.tensor_type
    dtype = _dtype(tensor.elem_type) if value.type.HasField("tensor_type") else None
    if dtype is None:
        raise ModelFileError(
            f"{path}: input {value.name!r} is text, or no tensor, which latprof makes none of",
            hint=f"give it with --input {value.name}=FILE.npy",
        )
    sizes = [dim.dim_value for dim in tensor.shape.dim]
    if math.prod(sizes) * dtype.itemsize > MAX_INPUT_BYTES:
        raise ModelFileError(
            f"{path}: input {value.name!r} is too large",
            expected=f"at most {MAX_INPUT_BYTES} bytes",
            got="x".join(map(str, sizes)),
            hint="take a smaller batch or resolution",
        )


def _dtype(element_type: int) -> np.dtype[Any] | None:
    """NumPy's type of a tensor's elements; None for text and what is no type."""
    from onnx import helper

    if element_type not in helper.get_all_tensor_dtypes():
        return None
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(element_type))
    return None if dtype.kind in "OSU" else dtype


def needed_rules(
    values: Sequence[onnx.ValueInfoProto], rules: Mapping[str, InputRule]
) -> dict[str, InputRule]:
    """The rules that change something: the usual values may follow them already."""
    if not rules:
        return {}
    inputs = {}
    for value in values:
        dtype = _dtype(value.type.tensor_type.elem_type)
        if dtype is None:
            return dict(rules)
        shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        inputs[value.name] = shape, dtype
    if sum(math.prod(shape) for shape, _ in inputs.values()) > _MOST_COMPARED:
        return dict(rules)
    usual = random_inputs(inputs, Profiler.input_seed)
    return {
        name: rule
        for name, rule in rules.items()
        if not np.array_equal(rule.apply(usual[name]), usual[name])
    }
