"""Values of a model's inputs in NumPy files: checked before anything is measured."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import InputFileError
from latprof.graph.input_values.input_rules import InputRule
from latprof.profilers.runtimes.model_inputs import MAX_INPUT_BYTES, parsed

if TYPE_CHECKING:
    import onnx

_MAGIC = b"\x93NUMPY"
#: What NumPy's own files cannot hold, and in which of its types they hold it.
_HELD_AS = {"bfloat16": "float32"}


@dataclass(frozen=True)
class InputFile:
    """A NumPy file for the input ``name``: the array's shape and dtype, and the rule to use it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rule: InputRule

    def shape_for(self, value: onnx.ValueInfoProto, model: Path) -> tuple[int, ...] | None:
        """The shape that an input gets from the file; None where it has one, or is no tensor."""
        if not value.type.HasField("tensor_type"):
            return None
        dims = value.type.tensor_type.shape.dim
        has_shape = value.type.tensor_type.HasField("shape")
        if has_shape and len(dims) != len(self.shape):
            raise self._misfit(model, "another number of dimensions", str(len(dims)))
        # As where shapes are fixed: a size below 0 is none, nor is 0 that of the batch.
        told = (dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
        fixed = [None if size < (index == 0) else size for index, size in enumerate(told)]
        if has_shape and None not in fixed:
            return None
        pairs = zip(fixed, self.shape, strict=False)
        if any(size not in (None, own) for size, own in pairs):
            raise self._misfit(
                model, "another shape", ",".join("any" if s is None else str(s) for s in fixed)
            )
        return self.shape

    def check(self, value: onnx.ValueInfoProto, model: Path) -> None:
        """Raise InputFileError unless the array is what the input of fixed shape takes."""
        from onnx import helper

        is_tensor = value.type.HasField("tensor_type")
        if not is_tensor and not value.type.HasField("sequence_type"):
            raise self._misfit(model, "a type that no file gives", "a tensor or a sequence of them")
        tensor = (
            value.type.tensor_type if is_tensor else value.type.sequence_type.elem_type.tensor_type
        )
        if tensor.elem_type not in helper.get_all_tensor_dtypes():
            raise self._misfit(model, "a type that no file gives", "a tensor of numbers or text")
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        is_text = dtype.kind == "O"
        wanted = "text" if is_text else _HELD_AS.get(dtype.name, dtype.name)
        fits = self.dtype.kind == "U" if is_text else self.dtype.newbyteorder("=").name == wanted
        if not fits:
            raise self._misfit(model, "another dtype", wanted, str(self.dtype))
        if is_tensor:
            sizes = tuple(dim.dim_value for dim in tensor.shape.dim)
            if sizes != self.shape:
                raise self._misfit(model, "another shape", ",".join(map(str, sizes)))
        elif not self.shape:
            raise self._misfit(model, "no dimension", "a sequence's entries along the first")

    def _misfit(
        self, model: Path, what: str, expected: str, got: str | None = None
    ) -> InputFileError:
        return InputFileError(
            f"{self.rule.path} does not fit the input {self.name!r} of {model}: it has {what}",
            field="input",
            expected=expected,
            got=",".join(map(str, self.shape)) if got is None else got,
        )


def read_input(path: str | os.PathLike[str], name: str) -> InputFile:
    """Read a NumPy file; raises InputFileError for anything else, and for what is too large.

    Arrays of Python objects are not read: their file is a pickle.
    """
    file = Path(path)
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputFileError(f"{file} is not a regular file", expected="a .npy file")
        if status.st_size > MAX_INPUT_BYTES:
            most = f"at most {MAX_INPUT_BYTES} bytes"
            raise InputFileError(f"{file} is too large", expected=most)
        content = file.read_bytes()
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputFileError(f"cannot read {file}: {reason}", field="input") from None
    if not content.startswith(_MAGIC):
        raise InputFileError(f"{file} is not a NumPy file", expected="what numpy.save writes")
    try:
        values = parsed(content)
    except Exception as error:  # noqa: BLE001 - numpy's parser of headers raises several types
        raise InputFileError(
            f"{file} cannot be read: {' '.join(str(error).split())[:200]}",
            expected="an array of numbers or text as numpy.save writes it, without pickles",
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    rule = InputRule("file", path=str(file.resolve()), digest=digest)
    return InputFile(name, values.shape, values.dtype, rule)
