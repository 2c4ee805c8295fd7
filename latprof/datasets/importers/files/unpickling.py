"""The process that reads a pickle: from stdin, with little it may use, to JSON on stdout.

Python's unpickler calls what a file names. Here a name leads to a stand-in of this module or ends
the reading, so nothing is imported or called by a file's word, and no code of NumPy's or torch's
sees its bytes. What an operation may ask for (one alone: gigabytes) is bounded by the limits of the
process, which also opens no file. Only the standard library is imported: it is started without the
others (:mod:`latprof.datasets.importers.files.plain_pickle`).
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
from collections.abc import Callable
from typing import Any

#: What the answer may take where it is read: a value takes more memory than its characters.
_ANSWER_CHARACTERS, _ANSWER_VALUES = 256 << 20, 10_000_000
_TENSOR_MODULES = frozenset({"torch", "torch._utils", "torch.storage", "torch.nn.parameter"})
#: NumPy's spelling of a number's type, and that of :mod:`struct`.
_NAMES = ("b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")
_FORMATS = dict(zip(_NAMES, "?bBhHiIqQefd", strict=True))
_ANY = "O"


class Refused(Exception):  # noqa: N818 - an answer, and never leaves this module
    """The pickle holds something that is not read here."""


class _Name:
    """What the file gets for a name: it can be called, and nothing else."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise Refused("it holds an object that is not plain data")


class _Dtype:
    """The type of NumPy's numbers: struct's format for it, and the order of its bytes."""

    __slots__ = ("format", "order")

    def __init__(self, spelling: str, _align: object = None, _copy: object = None) -> None:
        name = spelling.lstrip("<>|=")
        self.order = ">" if spelling[:1] == ">" else "<"
        self.format = _ANY if name in {"O", "O4", "O8"} else _FORMATS.get(name, "")
        if not self.format:
            raise Refused(f"NumPy type {spelling[:20]!r} is not one of numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


class _Array(list[Any]):
    """A NumPy array of one dimension, as a list; empty until its state is read."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, _fortran, raw = state
        if len(shape) != 1:
            raise Refused("it holds an array that is not of one dimension")
        values = raw if dtype.format == _ANY else _numbers(dtype, shape[0], raw)
        if len(values) != shape[0]:
            raise Refused("it holds an array that is malformed")
        self[:] = values


def _numbers(dtype: _Dtype, count: int, content: bytes | str) -> tuple[Any, ...]:
    """The numbers of their bytes, which are text in what Python 2 wrote."""
    raw = content.encode("latin-1") if isinstance(content, str) else content
    return struct.unpack(f"{dtype.order}{count}{dtype.format}", raw)


def _scalar(dtype: _Dtype, content: bytes | str) -> Any:
    return _numbers(dtype, 1, content)[0]


def _from_buffer(content: bytes, dtype: _Dtype, shape: tuple[int, ...], *_order: object) -> _Array:
    """An array as protocol 5 has it, which Python writes unless told otherwise from 3.14 on."""
    array = _Array()
    array.__setstate__((1, shape, dtype, False, content))
    return array


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in {"latin1", "latin-1"}:
        raise Refused("bytes are not written as they should be")
    return text.encode("latin-1")


_ARRAY_TYPE = _Name(lambda: _Array())  # noqa: PLW0108 - the class itself is not handed out
_KNOWN = {
    ("numpy", "dtype"): _Name(lambda *arguments: _Dtype(*arguments)),  # noqa: PLW0108 - as above
    ("numpy", "ndarray"): _ARRAY_TYPE,
    ("_codecs", "encode"): _Name(_encode),
    ("collections", "OrderedDict"): _Name(lambda: {}),  # noqa: PIE807 - as above
    **{(module, "bytes"): _Name(lambda: b"") for module in ("builtins", "__builtin__")},
    **{
        (f"numpy.{core}.{module}", name): made
        for core in ("core", "_core")
        for module, name, made in (
            ("multiarray", "scalar", _Name(_scalar)),
            ("multiarray", "_reconstruct", _Name(lambda *_arguments: _Array())),
            ("numeric", "_frombuffer", _Name(_from_buffer)),
        )
    },
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _TENSOR_MODULES:
            raise Refused("it holds tensors, which are not supported here")
        if (module, name) not in _KNOWN:
            raise Refused(f"it names {f'{module}.{name}'[:80]!r}, which is not plain data")
        return _KNOWN[module, name]

    def persistent_load(self, _pid: Any) -> Any:
        raise Refused("it holds tensors, which are not supported here")


def plain_json(data: bytes) -> str:
    """The plain data of a pickle as JSON; raises Refused, MemoryError and what damage leads to."""
    value = _PlainUnpickler(io.BytesIO(data), encoding="latin-1").load()
    return json.dumps(_with_text_keys(value), default=_refuse)


def _with_text_keys(value: Any) -> Any:
    """A dictionary whose keys are tuples of whole numbers, with ``"4,0,3"`` in their place.

    JSON's keys are text. Only the outermost dictionary has such keys in any known file.
    """
    if not isinstance(value, dict) or not any(isinstance(key, tuple) for key in value):
        return value
    found = {}
    for key, each in value.items():
        if not isinstance(key, tuple) or not key or any(type(each) is not int for each in key):
            raise Refused("a key of its dictionary is neither text nor a tuple of whole numbers")
        found[",".join(map(str, key))] = each
    if len(found) != len(value):
        raise Refused("two keys of its dictionary are the same")
    return found


def _refuse(value: object) -> Any:
    kind = type(value).__name__.lstrip("_").lower()
    raise Refused(f"a {kind} stands where plain data should")


def answer(data: bytes) -> str:
    """``{"value": ...}`` in JSON, or ``{"refused": ...}`` with the reason."""
    try:
        text = plain_json(data)
        if len(text) <= _ANSWER_CHARACTERS and text.count(",") <= _ANSWER_VALUES:
            return f'{{"value": {text}}}'
        reason = "it holds too much"
    except Refused as error:
        reason = str(error)
    except (MemoryError, RecursionError):
        reason = "it holds too much, or too many lists in one another"
    except Exception:  # noqa: BLE001 - whatever damage leads to
        reason = "it is damaged, or no plain data"
    return json.dumps({"refused": reason})


def _limit(memory_bytes: int, cpu_s: int) -> None:
    """Bound what this process may use: memory, time, and no further file."""
    import resource

    for which, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 3),
    ):
        hard = resource.getrlimit(which)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (least, least))


if __name__ == "__main__":
    _limit(*map(int, sys.argv[1:]))
    sys.stdout.write(answer(sys.stdin.buffer.read()))
