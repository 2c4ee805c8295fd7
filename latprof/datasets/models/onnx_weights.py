"""Weights in serialised ONNX models, appended without passing through protobuf."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

if TYPE_CHECKING:
    from latprof.datasets.models.weights import WeightSource

Tensor: TypeAlias = NDArray[np.float32] | NDArray[np.int64]
Piece: TypeAlias = bytes | memoryview

_GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER
_INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER
_RAW_DATA = TensorProto.RAW_DATA_FIELD_NUMBER


@dataclass(frozen=True)
class RandomTensor:
    """Random float32 values that are made when they are written.

    Parameters
    ----------
    shape : tuple of int
    deviation : float
        Standard deviation of the values, whose mean is 0.
    """

    shape: tuple[int, ...]
    deviation: float

    def pieces(self, source: WeightSource) -> Iterator[NDArray[np.float32]]:
        """The values, a bounded number at once."""
        return source.pieces(math.prod(self.shape), self.deviation)


def weight_fields(
    weights: Sequence[tuple[str, Tensor | RandomTensor]], source: WeightSource | None = None
) -> Iterator[Piece]:
    """Serialise initialisers as a piece of a model that can be appended to the rest of it.

    Protobuf merges the occurrences of an embedded message, so a serialised model followed by a
    second ``graph`` field that holds only initialisers is a model with those initialisers. Arrays
    are handed on as they are, where protobuf would copy them about five times; ``source`` makes
    the values of random tensors, in order.
    """
    heads = [_head(name, values) for name, values in weights]
    sizes = [_bytes_of(values) for _, values in weights]
    yield _field_start(_GRAPH, sum(map(len, heads)) + sum(sizes))
    for head, (_, values) in zip(heads, weights, strict=True):
        yield head
        if isinstance(values, RandomTensor):
            if source is None:
                raise TypeError("random tensors need a source")
            yield from map(_raw, values.pieces(source))
        else:
            yield _raw(values)


def total_bytes(weights: Iterable[tuple[str, Tensor | RandomTensor]]) -> int:
    """Bytes of the values of initialisers."""
    return sum(_bytes_of(values) for _, values in weights)


def element_type(values: Tensor | RandomTensor) -> int:
    """ONNX's number of a tensor's dtype."""
    whole = not isinstance(values, RandomTensor) and values.dtype.kind == "i"
    return int(TensorProto.INT64 if whole else TensorProto.FLOAT)


def _head(name: str, values: Tensor | RandomTensor) -> bytes:
    """All of an initialiser's field but its raw data."""
    size = _bytes_of(values)
    tensor = TensorProto(name=name, data_type=element_type(values), dims=values.shape)
    head: bytes = tensor.SerializeToString() + _field_start(_RAW_DATA, size)
    return _field_start(_INITIALIZER, len(head) + size) + head


def _bytes_of(values: Tensor | RandomTensor) -> int:
    if isinstance(values, RandomTensor):
        return 4 * math.prod(values.shape)
    return values.size * (8 if values.dtype.kind == "i" else 4)


def _raw(values: Tensor) -> memoryview:
    little_endian = np.ascontiguousarray(values, dtype="<i8" if values.dtype.kind == "i" else "<f4")
    return little_endian.reshape(-1).view(np.uint8).data


def _field_start(number: int, size: int) -> bytes:
    """Tag and length of a length-delimited protobuf field."""
    encoded = bytearray([number << 3 | 2])
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)
