"""Weights outside a model's file: read from the model's own folder, and from nowhere else.

A model names the files of its weights, so a model from outside can name any file. Nothing is opened
through a symbolic link, and no file that has a second name (a hard link), which may be outside.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import onnx
from onnx import TensorProto, helper

from latprof.errors import ModelFileError
from latprof.graph.model_file import MAX_FILE_BYTES, bounded_product, read_model
from latprof.graph.plain_nodes import all_nodes

#: In a location it tells ONNX Runtime that the values lie in memory, at the offset as an address.
_IN_MEMORY = "_ORT_MEM_ADDR_"
_LINK_HINT = "put a copy of the file, and no link, beside the model"


def external_tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor of a model whose values are in another file, wherever it stands."""
    nodes = [
        *all_nodes(model.graph.node),
        *(node for function in model.functions for node in all_nodes(function.node)),
    ]
    attributes = [attribute for node in nodes for attribute in node.attribute]
    graphs = [model.graph, *(g for a in attributes for g in (a.g, *a.graphs))]
    sparse = [s for g in graphs for s in g.sparse_initializer]
    sparse += [s for a in attributes for s in (a.sparse_tensor, *a.sparse_tensors)]
    tensors = [t for g in graphs for t in g.initializer]
    tensors += [t for a in attributes for t in (a.t, *a.tensors)]
    for tensor in (*tensors, *(t for s in sparse for t in (s.values, s.indices))):
        if tensor.data_location == TensorProto.EXTERNAL:
            yield tensor


def load_external_data(model: onnx.ModelProto, folder: Path | None, label: str) -> None:
    """Read the external values of ``model`` from its ``folder`` into it.

    A model that is no file has no folder (None), and no such values.

    Raises ModelFileError where a file is missing, lies elsewhere, or is too short, and where the
    whole is larger than a model may be.
    """
    total = 0
    for tensor in external_tensors(model):
        with _opened(tensor, folder, label) as (file, offset, length):
            total += length
            if total > MAX_FILE_BYTES:
                raise _refused(label, tensor, f"all weights take more than {MAX_FILE_BYTES} bytes")
            content = os.pread(file, length, offset)
            while len(content) < length:
                piece = os.pread(file, length - len(content), offset + len(content))
                if not piece:
                    raise _refused(label, tensor, "the file ended while it was read")
                content += piece
        tensor.raw_data = content
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")


def check_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Raise ModelFileError unless the external weights of the ``model`` at ``path`` may be read.

    For a file that a runtime opens by itself, which follows links.
    """
    for tensor in external_tensors(model):
        with _opened(tensor, path.parent, os.fspath(path)):
            pass


def self_contained(path: Path) -> bytes:
    """The content of a model's file, with the weights of other files inside where it has some.

    Raises ModelFileError as :func:`load_external_data`, and for what is larger than 2 GiB.
    """
    if not any(external_tensors(read_model(path, data=False))):
        return path.read_bytes()
    model = read_model(path)
    load_external_data(model, path.parent, os.fspath(path))
    try:
        content: bytes = model.SerializeToString()
    except Exception as error:  # noqa: BLE001 - protobuf's size limit has no public type
        raise ModelFileError(f"{path} cannot be serialized: {error}") from None
    return content


@contextmanager
def _opened(tensor: TensorProto, folder: Path | None, label: str) -> Iterator[tuple[int, int, int]]:
    """Descriptor of a tensor's file, the offset of its values and their length in bytes."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    parts = _parts(entries.get("location", ""))
    if not parts or folder is None:
        raise _refused(label, tensor, "no file of the model's folder is named")
    try:
        file = _open_inside(folder, parts)
    except (OSError, ValueError) as error:
        is_link = getattr(error, "errno", None) in {errno.ELOOP, errno.ENOTDIR}
        reason = "a symbolic link" if is_link else getattr(error, "strerror", None) or str(error)
        shown = "/".join(parts)[:200]
        raise _refused(label, tensor, f"{shown!r}: {reason}", _LINK_HINT) from None
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise _refused(label, tensor, "it is not a regular file")
        if status.st_nlink != 1:
            raise _refused(label, tensor, "the file has a second name (a hard link)", _LINK_HINT)
        yield (file, *_extent(tensor, entries, status.st_size, label))
    finally:
        os.close(file)


def _parts(location: object) -> tuple[str, ...]:
    """Folders and name of a relative path that stays inside; nothing for another."""
    if not isinstance(location, str) or not location or "\0" in location or "\\" in location:
        return ()
    path = PurePosixPath(location)
    outside = path.is_absolute() or ".." in path.parts or _IN_MEMORY in path.parts
    return () if outside else path.parts


def _open_inside(folder: Path, parts: tuple[str, ...]) -> int:
    """Open a file step by step from ``folder``, following no link on the way."""
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(part, flags, dir_fd=at)
            os.close(at)
            at = below
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(parts[-1], flags, dir_fd=at)
    finally:
        os.close(at)


def _extent(
    tensor: TensorProto, entries: dict[str, str], file_bytes: int, label: str
) -> tuple[int, int]:
    """Offset and length of a tensor's values, inside the file."""
    try:
        itemsize = int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
        offset = _number(entries.get("offset"), 0)
        length = _number(entries.get("length"), itemsize * bounded_product(tensor.dims))
    except (KeyError, ValueError, TypeError):
        raise _refused(label, tensor, "its type, offset or length makes no sense") from None
    if offset + length > file_bytes:
        raise _refused(label, tensor, "the file is too short")
    return offset, length


def _number(text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(text)
    return int(text)


def _refused(label: str, tensor: TensorProto, why: str, hint: str | None = None) -> ModelFileError:
    name = str(tensor.name)[:100]
    return ModelFileError(f"{label}: external weights cannot be read: {name!r}: {why}", hint=hint)
