"""ONNX files from outside: read within limits, checked, put in order, never trusted.

Whatever is wrong with a file ends in one ModelFileError. Weights kept in other files are not opened
here, and a model's own functions are written out in its graph only when they stay small.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import onnx

from latprof.common.files import path_text
from latprof.errors import LatprofError, ModelFileError, UnknownCostsError
from latprof.graph.guarded.inference import inlined
from latprof.graph.guarded.wire import (
    MAX_OUTLINE_BYTES,
    FileBytes,
    Malformed,
    TooLarge,
    outline,
)
from latprof.graph.node_order import sort_nodes
from latprof.graph.plain_nodes import PlainNode, all_nodes, plain_nodes, with_inner
from latprof.graph.work.handlers import handler_of

#: A serialised model, or where its file is: what is no bytes is a path.
ModelSource: TypeAlias = bytes | str | os.PathLike[str]

#: Largest file that is read: what a protobuf message can hold.
MAX_FILE_BYTES = 2**31 - 1
#: Largest number of nodes, with those of subgraphs and the model's own functions written out.
MAX_NODES = 50_000
#: Most names of values that the nodes read and write together.
MAX_LINKS = 500_000
#: Most dimensions of a tensor; NumPy has 64.
MAX_DIMENSIONS = 64
#: Largest number of elements of one tensor that is taken seriously.
MAX_ELEMENTS = 2**40
_A_FILE, _CHECK = "an ONNX file, or for LiteRT a .tflite file", "check the path"
_CHUNK_BYTES = 1 << 20
_REALS = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE})
#: Bounds, exponents and scales of images are no more values than this.
_FEW = 16
#: Domains all of whose operators are a runtime's own, and how the others of ONNX Runtime's begin.
_STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_MICROSOFT = ("com.microsoft", "com.ms.internal")
_DATA_FIELDS = (
    "raw_data",
    "float_data",
    "int32_data",
    "int64_data",
    "double_data",
    "uint64_data",
    "string_data",
)


def model_digest(source: ModelSource) -> str:
    """SHA-256 of a model's content, in hexadecimal: the key of a measured model.

    Weights in other files are not part of it. Raises ModelFileError where the file cannot be read.
    """
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    path = check_readable(source)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise _unreadable(path, error) from None
    return digest.hexdigest()


def check_readable(source: str | os.PathLike[str]) -> Path:
    """Return the path; raises ModelFileError unless it is a regular file of a size that is read.

    Devices and pipes are refused before they are opened: reading them might never end.
    """
    path = Path(path_text(source, "model"))
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ModelFileError(f"no such file: {path}", hint=_CHECK) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if stat.S_ISDIR(status.st_mode):
        raise ModelFileError(f"{path} is a directory", expected=_A_FILE, hint=_CHECK)
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError(f"{path} is not a regular file", expected=_A_FILE, hint=_CHECK)
    if status.st_size == 0:
        raise ModelFileError(f"{path} is empty", expected=_A_FILE, hint="export it again")
    if status.st_size > MAX_FILE_BYTES:
        raise ModelFileError(
            f"{path} is too large",
            expected=f"at most {MAX_FILE_BYTES} bytes",
            got=str(status.st_size),
            hint="save the weights as external data",
        )
    return path


def read_model(source: ModelSource | onnx.ModelProto, *, data: bool = True) -> onnx.ModelProto:
    """Parse a model and check that it is one; the result is the caller's own.

    As :func:`read_nodes`, which returns the graph's nodes as plain values beside it.
    """
    return read_nodes(source, data=data)[0]


def read_nodes(
    source: ModelSource | onnx.ModelProto, *, data: bool = True
) -> tuple[onnx.ModelProto, list[PlainNode]]:
    """Parse a model and check that it is one; with it the nodes of its graph.

    Its nodes are sorted so that each follows what it reads, and local functions are written out.
    External weights are not loaded. Without ``data`` large weights are left out before anything is
    parsed, and are not read from a file; their names, types and shapes stay. Raises ModelFileError
    for everything that is no usable model.
    """
    label = os.fspath(source) if isinstance(source, str | os.PathLike) else "the model"
    model = onnx.ModelProto()
    try:
        content = _content(source, label) if data else _outlined(source, label)
        if data:
            outline(content)
        model.ParseFromString(content)
    except TooLarge:
        raise _too_much(label) from None
    except LatprofError:
        raise
    except (Malformed, Exception):  # noqa: BLE001 - protobuf's own errors, and those of bad text
        raise _not_onnx(label) from None
    del content
    nodes = _checked_nodes(model, label)
    _drop_unused_functions(model)
    if model.functions:
        model = _with_functions_inlined(model, label)
        nodes = _checked_nodes(model, label)
    if sort_nodes(model.graph, nodes, label):
        nodes = plain_nodes(model.graph.node)
    return model, nodes


def check_versions(model: onnx.ModelProto, label: str) -> None:
    """Raise UnknownCostsError for a model of a newer format than the installed onnx knows."""
    own = [opset.version for opset in model.opset_import if opset.domain in {"", "ai.onnx"}]
    for what, version, known in (
        ("IR version", model.ir_version, onnx.IR_VERSION),
        ("opset", max(own, default=0), onnx.defs.onnx_opset_version()),
    ):
        if version > known:
            raise UnknownCostsError(
                f"{label} is of {what} {version}, newer than the installed onnx reads",
                expected=f"at most {known}, which onnx {onnx.__version__} knows",
                got=str(version),
                hint=f"export it with {what} {known} or lower, or update the package onnx",
            )


def without_data(
    model: onnx.ModelProto, *, keep_elements: int = 1024, keep_reals: int = 1024
) -> None:
    """Drop the values of large initialisers in place; their names, types and shapes stay.

    ``keep_elements`` are kept of whole numbers, which sizes may be, ``keep_reals`` of others.

    Shapes are all that is read of weights, and inference copies what the model holds.
    """
    for tensor in model.graph.initializer:
        real = tensor.data_type in _REALS
        if _is_large(tensor, keep_reals if real else keep_elements):
            for name in (*_DATA_FIELDS, "external_data", "data_location"):
                tensor.ClearField(name)


def light_bytes(source: ModelSource) -> bytes:
    """A model without the values of its large weights, and without remarks, which may hold paths.

    Raises as :func:`read_model`.
    """
    model = read_model(source, data=False)
    without_data(model, keep_reals=_FEW)
    for each in (model, model.graph):
        each.ClearField("doc_string")
        each.ClearField("metadata_props")
    for node in model.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    content: bytes = model.SerializeToString()
    return content


def unchanged_file(name: str, digest: str) -> Path | None:
    """The file that a model was measured from; None where it is gone, or another by now."""
    path = Path(name)
    try:
        return path if model_digest(path) == digest else None
    except ModelFileError:
        return None


def light_copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy what shape inference reads of a model: no values of large initialisers."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.functions.extend(model.functions)
    graph = model.graph
    light.graph.name = graph.name
    for field in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(light.graph, field).extend(getattr(graph, field))
    for tensor in graph.initializer:
        if _is_large(tensor, 1024):
            light.graph.initializer.add(
                name=tensor.name, data_type=tensor.data_type, dims=tensor.dims
            )
        else:
            light.graph.initializer.append(tensor)
    return light


def bounded_product(sizes: Iterable[int], most: int = MAX_ELEMENTS) -> int:
    """Product of sizes from 0; ``most`` + 1 once it is above ``most`` or a size is negative."""
    product = 1
    for size in sizes:
        product *= size
        if size < 0 or product > most:
            return most + 1
    return product


def graph_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs that a caller has to give: those that are not initialisers as well."""
    initial = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in initial]


