"""What the names in a pickle of plain data stand for: NumPy's numbers and arrays, dictionaries.

Nothing is imported or called by the name that a file gives; each known name has a role here. What
these functions look at may be huge, or a tuple that holds itself many times over, and stand in the
file a million times: so types and lengths are checked before anything else, and all that is copied
is charged to one budget.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

#: What a file may name, by the role it plays here.
GLOBALS = {
    ("numpy.core.multiarray", "scalar"): "scalar",
    ("numpy._core.multiarray", "scalar"): "scalar",
    ("numpy.core.multiarray", "_reconstruct"): "array",
    ("numpy._core.multiarray", "_reconstruct"): "array",
    ("numpy", "ndarray"): "array type",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "bytes",
    ("builtins", "bytes"): "bytes",
    ("collections", "OrderedDict"): "dict",
}
TENSOR_MODULES = frozenset({"torch", "torch._utils", "torch.storage", "torch.nn.parameter"})
#: NumPy's spelling of a number's type, and that of :mod:`struct`; O is any object.
_NAMES = ("b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "O", "O4", "O8")
_FORMATS = dict(zip(_NAMES, "?bBhHiIqQefdOOO", strict=True))
_ANY = "O"
#: Bytes, or entries of arrays, that a file may have copied.
_MAX_COPIED = 64 << 20
_MAX_ENTRIES = 4 << 20


class Refused(Exception):  # noqa: N818 - never leaves the package; users get a DataSetError
    """The pickle holds something that is not read here, or is malformed."""


@dataclass(eq=False)
class Role:
    """A name that the file may use, standing in for what it names."""

    role: str


@dataclass(eq=False)
class Dtype:
    """The type of a NumPy number: its format for struct, and its byte order."""

    format: str
    order: str = "<"


class Array(list[Any]):
    """A NumPy array of one dimension, as a list; empty until its state is read."""


class Maker:
    """Makes the values that a file names, within a budget."""

    def __init__(self) -> None:
        self._copied = 0
        self._entries = 0

    def make(self, role: str, arguments: tuple[Any, ...]) -> Any:
        """Make what a function of this role returns; raises Refused or TypeError."""
        if len(arguments) > 3:
            raise Refused("it is damaged")
        if role == "encode":
            return self._encode(*arguments)
        if role == "dtype":
            return self._dtype(*arguments)
        if role == "scalar":
            return self._scalar(*arguments)
        if role == "array":
            return Array()
        if role in {"dict", "bytes"} and not arguments:  # empty, both of them
            return {} if role == "dict" else b""
        raise Refused("it is damaged")

    def _encode(self, text: str, encoding: str = "latin1") -> bytes:
        if type(text) is not str or type(encoding) is not str or len(encoding) > 8:
            raise Refused("bytes are not written as they should be")
        if encoding not in {"latin1", "latin-1"}:
            raise Refused("bytes are not written as they should be")
        self._copied += len(text)
        if self._copied > _MAX_COPIED:
            raise Refused("it holds too much")
        return text.encode("latin-1")

    @staticmethod
    def _dtype(spelling: str, _align: object = None, _copy: object = None) -> Dtype:
        if type(spelling) is not str or len(spelling) > 4:
            raise Refused("the type of a NumPy number is malformed")
        order = spelling[:1] if spelling[:1] in {"<", ">"} else "<"
        form = _FORMATS.get(spelling.lstrip("<>|="))
        if form is None:
            raise Refused(f"NumPy type {spelling!r} is not one of numbers")
        return Dtype(form, order)

    @staticmethod
    def _scalar(dtype: Dtype, content: bytes | str) -> Any:
        if type(dtype) is not Dtype or dtype.format == _ANY:
            raise Refused("a NumPy number is malformed")
        if type(content) not in {bytes, str} or len(content) > 8:
            raise Refused("a NumPy number is malformed")
        raw = content.encode("latin-1") if isinstance(content, str) else content
        (value,) = struct.unpack(dtype.order + dtype.format, raw)
        return value

    def build(self, target: Any, state: Any) -> None:
        """Give an object its state; raises Refused for any but a type or an array of NumPy."""
        if type(state) is not tuple or len(state) < 2:
            raise Refused("it holds an object that is not plain data")
        if type(target) is Dtype:
            if type(state[1]) is not str or state[1] not in {"<", ">", "|", "="}:
                raise Refused("the type of a NumPy number is malformed")
            target.order = ">" if state[1] == ">" else "<"
        elif type(target) is Array and not target:
            self._fill(target, state)
        else:
            raise Refused("it holds an object that is not plain data")

    def _fill(self, target: Array, state: tuple[Any, ...]) -> None:
        if len(state) != 5:
            raise Refused("it holds an array that is malformed")
        _version, shape, dtype, _fortran, raw = state
        if type(shape) is not tuple or len(shape) != 1 or type(shape[0]) is not int:
            raise Refused("it holds an array that is not of one dimension")
        if type(dtype) is not Dtype or shape[0] < 0:
            raise Refused("it holds an array that is malformed")
        self._entries += shape[0]
        if self._entries > _MAX_ENTRIES:
            raise Refused("its arrays hold too much")
        if dtype.format == _ANY:
            if type(raw) is not list or len(raw) != shape[0]:
                raise Refused("it holds an array that is malformed")
            target.extend(raw)
            return
        size = struct.calcsize(dtype.order + dtype.format)
        if type(raw) is not bytes or len(raw) != shape[0] * size:
            raise Refused("it holds an array that is malformed")
        target.extend(struct.unpack(f"{dtype.order}{shape[0]}{dtype.format}", raw))
