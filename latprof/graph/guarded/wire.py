"""ONNX on the wire: a serialised model without its weights, and what reading it would take.

A file of 15 MB can become 1 GB of messages, and one of 2 GiB holds little but weights, of which
only the shapes are read. So both are settled before protobuf sees the bytes: large data is cut out,
and messages are counted. Only the standard library is imported: the guarded child uses this too.

Encoding: https://protobuf.dev/programming-guides/encoding; the field numbers are onnx.proto's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TypeAlias, overload

#: What may stand between a model's weights: nodes, names, shapes, small constants.
MAX_OUTLINE_BYTES = 64 << 20
#: What reading a model may take in memory, by :func:`read_bytes`.
MAX_READ_BYTES = 200_000_000
_COUNTED_BYTES = 1 << 20
#: Fields that are looked at while data is cut out; weights are one each.
_MAX_FIELDS = 2_000_000
#: 1,024 elements of 8 bytes are shape arithmetic; a longer field is data.
_DATA_BYTES = 16 << 10
_DESCENDED_BYTES = 4 << 10
#: What is held of messages, as measured: most of a node's is the operator that is made of it, most
#: of a value's and a tensor's what is found about it.
_HELD_BYTES, _MESSAGE_BYTES, _NUMBER_BYTES = {"node": 1840, "tensor": 800, "value": 480}, 180, 8
#: A body of an If or a Loop is copied where it is read, and once more with each that is around it.
_COPIED_BODIES = 4
_DEPTH = 100

_DATA, _DROPPED = "data", "dropped"
_TENSOR_DATA = dict.fromkeys((4, 5, 6, 7, 9, 10, 11), _DATA)
#: Fields that hold messages, by message and number; those that are data; those nobody reads.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 25: "function", 6: _DROPPED, 14: _DROPPED, 20: _DROPPED},
    "graph": dict.fromkeys((11, 12, 13), "value")
    | {1: "node", 5: "tensor", 15: "sparse", 10: _DROPPED, 14: _DROPPED, 16: _DROPPED},
    "function": {7: "node", 11: "attribute", 12: "value", 9: "opset", 8: _DROPPED, 14: _DROPPED},
    "node": {5: "attribute", 6: _DROPPED, 9: _DROPPED},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 14: "type", 15: "type"}
    | {22: "sparse", 23: "sparse", 13: _DROPPED},
    "tensor": {**_TENSOR_DATA, 12: _DROPPED, 13: "entry", 16: _DROPPED},
    "sparse": {1: "tensor", 2: "tensor"},
    "value": {2: "type", 3: _DROPPED, 4: _DROPPED},
    "type": {**dict.fromkeys((1, 4, 5, 8, 9), "type"), 2: "shape"},
    "shape": {1: "dim"},
    "dim": {},
    "entry": {},
    "opset": {},
}
#: What is read of a file at once while its fields are looked at.
_WINDOW_BYTES = 16 << 10
_VARINT_BYTES = 10
_VARINT = re.compile(rb"[\x80-\xff]{0,9}[\x00-\x7f]")


class Malformed(ValueError):  # noqa: N818 - an answer, translated by who asked
    """The bytes are no protobuf message."""


class TooLarge(ValueError):  # noqa: N818 - as above
    """The message is one, and would take too much."""


class FileBytes:
    """Bytes of an open file by position and in slices; no others are read."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size
        self._begin, self._window = 0, b""

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: int | slice) -> int | bytes:
        if isinstance(key, slice):
            begin, end = key.start - self._begin, key.stop - self._begin
            if begin >= 0 and end <= len(self._window):
                return self._window[begin:end]
            return self._read(key.start, key.stop)
        if not self._begin <= key < self._begin + len(self._window):
            self._window = self._read(key, min(key + _WINDOW_BYTES, self._size))
            self._begin = key
        return self._window[key - self._begin]

    def _read(self, begin: int, end: int) -> bytes:
        found = b""
        while len(found) < end - begin:
            more = os.pread(self._descriptor, end - begin - len(found), begin + len(found))
            if not more:  # it has become shorter
                raise Malformed
            found += more
        return found


#: What a message is read from.
Content: TypeAlias = "bytes | memoryview | FileBytes"


