"""Static shapes: the sizes of a model's inputs fixed, and those of all its values inferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from latprof.common.limits import whole
from latprof.errors import (
    DynamicShapeError,
    InvalidValueError,
    ModelFileError,
    UnknownCostsError,
    shown,
)
from latprof.graph.guarded.inference import Allowance
from latprof.graph.inferring.rounds import (
    Inference,
    Inferred,
    Resolver,
    check_sizes,
    shapes_of,
    static_shape,
)
from latprof.graph.kept_shapes import kept_value_infos, put_claims, take_claims
from latprof.graph.model_file import MAX_ELEMENTS, bounded_product, graph_inputs, light_copy
from latprof.graph.plain_nodes import PlainNode, plain_nodes, with_inner
from latprof.graph.shape_arithmetic import Effort

if TYPE_CHECKING:
    import onnx

    from latprof.graph.operators import Shape

#: Shapes by input name; the key None stands for the model's only input.
InputShapes: TypeAlias = Mapping[str, Sequence[int]] | Mapping[str | None, Sequence[int]]

_SIZE = whole(0, MAX_ELEMENTS)
_USUAL_IMAGE = (1, 3, 224, 224)


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


def checked_shapes(shapes: InputShapes, label: str) -> dict[str | None, Shape]:
    """Shapes by input, their sizes plain numbers; raises InvalidValueError for anything else."""
    if not isinstance(shapes, Mapping):
        raise InvalidValueError(
            "`shapes` are by the names of inputs",
            field="shapes",
            expected="for example {'input': (1, 3, 224, 224)}",
            got=shown(shapes),
        )
    found: dict[str | None, Shape] = {}
    for name, shape in shapes.items():
        what = "the input" if name is None else f"input {shown(name)}"
        is_list = isinstance(shape, Sequence | np.ndarray) and not isinstance(shape, str | bytes)
        flat = is_list and getattr(shape, "ndim", 1) == 1
        known = flat and all(map(_SIZE.takes, shape))
        sizes = tuple(map(int, shape)) if known else ()
        if not known or bounded_product(sizes) > MAX_ELEMENTS:
            raise InvalidValueError(
                f"impossible shape for {what} of {label}",
                field="shape",
                expected=f"sizes of at least 0, and at most {MAX_ELEMENTS} elements",
                got=",".join(map(shown, shape)) if known else shown(shape),
            )
        found[name] = sizes
    return found


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


def infer_shapes(
    model: onnx.ModelProto,
    label: str,
    held: Sequence[onnx.ValueInfoProto] = (),
    *,
    nodes: list[PlainNode] | None = None,
    allowance: Allowance | None = None,
    resolver: Resolver | None = None,
    assume: bool = False,
) -> Inferred:
    """Infer the shape of every value of a model with static inputs.

    What the file says of values, and ``held``, which was known of them before, are used only for
    those that inference does not resolve; ``held`` is added to ``model``. With ``assume`` sizes
    that are decided as the model runs are taken as the largest that they can be. A copy of the
    model is worked on, or where its ``nodes`` are given, itself: it is of no other use then. Raises
    ModelFileError where a size is absurd, and UnknownCostsError where nothing can be inferred.
    """
    light = model
    if nodes is None:
        light = light_copy(model)
        nodes = plain_nodes(light.graph.node)
    _make_dense(light.graph, nodes)
    check_sizes(shapes_of(light.graph), label)
    claims = take_claims(light.graph, nodes)
    inference = Inference(light, nodes, label, allowance or Allowance(), Effort(), resolver)
    found = inference.resolve()
    added, believed = (
        [value for value in values if _adds(value, found)] for values in (held, claims)
    )
    if added or believed:
        if light is not model:
            model.graph.value_info.extend(added)
        put_claims(light.graph, (*added, *believed))
        found = inference.resolve()
    return inference.assuming(found) if assume else found


def _make_dense(graph: onnx.GraphProto, nodes: Sequence[PlainNode]) -> None:
    """Tell of sparse weights, those of bodies too, as of others: onnx infers nothing from them."""
    inner = (body for node in with_inner(nodes) for body in node.bodies)
    for each in (graph, *inner):
        for sparse in each.sparse_initializer:
            values = sparse.values
            each.initializer.add(name=values.name, data_type=values.data_type, dims=sparse.dims)
        each.ClearField("sparse_initializer")


def _adds(value: onnx.ValueInfoProto, found: Inferred) -> bool:
    """Whether a claim says what inference did not find."""
    known = value.name in found.shapes or static_shape(value) is not None
    return known and found.shapes.get(value.name) is None


def _by_name(shapes: InputShapes, names: list[str], label: str) -> dict[str, tuple[int, ...]]:
    """Resolve the key None and refuse names that are no inputs and impossible sizes."""
    result = {}
    if shapes and not names:
        raise InvalidValueError(f"{label} has no inputs, and so none of that shape", field="shape")
    for key, sizes in checked_shapes(shapes, label).items():
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
                f"{label} has no input {shown(name)}",
                field="shape",
                hint=f"inputs: {', '.join(names)}",
            )
        result[name] = sizes
    return result


def _set_shape(value: onnx.ValueInfoProto, sizes: Shape, label: str) -> bool:
    """Write ``sizes`` into an input; return whether that changed it."""
    tensor_type = value.type.tensor_type
    if tensor_type.HasField("shape") and len(tensor_type.shape.dim) != len(sizes):
        raise InvalidValueError(
            f"input {shown(value.name)} of {label} has another number of dimensions",
            field="shape",
            expected=str(len(tensor_type.shape.dim)),
            got=str(len(sizes)),
        )
    if static_shape(value) == sizes:
        return False
    tensor_type.shape.ClearField("dim")
    for size in sizes:
        tensor_type.shape.dim.add().dim_value = size
    return True


def _check_static(value: onnx.ValueInfoProto, label: str, *, given: bool) -> None:
    """Raise DynamicShapeError where an input has a dimension without a size.

    The batch's is none where a file says 0: exporters have written so for a batch of any size.
    """
    tensor_type = value.type.tensor_type
    name = value.name
    if not tensor_type.HasField("shape"):
        raise DynamicShapeError(
            f"{label}: input {shown(name)} has no shape",
            field=name,
            hint=f"pass --shape {name}={','.join(map(str, _USUAL_IMAGE))}",
        )
    dims = tensor_type.shape.dim
    unknown = [
        f"{index} ({shown(dim.dim_param)})" if dim.dim_param else str(index)
        for index, dim in enumerate(dims)
        if not dim.HasField("dim_value") or dim.dim_value < (index == 0 and not given)
    ]
    if unknown:
        usual = _USUAL_IMAGE if len(dims) == 4 else (1,) * len(dims)
        example = (d.dim_value if d.dim_value > 0 else u for d, u in zip(dims, usual, strict=True))
        raise DynamicShapeError(
            f"{label}: input {shown(name)} has no size in dimension {', '.join(unknown)}",
            field=name,
            hint=f"pass --shape {name}={','.join(map(str, example))} with the sizes to assume",
        )
    sizes = tuple(dim.dim_value for dim in dims)
    if bounded_product(sizes) > MAX_ELEMENTS:
        raise ModelFileError(
            f"{label}: input {shown(name)} has an impossible shape", got=shown(sizes, 200)
        )


def _forget_shapes(graph: onnx.GraphProto) -> None:
    """Drop inferred shapes that an input's new size may contradict."""
    del graph.value_info[:]
    for output in graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