def _is_large(tensor: onnx.TensorProto, keep_elements: int) -> bool:
    external = tensor.data_location == onnx.TensorProto.EXTERNAL
    return external or bounded_product(tensor.dims, keep_elements) > keep_elements


def _content(source: ModelSource | onnx.ModelProto, label: str) -> bytes:
    if isinstance(source, onnx.ModelProto):
        try:
            content: bytes = source.SerializeToString()
        except Exception as error:  # noqa: BLE001 - protobuf's size limit has no public type
            raise ModelFileError(f"{label} cannot be serialized: {error}") from None
        return content
    if isinstance(source, bytes):
        return source
    path = check_readable(source)
    try:
        return path.read_bytes()
    except (OSError, MemoryError) as error:
        raise _unreadable(path, error) from None


def _outlined(source: ModelSource | onnx.ModelProto, label: str) -> bytes:
    """A model without large weights, which are not read of a file."""
    if isinstance(source, onnx.ModelProto):
        source = light_copy(source)
    if isinstance(source, onnx.ModelProto | bytes):
        return outline(_content(source, label))
    path = check_readable(source)
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            return outline(FileBytes(file.fileno(), size) if size > _CHUNK_BYTES else file.read())
    except (OSError, MemoryError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> ModelFileError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    shown = str(path).replace("\0", "\\0")
    return ModelFileError(f"cannot read {shown}: {reason}")


def _not_onnx(label: str) -> ModelFileError:
    return ModelFileError(
        f"{label} is not an ONNX model, or is truncated",
        hint="export it again, for example with torch.onnx.export",
    )


def _too_much(label: str) -> ModelFileError:
    return ModelFileError(
        f"{label} holds too much besides its weights",
        expected=f"at most {MAX_NODES} operators, fewer of many attributes, and names and constants"
        " of some megabytes",
    )


def _checked_nodes(model: onnx.ModelProto, label: str) -> list[PlainNode]:
    """The graph's own nodes, after a check of all parts of the model."""
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise _not_onnx(label)
    if not model.opset_import:
        raise ModelFileError(f"{label} names no operator set (opset_import); it may be truncated")
    if not model.graph.node:
        raise ModelFileError(f"{label} has no operators")
    own = plain_nodes(model.graph.node[: MAX_NODES + 1])
    nodes = list(islice(with_inner(own), MAX_NODES + 1))
    if len(nodes) > MAX_NODES:
        raise _too_many_nodes(label)
    if sum(len(node.input) + len(node.output) for node in nodes) > MAX_LINKS:
        raise ModelFileError(
            f"{label} has operators of too many inputs and outputs",
            expected=f"at most {MAX_LINKS} of all operators together",
        )
    if len(model.graph.input) + len(model.graph.output) > MAX_NODES:
        raise ModelFileError(
            f"{label} has too many inputs and outputs", expected=f"at most {MAX_NODES}"
        )
    if not all(node.op_type for node in own):
        raise ModelFileError(f"{label} has a node without an operator type")
    if max(map(len, _all_dimensions(model.graph, nodes)), default=0) > MAX_DIMENSIONS:
        raise ModelFileError(
            f"{label} has a tensor of too many dimensions", expected=f"at most {MAX_DIMENSIONS}"
        )
    if not {str}.issuperset(map(type, _names(model, nodes))):  # protobuf gives bytes then
        raise ModelFileError(f"{label} holds names that are no text; it may be damaged")
    return own


def _all_dimensions(
    graph: onnx.GraphProto, nodes: Iterable[PlainNode]
) -> Iterator[Sequence[object]]:
    """Dimensions of every tensor that a model holds or tells of, those of subgraphs included."""
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t.dims
            yield from (tensor.dims for tensor in attribute.tensors[:])
    for each in (graph, *(body for node in nodes for body in node.bodies)):
        yield from (tensor.dims for tensor in each.initializer)
        for value in (*each.input, *each.output, *each.value_info):
            yield value.type.tensor_type.shape.dim


def _names(model: onnx.ModelProto, nodes: Sequence[PlainNode]) -> Iterator[object]:
    """Every name in a model that is read later."""
    called = (node for f in model.functions for node in with_inner(plain_nodes(f.node)))
    every = [*nodes, *called]
    for graph in (model.graph, *(body for node in every for body in node.bodies)):
        yield graph.name
        yield from (tensor.name for tensor in graph.initializer)
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield value.name
            yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output)
        yield from function.attribute
    for told in (model, *model.functions):
        yield from (opset.domain for opset in told.opset_import)
    for node in every:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _too_many_nodes(label: str) -> ModelFileError:
    return ModelFileError(f"{label} has too many operators", expected=f"at most {MAX_NODES}")