def outline(data: Content) -> bytes:
    """Serialise a model again without large data, documentation and training graphs.

    Tensors keep names, types, dims and where external data lies. Raises Malformed, and TooLarge
    where what is left is more than a model's structure needs.
    """
    view = data if isinstance(data, FileBytes) else memoryview(data)
    left = _without_data(view, 0, len(view), "model", _DEPTH, [_MAX_FIELDS])
    if len(left) > MAX_OUTLINE_BYTES:
        raise TooLarge
    if len(left) > _COUNTED_BYTES and read_bytes(left) > MAX_READ_BYTES:
        raise TooLarge
    return left


def read_bytes(data: bytes) -> int:
    """Bytes of memory that reading a model takes, roughly; counting stops beyond the limit."""
    return _counted(data, 0, len(data), "model", _DEPTH, 0)


def inferred_values(data: bytes) -> bytes:
    """Return a model with nothing but its graph's inputs, outputs and other values."""
    parts = []
    for number, kind, _, first, end in fields(data, 0, len(data)):
        if (number, kind) == (7, 2):
            parts += [
                data[begin:stop]
                for n, _, begin, _, stop in fields(data, first, end)
                if n in {11, 12, 13}
            ]
    return b"".join((b"\x3a", _varint(sum(map(len, parts))), *parts))


def fields(data: Content, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Number, wire type, start, start of the content and end of each field of a message."""
    position = start
    while position < end:
        begin = position
        tag, position = _read(data, position, end)
        kind = tag & 7
        if kind == 2:
            length, position = _read(data, position, end)
            stop = position + length
        elif kind == 0:
            _, stop = _read(data, position, end)
        elif kind in {1, 5}:
            stop = position + (8 if kind == 1 else 4)
        else:
            raise Malformed
        if stop > end or not tag >> 3:
            raise Malformed
        yield tag >> 3, kind, begin, position, stop
        position = stop


def _read(data: Content, position: int, end: int) -> tuple[int, int]:
    if position >= end:
        raise Malformed
    first = data[position]
    if first < 0x80:
        return first, position + 1
    found = _VARINT.match(data[position : min(position + _VARINT_BYTES, end)])
    if found is None:
        raise Malformed
    value = 0
    for byte in reversed(found[0]):
        value = value << 7 | (byte & 0x7F)
    return value & (2**64 - 1), position + found.end()


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*result, value))


def _without_data(
    view: memoryview | FileBytes, start: int, end: int, message: str, depth: int, left: list[int]
) -> bytes:
    """The message in this range; ``left`` holds how many more fields may be looked at."""
    if not depth:
        raise Malformed
    known, copied = _FIELDS[message], start
    parts: list[bytes | memoryview] = []
    for number, kind, begin, first, stop in fields(view, start, end):
        left[0] -= 1
        if not left[0]:
            raise TooLarge
        what = known.get(number) if kind == 2 else None
        if what is None:
            continue
        if what == _DROPPED or (what == _DATA and stop - first > _DATA_BYTES):
            if copied < begin:
                parts.append(view[copied:begin])
            copied = stop
        elif what != _DATA and stop - first > _DESCENDED_BYTES:
            less = _without_data(view, first, stop, what, depth - 1, left)
            if len(less) < stop - first:
                tag = _varint(number << 3 | 2)
                parts += [view[copied:begin], tag, _varint(len(less)), less]
                copied = stop
    parts.append(view[copied:end])
    return b"".join(parts)


def _counted(
    data: bytes, start: int, end: int, message: str, depth: int, total: int, *, bodies: int = 0
) -> int:
    """``total`` with what a message takes, its own messages included, within so many bodies."""
    if not depth:
        raise Malformed
    known, times = _FIELDS[message], 1 + min(bodies, _COPIED_BODIES) / 2
    total += int(times * _HELD_BYTES.get(message, _MESSAGE_BYTES))
    for number, kind, _, first, stop in fields(data, start, end):
        what = known.get(number) if kind == 2 else None
        if what is not None and what not in {_DATA, _DROPPED}:
            inside = bodies + (what == "graph" and message == "attribute")
            total = _counted(data, first, stop, what, depth - 1, total, bodies=inside)
        else:  # a number, a text, or packed numbers of one byte and more each
            packed = message in {"attribute", "tensor"}
            length = (stop - first) * (kind == 2)
            taken = _NUMBER_BYTES * max(length, 2) if packed else 2 * (_NUMBER_BYTES + length)
            total += int(times * taken)
        if total > MAX_READ_BYTES:
            return total
    return total
