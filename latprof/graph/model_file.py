"""ONNX files from outside: read within limits, checked, put in order, never trusted.

Whatever is wrong with a file ends in one ModelFileError. Weights kept in other files are not opened
here, and a model's own functions are written out in its graph only when they stay small.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import onnx

from latprof.errors import ModelFileError

#: A serialised model, or where its file is: what is no bytes is a path.
ModelSource: TypeAlias = bytes | str | os.PathLike[str]

#: Largest file that is read: what a protobuf message can hold.
MAX_FILE_BYTES = 2**31 - 1
#: Largest number of nodes, with the model's own functions written out.
MAX_NODES = 100_000
_CHUNK_BYTES = 1 << 20
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
    path = Path(source)
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ModelFileError(f"no such file: {path}", hint="check the path") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if stat.S_ISDIR(status.st_mode):
        raise ModelFileError(f"{path} is a directory", expected="an ONNX file")
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError(f"{path} is not a regular file", expected="an ONNX file")
    if status.st_size == 0:
        raise ModelFileError(f"{path} is empty", expected="an ONNX file")
    if status.st_size > MAX_FILE_BYTES:
        raise ModelFileError(
            f"{path} is too large",
            expected=f"at most {MAX_FILE_BYTES} bytes",
            got=str(status.st_size),
            hint="save the weights as external data",
        )
    return path


def read_model(source: ModelSource | onnx.ModelProto) -> onnx.ModelProto:
    """Parse a model and check that it is one; the result is the caller's own.

    Its nodes are sorted so that each follows what it reads, and local functions are written out.
    External weights are not loaded. Raises ModelFileError for everything that is no usable model.
    """
    label = "the model"
    model = onnx.ModelProto()
    if isinstance(source, onnx.ModelProto):
        model.CopyFrom(source)
    else:
        if isinstance(source, bytes):
            data = source
        else:
            label = os.fspath(source)
            path = check_readable(source)
            try:
                data = path.read_bytes()
            except (OSError, MemoryError) as error:
                raise _unreadable(path, error) from None
        try:
            model.ParseFromString(data)
        except Exception:  # noqa: BLE001 - protobuf's own errors, and those of bad text
            raise _not_onnx(label) from None
    _check_parts(model, label)
    if model.functions:
        model = _with_functions_inlined(model, label)
    _sort_nodes(model.graph, label)
    return model


def without_data(model: onnx.ModelProto, *, keep_elements: int = 1024) -> None:
    """Drop the values of large initialisers in place; their names, types and shapes stay.

    Shapes are all that is read of weights, and inference copies what the model holds.
    """
    for tensor in model.graph.initializer:
        elements = 1
        for dim in tensor.dims:
            elements *= dim
        if elements > keep_elements or tensor.data_location == onnx.TensorProto.EXTERNAL:
            for name in (*_DATA_FIELDS, "external_data", "data_location"):
                tensor.ClearField(name)


def graph_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs that a caller has to give: those that are not initialisers as well."""
    initial = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in initial]


def _unreadable(path: Path, error: Exception) -> ModelFileError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    shown = str(path).replace("\0", "\\0")
    return ModelFileError(f"cannot read {shown}: {reason}")


def _not_onnx(label: str) -> ModelFileError:
    return ModelFileError(
        f"{label} is not an ONNX model, or is truncated",
        hint="export it again, for example with torch.onnx.export",
    )


def _check_parts(model: onnx.ModelProto, label: str) -> None:
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise _not_onnx(label)
    if not model.opset_import:
        raise ModelFileError(f"{label} names no operator set (opset_import); it may be truncated")
    if not model.graph.node:
        raise ModelFileError(f"{label} has no operators")
    if len(model.graph.node) > MAX_NODES:
        raise _too_many_nodes(label)
    if not graph_inputs(model.graph):
        raise ModelFileError(f"{label} has no inputs")
    for node in model.graph.node:
        if not node.op_type:
            raise ModelFileError(f"{label} has a node without an operator type")
    if not all(isinstance(name, str) for name in _names(model)):  # protobuf gives bytes then
        raise ModelFileError(f"{label} holds names that are no text; it may be damaged")


