"""Models that were converted for a runtime, kept for the next visit in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.common.files import cache_folder, write_atomically
from latprof.errors import DiskFullError, OutputPathError
from latprof.graph.convert.to_tflite import converter_version, is_tflite, tflite_bytes
from latprof.graph.reader import model_bytes

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource

#: Converted models of one kind that are kept, in bytes; the longest unused go first.
MOST_BYTES = 4 << 30
#: A folder of thousands of small files is looked through when so much of this has been written, and
#: first of all.
_LOOKS = 64
_written: dict[Path, int] = {}


def kept_model(
    model: ModelSource, kind: str, version: str, convert: Callable[[bytes], bytes]
) -> bytes:
    """Return ``convert(model)``, made now or before.

    Results lie in the user's cache folder (:func:`latprof.common.files.cache_folder`) under the
    digest of the model's content, its external weights included, and of ``version``; at most 4 GiB
    of each kind. Where they cannot be written they are made each time.

    Parameters
    ----------
    model : bytes or path
        An ONNX model.
    kind : str
        What it becomes; names a folder.
    version : str
        Of all that makes the result.
    convert : callable
        Takes and returns serialised models.

    Raises
    ------
    ModelFileError
        For a file that is no ONNX model, and DynamicShapeError for one without fixed shapes.
    """
    content = model if isinstance(model, bytes) else model_bytes(model)
    digest = hashlib.sha256(hashlib.sha256(content).digest() + version.encode())
    path = cache_folder(kind) / digest.hexdigest()
    try:
        converted = path.read_bytes()
    except OSError:
        converted = convert(content)
        _keep(path, converted)
    else:
        with contextlib.suppress(OSError):
            os.utime(path)  # the longest unused are removed first
    return converted


def whole_tflite(model: ModelSource) -> bytes:
    """A TFLite file as it is, or an ONNX model converted; raises as a profiler's ``load``."""
    if is_tflite(model):
        return model if isinstance(model, bytes) else Path(model).read_bytes()
    return kept_model(model, "tflite", converter_version(), tflite_bytes)


def kept_by_name(name: str, kind: str, version: str) -> bytes | None:
    """What :func:`keep_by_name` kept of a thing that is made from its name alone; None without."""
    path = cache_folder(kind) / _digest(name, version)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return content


def keep_by_name(name: str, kind: str, version: str, content: bytes) -> None:
    """Keep a file under its name; at most 4 GiB of each kind, and nothing where it cannot be."""
    _keep(cache_folder(kind) / _digest(name, version), content)


def _digest(name: str, version: str) -> str:
    return hashlib.sha256(f"{version}\n{name}".encode()).hexdigest()


def _keep(path: Path, converted: bytes) -> None:
    """Write a model into its folder, and remove what is too much there."""
    with contextlib.suppress(OSError, OutputPathError, DiskFullError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, converted)
        written = _written.get(path.parent, MOST_BYTES) + len(converted)
        _written[path.parent] = written if written <= MOST_BYTES // _LOOKS else 0
        if _written[path.parent]:
            return
        files = [(s.st_mtime, s.st_size, f) for f in path.parent.iterdir() for s in [f.stat()]]
        excess = sum(size for _, size, _ in files) - MOST_BYTES
        for _, size, file in sorted(files):
            if excess <= 0:
                break
            file.unlink(missing_ok=True)
            excess -= size
