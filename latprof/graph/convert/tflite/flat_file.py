"""TFLite files: a graph in memory as a flat buffer, its weights last.

Flat buffers are written from the end. The weights are not handed to the builder, which would copy
them several times: it writes the tables as if they stood behind already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof._version import __version__
from latprof.errors import UnsupportedModelError
from latprof.graph.convert.tflite.flat_schema import (
    FILE_IDENTIFIER,
    OPERATORS,
    OPTIONS,
    SCHEMA_VERSION,
    TYPE_CODES,
)

if TYPE_CHECKING:
    from latprof.graph.convert.tflite.flat_graph import FlatGraph, FlatOperator, FlatTensor

#: Constants start at multiples of it: what TFLite's and XNNPACK's kernels read fastest.
_ALIGNMENT = 16
_LENGTH_BYTES = 4
#: Flat buffers hold signed 32-bit distances.
_MOST_BYTES = 2**31 - 1 - (64 << 20)
_PLACEHOLDER = 127


@dataclass(frozen=True)
class WrittenModel:
    """A TFLite file and where its learnt weights lie: (first byte, number of float32 values)."""

    content: bytes
    weights: tuple[tuple[int, int], ...]


def written_model(graph: FlatGraph) -> WrittenModel:
    """Write a graph as a file; UnsupportedModelError for more than 2 GiB of constants."""
    from flatbuffers import Builder

    tail = _Tail(graph)
    builder = Builder(1 << 16)
    builder.Prep(_ALIGNMENT, 0)
    root = _Tables(builder, graph, tail).model()
    builder.Finish(root, file_identifier=FILE_IDENTIFIER)
    head = bytes(builder.Output())
    assert len(head) % _ALIGNMENT == 0
    places = tail.places.values()
    weights = [(len(head) + place, count) for place, count, learnt in places if learnt]
    return WrittenModel(b"".join([head, *tail.parts]), tuple(sorted(weights)))


class _Tail:
    """The constants behind the tables: each a length, then bytes at an aligned place."""

    def __init__(self, graph: FlatGraph) -> None:
        self.parts: list[bytes | memoryview] = []
        #: By tensor: where its bytes begin in the tail, how many values, whether they are learnt.
        self.places: dict[int, tuple[int, int, bool]] = {}
        self.size = 0
        for number, tensor in enumerate(graph.tensors):
            if tensor.data is not None:
                self._add(number, tensor)
        self._pad(-self.size % _ALIGNMENT)

    def _add(self, number: int, tensor: FlatTensor) -> None:
        values = tensor.data
        assert values is not None
        if values.dtype.byteorder == ">" or not values.flags.c_contiguous:
            values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        raw = values.reshape(-1).view(np.uint8).data
        self._pad(-(self.size + _LENGTH_BYTES) % _ALIGNMENT)
        self.parts.append(raw.nbytes.to_bytes(_LENGTH_BYTES, "little"))
        self.size += _LENGTH_BYTES
        self.places[number] = (self.size, values.size, tensor.weight)
        self.parts.append(raw)
        self.size += raw.nbytes
        if self.size > _MOST_BYTES:
            raise UnsupportedModelError("the model is too large for TFLite, which holds 2 GiB")

    def _pad(self, count: int) -> None:
        self.parts.append(bytes(count))
        self.size += count


class _Tables:
    """Everything but the constants' bytes."""

    def __init__(self, builder: Any, graph: FlatGraph, tail: _Tail) -> None:
        self._builder, self._graph, self._tail = builder, graph, tail
        self._options: dict[tuple[Any, ...], int] = {}
        self._vectors: dict[tuple[int, ...], int] = {}

    def model(self) -> int:
        graph, builder = self._graph, self._builder
        kinds = list(dict.fromkeys(operator.kind for operator in graph.operators))
        # Buffer 0 is empty by convention; it is what tensors without a constant point at.
        buffers = [self._buffer(None), *(self._buffer(number) for number in self._tail.places)]
        numbers = {number: index for index, number in enumerate(self._tail.places, start=1)}
        tensors = self._offsets(
            [self._tensor(i, t, numbers.get(i, 0)) for i, t in enumerate(graph.tensors)]
        )
        index = {kind: position for position, kind in enumerate(kinds)}
        operators = self._offsets([self._operator(o, index[o.kind]) for o in graph.operators])
        inputs, outputs = self._integers(graph.inputs), self._integers(graph.outputs)
        name, description = (
            builder.CreateString(graph.name or "main"),
            builder.CreateString(f"latprof {__version__}"),
        )
        subgraph = self._table(
            (0, "UOffsetTRelative", tensors),
            (1, "UOffsetTRelative", inputs),
            (2, "UOffsetTRelative", outputs),
            (3, "UOffsetTRelative", operators),
            (4, "UOffsetTRelative", name),
        )
        subgraphs = self._offsets([subgraph])
        codes = self._offsets([self._code(kind) for kind in kinds])
        all_buffers = self._offsets(buffers)
        return self._table(
            (0, "Uint32", SCHEMA_VERSION),
            (1, "UOffsetTRelative", codes),
            (2, "UOffsetTRelative", subgraphs),
            (3, "UOffsetTRelative", description),
            (4, "UOffsetTRelative", all_buffers),
        )

    def _buffer(self, number: int | None) -> int:
        if number is None:
            return self._table()
        # Places are counted from the end of the builder's bytes: what lies behind it is negative.
        return self._table((0, "UOffsetTRelative", _LENGTH_BYTES - self._tail.places[number][0]))

    def _tensor(self, number: int, tensor: FlatTensor, buffer: int) -> int:
        name = self._builder.CreateString(tensor.name or f"t{number}")
        return self._table(
            (0, "UOffsetTRelative", self._integers(tensor.shape)),
            (1, "Int8", TYPE_CODES[tensor.dtype.name]),
            (2, "Uint32", buffer),
            (3, "UOffsetTRelative", name),
            (8, "Bool", 1),
        )

    def _operator(self, operator: FlatOperator, index: int) -> int:
        fields: list[tuple[int, str, float]] = [
            (0, "Uint32", index),
            (1, "UOffsetTRelative", self._integers(operator.inputs)),
            (2, "UOffsetTRelative", self._integers(operator.outputs)),
        ]
        table = OPERATORS[operator.kind][2]
        if table:
            union, offset = self._options_of(table, operator.options)
            fields += [(3, "Uint8", union), (4, "UOffsetTRelative", offset)]
        return self._table(*fields)

    def _options_of(self, table: str, options: dict[str, float]) -> tuple[int, int]:
        """The number of a table of options in its union, and its place; equal ones are shared."""
        union, slots = OPTIONS[table]
        key = (table, *(options.get(name, default) for name, _, default in slots))
        if key not in self._options:
            fields = [
                (slot, kind, options[name])
                for slot, (name, kind, default) in enumerate(slots)
                if options.get(name, default) != default
            ]
            self._options[key] = self._table(*fields)
        return union, self._options[key]

    def _code(self, kind: str) -> int:
        code, version, _ = OPERATORS[kind]
        return self._table(
            (0, "Int8", min(code, _PLACEHOLDER)), (2, "Int32", version), (3, "Int32", code)
        )

    def _table(self, *fields: tuple[int, str, float]) -> int:
        builder = self._builder
        builder.StartObject(max((slot for slot, _, _ in fields), default=-1) + 1)
        for slot, kind, value in fields:
            if kind == "UOffsetTRelative":
                builder.PrependUOffsetTRelativeSlot(slot, value, None)
            else:
                getattr(builder, f"Prepend{kind}Slot")(slot, value, None)
        place: int = builder.EndObject()
        return place

    def _offsets(self, places: list[int]) -> int:
        builder = self._builder
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        vector: int = builder.EndVector()
        return vector

    def _integers(self, values: Any) -> int:
        """A vector of 32-bit integers; equal ones are shared."""
        key = tuple(values)
        if key not in self._vectors:
            self._vectors[key] = self._builder.CreateNumpyVector(np.array(key, "<i4"))
        return self._vectors[key]