def _names(model: onnx.ModelProto) -> Iterator[object]:
    """Every name in a model that is read later."""
    graph = model.graph
    yield graph.name
    yield from (tensor.name for tensor in graph.initializer)
    yield from (opset.domain for opset in model.opset_import)
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for node in (*all_nodes(graph.node), *(n for f in model.functions for n in f.node)):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _too_many_nodes(label: str) -> ModelFileError:
    return ModelFileError(f"{label} has too many operators", expected=f"at most {MAX_NODES}")


def all_nodes(nodes: object) -> Iterator[onnx.NodeProto]:
    """Nodes with those of their subgraphs, depth first."""
    for node in nodes:  # type: ignore[attr-defined]
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from all_nodes(graph.node)


def _with_functions_inlined(model: onnx.ModelProto, label: str) -> onnx.ModelProto:
    """Write local functions out, unless they call themselves or would explode."""
    from onnx import inliner

    bodies = {(f.domain, f.name): Counter(_calls(f.node)) for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(key: tuple[str, str], depth: int) -> int:
        if key not in bodies:
            return 1
        if depth > len(bodies):
            raise ModelFileError(f"{label} has a function that calls itself: {key[1]}")
        if key not in sizes:
            sizes[key] = sum(count * size(k, depth + 1) for k, count in bodies[key].items())
        return sizes[key]

    if len(bodies) > 900:  # deeper calls than Python's stack holds
        raise ModelFileError(f"{label} has too many functions", expected="at most 900")
    if sum(size(key, 0) for key in _calls(model.graph.node)) > MAX_NODES:
        raise _too_many_nodes(label)
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # noqa: BLE001 - the C++ side raises several unrelated types
        raise ModelFileError(f"{label} has functions that cannot be written out: {error}") from None


def _calls(nodes: object) -> list[tuple[str, str]]:
    return [(node.domain, node.op_type) for node in all_nodes(nodes)]


def _sort_nodes(graph: onnx.GraphProto, label: str) -> None:
    """Sort nodes so that each follows what it reads, changing as little as possible."""
    nodes = list(graph.node)
    producer: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in producer:
                raise ModelFileError(f"{label}: two operators write the value {name!r}")
            producer[name] = index
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    given |= {tensor.values.name for tensor in graph.sparse_initializer}
    reads = [[name for name in _read_names(node) if name not in given] for node in nodes]
    for index, names in enumerate(reads):
        for name in names:
            if name not in producer and name in nodes[index].input:
                raise ModelFileError(
                    f"{label}: {_label(nodes[index])} reads {name!r}, which nothing produces"
                )
    order = _topological_order([{producer[n] for n in names if n in producer} for names in reads])
    if len(order) < len(nodes):
        stuck = next(i for i in range(len(nodes)) if i not in set(order))
        raise ModelFileError(f"{label}: the graph has a cycle through {_label(nodes[stuck])}")
    if order != list(range(len(nodes))):
        ordered = [nodes[index] for index in order]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
        del graph.node[:]
        graph.node.extend(copies)


def _read_names(node: onnx.NodeProto) -> list[str]:
    """Names a node reads, those its subgraphs take from outside included."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in all_nodes(graph.node):
                names += [name for name in inner.input if name]
    return names


def _topological_order(needs: list[set[int]]) -> list[int]:
    """Indices so that ``needs`` come first, the lowest free one next; cycles are left out."""
    waiting = [len(need) for need in needs]
    readers: list[list[int]] = [[] for _ in needs]
    for index, need in enumerate(needs):
        for earlier in need:
            readers[earlier].append(index)
    free = [index for index, count in enumerate(waiting) if count == 0]
    order = []
    while free:
        index = heapq.heappop(free)
        order.append(index)
        for reader in readers[index]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(free, reader)
    return order


def node_name(node: onnx.NodeProto) -> str:
    """A node's name, or one made of its output's, or its type."""
    return str(node.name or next(filter(None, node.output), node.op_type))


def _label(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name!r}" if node.name else node.op_type
