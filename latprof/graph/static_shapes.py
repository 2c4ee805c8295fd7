"""Static shapes: the sizes of a model's inputs fixed, and those of all its values inferred."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import onnx

from latprof.common.limits import whole
from latprof.errors import (
    DynamicShapeError,
    InvalidValueError,
    ModelFileError,
    UnknownCostsError,
    shown,
)
from latprof.graph.guarded.inference import Allowance, inferred
from latprof.graph.kept_shapes import kept_value_infos
from latprof.graph.known_branches import write_out_known_branches
from latprof.graph.model_file import MAX_ELEMENTS, bounded_product, graph_inputs, light_copy
from latprof.graph.shape_arithmetic import Effort, fold_shape_arithmetic
from latprof.graph.work.stand_ins import with_stand_ins

if TYPE_CHECKING:
    from latprof.graph.operators import Shape

#: Shapes by input name; the key None stands for the model's only input.
InputShapes: TypeAlias = Mapping[str, Sequence[int]] | Mapping[str | None, Sequence[int]]

_SIZE = whole(0, MAX_ELEMENTS)
#: Rounds of inference and shape arithmetic; each resolves one more chain of reshapes.
_MAX_PASSES = 8
_USUAL_IMAGE = (1, 3, 224, 224)
_FLOAT = onnx.TensorProto.FLOAT


def parse_shape(text: str) -> tuple[str | None, Shape]:
    """Read ``"input=1,3,224,224"`` or ``"1,3,224,224"`` (or with ``x`` between the numbers).

    Returns the input's name, or None where the text has none, and the shape. Raises
    InvalidValueError for anything else.
    """
    name, equals, numbers = text.rpartition("=")
    parts = [part.strip(" ") for part in numbers.replace("x", ",").split(",")]
    # int() takes more than digits: "1_0", "+1", other scripts' numerals.
    plain = all(p.isascii() and p.isdigit() and len(p) < 12 for p in parts)
    shape = tuple(int(p) for p in parts) if plain else ()
    if not shape or (equals and not name.strip()):
        raise InvalidValueError(
            f"not a shape: {text!r}",
            field="shape",
            expected="NAME=1,3,224,224 or 1,3,224,224",
        )
    return (name.strip() if equals else None), shape


def fix_inputs(
    model: onnx.ModelProto, shapes: InputShapes | None, label: str, *, sequences: bool = False
) -> list[onnx.ValueInfoProto]:
    """Give the inputs of ``model`` the sizes of ``shapes``, in place, and check that all have one.

    Where a size changes, what the file says about later shapes is taken out; returned is what of
    it still holds (:func:`latprof.graph.kept_shapes.kept_value_infos`).

    Raises
    ------
    InvalidValueError
        For an unknown input, another number of dimensions, or an impossible size.
    DynamicShapeError
        Where an input still has a dimension without a size.
    UnknownCostsError
        For an input that is no tensor, unless ``sequences`` are allowed.
    """
    inputs = {value.name: value for value in graph_inputs(model.graph)}
    tensors = {name: v for name, v in inputs.items() if v.type.HasField("tensor_type")}
    if len(tensors) < len(inputs) and not sequences:
        other = next(name for name in inputs if name not in tensors)
        raise UnknownCostsError(f"{label}: input {other!r} is not a tensor")
    before = {
        name: type(value).FromString(value.SerializeToString()) for name, value in tensors.items()
    }
    wanted = _by_name(shapes or {}, list(tensors), label)
    changed = False
    for name, shape in wanted.items():
        changed |= _set_shape(tensors[name], shape, label)
    for value in tensors.values():
        _check_static(value, label, given=value.name in wanted)
    held = kept_value_infos(model.graph, before, wanted) if changed else []
    if changed:
        _forget_shapes(model.graph)
    return held


@dataclass(frozen=True)
class Inferred:
    """A graph as it runs at these sizes, and what is known of its values.

    In ``graph`` arithmetic on shapes is initialisers, and of an If with a constant condition there
    is the branch taken. ``shapes`` has None where one stays unknown, ``dtypes`` ONNX's element
    types.
    """

    graph: onnx.GraphProto
    shapes: dict[str, Shape | None]
    dtypes: dict[str, int]


#: Shapes of a node's outputs from those of its inputs and weights, for what onnx does not know.
Resolver: TypeAlias = Callable[[onnx.NodeProto, Mapping[str, "Shape | None"]], "list[Shape]"]


def infer_shapes(
    model: onnx.ModelProto,
    label: str,
    held: Sequence[onnx.ValueInfoProto] = (),
    *,
    allowance: Allowance | None = None,
    resolver: Resolver | None = None,
) -> Inferred:
    """Infer the shape of every value of a model with static inputs.

    ``held`` is what was known of values before; it is used, and added to ``model``, only for those
    that inference does not resolve. Raises ModelFileError where a size is absurd, and
    UnknownCostsError where nothing can be inferred.
    """
    light = light_copy(model)
    for sparse in light.graph.sparse_initializer:  # onnx infers nothing from these
        light.graph.initializer.add(
            name=sparse.values.name, data_type=sparse.values.data_type, dims=sparse.dims
        )
    light.graph.ClearField("sparse_initializer")
    inference = _Inference(light, label, allowance or Allowance(), Effort(), resolver)
    found = inference.resolve()
    added = [v for v in held if v.name in found.shapes or _static_shape(v) is not None]
    added = [value for value in added if found.shapes.get(value.name) is None]
    if added:
        for each in (light, model):
            each.graph.value_info.extend(added)
        found = inference.resolve()
    return found


@dataclass(frozen=True)
class _Inference:
    """Rounds of inference about one model, which is changed in place as more of it is known."""

    model: onnx.ModelProto
    label: str
    allowance: Allowance
    effort: Effort
    resolver: Resolver | None

    def resolve(self) -> Inferred:
        """Infer shapes, and work out what depends on them, as long as that resolves more."""
        found = self._once()
        for _ in range(_MAX_PASSES):
            graph = self.model.graph
            asks = {"If", "Loop"}.intersection(node.op_type for node in graph.node)
            open_ends = [
                n for n in graph.node if any(found.shapes.get(o) is None for o in n.output)
            ]
            if not (open_ends or asks):
                break
            changed = fold_shape_arithmetic(self.model, found.shapes, self.effort)
            changed |= write_out_known_branches(graph)
            changed |= self._ask_handlers(open_ends, found.shapes)
            if not changed:
                break
            found = self._once()
        return found

    def _ask_handlers(
        self, nodes: Sequence[onnx.NodeProto], shapes: Mapping[str, Shape | None]
    ) -> bool:
        """Note the shapes that handlers know of outputs of operators that onnx does not know."""
        known = []
        for node in nodes if self.resolver else ():
            if node.domain not in ("", "ai.onnx"):
                assert self.resolver is not None
                given = self.resolver(node, shapes)
                known += [
                    onnx.helper.make_tensor_value_info(name, _FLOAT, shape)
                    for name, shape in zip(node.output, given, strict=False)
                    if name and shapes.get(name) is None
                ]
        self.model.graph.value_info.extend(known)
        return bool(known)

    def _once(self) -> Inferred:
        """Infer in the guarded child; sizes are checked before it, and what comes back."""
        graph, label = self.model.graph, self.label
        weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        _check_sizes(_shapes_of(graph) | weights, label)
        sent = with_stand_ins(self.model, weights)
        answer = inferred(sent.SerializeToString(), label, self.allowance)
        try:
            values = onnx.ModelProto.FromString(answer).graph
            shapes = _shapes_of(values) | weights
        except Exception:  # noqa: BLE001 - protobuf's own error
            raise ModelFileError(f"{label}: shapes cannot be inferred") from None
        _check_sizes(shapes, label)
        dtypes = {
            value.name: value.type.tensor_type.elem_type
            for value in (*values.input, *values.value_info, *values.output)
        } | {tensor.name: tensor.data_type for tensor in graph.initializer}
        return Inferred(graph, shapes, dtypes)


def _shapes_of(graph: onnx.GraphProto) -> dict[str, Shape | None]:
    """Shapes of the values that a graph tells of; None for one that is not static."""
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: _static_shape(value) for value in values}


def _check_sizes(shapes: Mapping[str, Shape | None], label: str) -> None:
    for name, known in shapes.items():
        if known is not None and bounded_product(known) > MAX_ELEMENTS:
            raise ModelFileError(
                f"{label}: the value {name[:200]!r} has an impossible shape",
                expected=f"sizes from 0, and at most {MAX_ELEMENTS} elements",
                got=str(known),
            )


def _by_name(shapes: InputShapes, names: list[str], label: str) -> dict[str, tuple[int, ...]]:
    """Resolve the key None and refuse names that are no inputs and impossible sizes."""
    result = {}
    for key, shape in shapes.items():
        name = key
        if name is None:
            if len(names) != 1:
                raise InvalidValueError(
                    f"{label} has several inputs: say which the shape is for",
                    field="shape",
                    hint=f"inputs: {', '.join(names)}",
                )
            name = names[0]
        if name not in names:
            raise InvalidValueError(
                f"{label} has no input {name!r}",
                field="shape",
                hint=f"inputs: {', '.join(names)}",
            )
        known = isinstance(shape, Sequence | np.ndarray) and all(map(_SIZE.takes, shape))
        sizes = tuple(map(int, shape)) if known else ()
        if not sizes or bounded_product(sizes) > MAX_ELEMENTS:
            raise InvalidValueError(
                f"impossible shape for input {name!r} of {label}",
                field="shape",
                expected=f"sizes of at least 0, and at most {MAX_ELEMENTS} elements",
                got=",".join(map(shown, shape)) if known else shown(shape),
            )
        result[name] = sizes
    return result


def _set_shape(value: onnx.ValueInfoProto, sizes: Shape, label: str) -> bool:
    """Write ``sizes`` into an input; return whether that changed it."""
    tensor_type = value.type.tensor_type
    if tensor_type.HasField("shape") and len(tensor_type.shape.dim) != len(sizes):
        raise InvalidValueError(
            f"input {value.name!r} of {label} has another number of dimensions",
            field="shape",
            expected=str(len(tensor_type.shape.dim)),
            got=str(len(sizes)),
        )
    if _static_shape(value) == sizes:
        return False
    tensor_type.shape.ClearField("dim")
    for size in sizes:
        tensor_type.shape.dim.add().dim_value = size
    return True


def _static_shape(value: onnx.ValueInfoProto) -> Shape | None:
    """Return the shape of a tensor whose dimensions all have a size, else None."""
    tensor_type = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor_type.HasField("shape"):
        return None
    if not all(dim.HasField("dim_value") for dim in tensor_type.shape.dim):
        return None
    return tuple(dim.dim_value for dim in tensor_type.shape.dim)


def _check_static(value: onnx.ValueInfoProto, label: str, *, given: bool) -> None:
    """Raise DynamicShapeError where an input has a dimension without a size.

    The batch's is none where a file says 0: exporters have written so for a batch of any size.
    """
    tensor_type = value.type.tensor_type
    name = value.name
    if not tensor_type.HasField("shape"):
        raise DynamicShapeError(
            f"{label}: input {name!r} has no shape",
            field=name,
            hint=f"pass --shape {name}={','.join(map(str, _USUAL_IMAGE))}",
        )
    dims = tensor_type.shape.dim
    unknown = [
        f"{index} ({dim.dim_param!r})" if dim.dim_param else str(index)
        for index, dim in enumerate(dims)
        if not dim.HasField("dim_value") or dim.dim_value < (index == 0 and not given)
    ]
    if unknown:
        usual = _USUAL_IMAGE if len(dims) == 4 else (1,) * len(dims)
        example = (d.dim_value if d.dim_value > 0 else u for d, u in zip(dims, usual, strict=True))
        raise DynamicShapeError(
            f"{label}: input {name!r} has no size in dimension {', '.join(unknown)}",
            field=name,
            hint=f"pass --shape {name}={','.join(map(str, example))} with the sizes to assume",
        )
    sizes = tuple(dim.dim_value for dim in dims)
    if bounded_product(sizes) > MAX_ELEMENTS:
        raise ModelFileError(f"{label}: input {name!r} has an impossible shape", got=str(sizes))


def _forget_shapes(graph: onnx.GraphProto) -> None:
    """Drop inferred shapes that an input's new size may contradict."""
    del graph.value_info[:]
    for output in graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
