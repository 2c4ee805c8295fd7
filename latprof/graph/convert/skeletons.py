r"""Skeletons: model files without their random weights, and what fills them again.

A network of a search space has random weights, and how long it runs does not depend on which. A
skeleton leaves them out and says how to make others of the same size and scale, so that tens of
kilobytes travel to a phone where the file has tens of megabytes. It knows nothing of the file's
format: TFLite and ONNX files have skeletons alike.

Format, version 1. All numbers are little-endian; sizes are bytes unless said otherwise::

    0    8 bytes   "LATPSKL1"
    8    u64       size of the model file
    16   u32       number n of fills
    20   u32       CRC-32 (zlib) of everything from byte 24 to the end of the skeleton
    24   n x 24    fills, in the order of their places, apart from each other and inside the file:
                   u64 first byte in the file, u64 number of float32 values,
                   f32 scale (finite, above 0), u32 seed
    ...  the rest  all bytes of the file that no fill covers, in order

The values of a fill are float32, little-endian. Value number i, from 0, in arithmetic of unsigned
32-bit numbers (they wrap around) is, in C::

    uint32_t h = seed + i * 0x9E3779B9u;
    h ^= h >> 16;  h *= 0x85EBCA6Bu;  h ^= h >> 13;  h *= 0xC2B2AE35u;  h ^= h >> 16;
    float value = (float)((int32_t)(h >> 8) - 8388608) * 0x1p-23f * scale;

That is uniform in [-scale, scale). The first product is exact and the second rounds once, so every
processor makes the same bits (the mixing of bits is the finaliser of MurmurHash3, Appleby 2011).
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latprof.errors import InvalidValueError, ModelFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = b"LATPSKL1"
#: Constants of fewer values stay in a skeleton.
LEAST_FILLED = 64
#: The seeds of two skeletons' weights are so far apart.
SEEDS_APART = 0x9E3779B1
_HEAD = struct.Struct("<8sQII")
_FILL = struct.Struct("<QQfI")
#: Values that are made at once.
_CHUNK_VALUES = 1 << 20
_FLOAT_BYTES = 4
_MOST_BYTES = 2**31 - 1


@dataclass(frozen=True)
class Fill:
    """A stretch of a model's file that holds random weights.

    Parameters
    ----------
    start : int
        The first byte in the file.
    count : int
        How many float32 values.
    scale : float
        They are uniform from ``-scale`` to ``scale``; rounded to float32.
    seed : int
        Of the values, from 0 to 2**32 - 1.
    """

    start: int
    count: int
    scale: float
    seed: int

    @property
    def end(self) -> int:
        """The first byte after the stretch."""
        return self.start + self.count * _FLOAT_BYTES


def fill_for(content: bytes, start: int, count: int, seed: int) -> Fill:
    """Return the fill with the same mean square as the float32 values in a model's file."""
    values = np.frombuffer(content, "<f4", count, start)
    root_mean_square = math.sqrt(float(np.square(values, dtype=np.float64).mean()))
    scale = float(np.float32(root_mean_square * math.sqrt(3)))
    return Fill(start, count, scale if 0 < scale < math.inf else 1.0, seed)


def fill_values(fill: Fill) -> NDArray[np.float32]:
    """Return the values of a fill, shape (count,)."""
    made = np.empty(fill.count, np.float32)
    for first in range(0, fill.count, _CHUNK_VALUES):
        part = made[first : first + _CHUNK_VALUES]
        mixed = np.arange(first, first + len(part), dtype=np.uint64).astype(np.uint32)
        mixed *= np.uint32(0x9E3779B9)
        mixed += np.uint32(fill.seed)
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            mixed ^= mixed >> np.uint32(shift)
            mixed *= np.uint32(factor)
        mixed ^= mixed >> np.uint32(16)
        part[:] = (mixed >> np.uint32(8)).astype(np.int32) - np.int32(1 << 23)
        part *= np.float32(2.0**-23)
        part *= np.float32(fill.scale)
    return made


def skeleton_bytes(content: bytes, fills: Sequence[Fill]) -> bytes:
    """Write the skeleton of a model's file.

    Parameters
    ----------
    content : bytes
        The file.
    fills : sequence of Fill
        What is left out, in order, apart from each other and inside the file.

    Raises
    ------
    InvalidValueError
        For fills that do not fit the file.
    """
    reason = _misfit(fills, len(content))
    if reason:
        raise InvalidValueError(f"the fills do not fit the model: {reason}", field="fills")
    table = b"".join(_FILL.pack(f.start, f.count, f.scale, f.seed) for f in fills)
    ends = [0, *(fill.end for fill in fills)]
    starts = [*(fill.start for fill in fills), len(content)]
    rest = (content[end:start] for end, start in zip(ends, starts, strict=True))
    body = b"".join([table, *rest])
    return _HEAD.pack(MAGIC, len(content), len(fills), zlib.crc32(body)) + body


def filled(skeleton: bytes) -> bytes:
    """Return the model's file that a skeleton stands for: what a device runs.

    Raises ModelFileError for what is no skeleton of this version, and for a damaged one.
    """
    size, fills = _read(skeleton)
    content = bytearray(size)
    position, end = _HEAD.size + len(fills) * _FILL.size, 0
    for start, fill in [*((fill.start, fill) for fill in fills), (size, None)]:
        content[end:start] = skeleton[position : position + start - end]
        position += start - end
        if fill is not None:
            end = fill.end
            content[start:end] = fill_values(fill).astype("<f4").tobytes()
    return bytes(content)


def _read(skeleton: bytes) -> tuple[int, list[Fill]]:
    """Size of the file and fills; everything about them is checked."""
    if skeleton[: len(MAGIC)] != MAGIC or len(skeleton) < _HEAD.size:
        raise ModelFileError("the file is no skeleton of a model that this version reads")
    _, size, count, checksum = _HEAD.unpack_from(skeleton)
    if zlib.crc32(skeleton[_HEAD.size :]) != checksum:
        raise ModelFileError("the skeleton is damaged: its checksum does not fit", field="crc")
    first = _HEAD.size + count * _FILL.size
    if first > len(skeleton) or size > _MOST_BYTES:
        raise ModelFileError("the skeleton is damaged: its sizes do not fit", field="size")
    table = memoryview(skeleton)[_HEAD.size : first]
    fills = [Fill(*entry) for entry in _FILL.iter_unpack(table)]
    reason = _misfit(fills, size)
    covered = sum(fill.count * _FLOAT_BYTES for fill in fills)
    if reason or size - covered != len(skeleton) - first:
        raise ModelFileError(
            f"the skeleton is damaged: {reason or 'its parts are not as long as it says'}",
            field="fills",
        )
    return size, fills


def _misfit(fills: Sequence[Fill], size: int) -> str:
    """What is wrong with fills of a file of this size; empty where nothing is."""
    end = 0
    for index, fill in enumerate(fills):
        if fill.start < end or fill.count < 1 or fill.end > size:
            return f"fill {index} lies outside of the file or in another fill"
        if not (0 < fill.scale < math.inf and 0 <= fill.seed < 2**32):
            return f"fill {index} has an impossible scale or seed"
        end = fill.end
    return ""