def _drop_unused_functions(model: onnx.ModelProto) -> None:
    """Drop functions in place of operators that ONNX Runtime has itself: it runs its own."""
    for position in reversed(range(len(model.functions))):
        function = model.functions[position]
        if function.domain in _STANDARD or _is_known(function.name, function.domain):
            del model.functions[position]


def _is_known(name: str, domain: str) -> bool:
    return domain.startswith(_MICROSOFT) and handler_of(name, domain) is not None


def _write_defaults(model: onnx.ModelProto, label: str) -> None:
    """Write the defaults of functions' attributes into their calls: onnx's inliner forgets them."""
    defaults = {(f.domain, f.name): f.attribute_proto for f in model.functions if f.attribute_proto}
    if not defaults:
        return
    left = MAX_OUTLINE_BYTES
    for node in all_nodes([*model.graph.node, *(n for f in model.functions for n in f.node)]):
        given = {attribute.name for attribute in node.attribute}
        missing = defaults.get((node.domain, node.op_type), ())
        more = [attribute for attribute in missing if attribute.name not in given]
        left -= sum(attribute.ByteSize() for attribute in more)
        if left < 0:
            raise _too_much(label)
        node.attribute.extend(more)


def _with_functions_inlined(model: onnx.ModelProto, label: str) -> onnx.ModelProto:
    """Write local functions out, unless they call themselves or would explode."""
    bodies = {(f.domain, f.name): Counter(_calls(f.node)) for f in model.functions}
    called = Counter(_calls(model.graph.node))
    reached: dict[tuple[str, str], Counter[tuple[str, str]]] = {}
    waiting = [*called]
    while waiting:
        key = waiting.pop()
        if key in bodies and key not in reached:
            reached[key] = bodies[key]
            waiting += bodies[key]
    try:
        order = [*TopologicalSorter(reached).static_order()]
    except CycleError as error:
        name = error.args[1][0][1]
        raise ModelFileError(f"{label} has a function that calls itself: {name}") from None
    sizes: dict[tuple[str, str], int] = {}
    for key in order:
        calls = reached[key].items() if key in reached else ((key, 1),)
        sizes[key] = min(sum(n * sizes.get(each, 1) for each, n in calls), MAX_NODES + 1)
    if sum(count * sizes.get(key, 1) for key, count in called.items()) > MAX_NODES:
        raise _too_many_nodes(label)
    _write_defaults(model, label)
    light = light_copy(model)
    weights = [*model.graph.initializer]
    content = inlined(light.SerializeToString(), label)
    try:
        outline(content)
    except TooLarge:
        raise _too_much(label) from None
    written = onnx.ModelProto.FromString(content)
    del written.graph.initializer[:]
    written.graph.initializer.extend(weights)
    return written


def _calls(nodes: Iterable[onnx.NodeProto]) -> list[tuple[str, str]]:
    return [(node.domain, node.op_type) for node in all_nodes(nodes)]


def node_name(node: onnx.NodeProto | PlainNode) -> str:
    """A node's name, or one made of its output's, or its type."""
    return str(node.name or next(filter(None, node.output), node.op_type))
