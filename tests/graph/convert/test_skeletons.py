"""Skeletons leave random weights out, and what fills them is the same everywhere."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latprof.errors import InvalidValueError, ModelFileError
from latprof.graph.convert.skeletons import (
    Fill,
    fill_for,
    fill_values,
    filled,
    skeleton_bytes,
)


def stated(seed, index, scale):
    """The generator as the module's docstring states it, in Python's own integers."""
    mask = 2**32 - 1
    mixed = (seed + index * 0x9E3779B9) & mask
    mixed ^= mixed >> 16
    mixed = mixed * 0x85EBCA6B & mask
    mixed ^= mixed >> 13
    mixed = mixed * 0xC2B2AE35 & mask
    mixed ^= mixed >> 16
    unit = np.float32((mixed >> 8) - 8388608) * np.float32(2.0**-23)
    return unit * np.float32(scale)


def model_with(*counts):
    """A file with stretches of random weights between other bytes, and its fills."""
    random = np.random.default_rng(5)
    content, fills = b"head", []
    for number, count in enumerate(counts):
        weights = (random.standard_normal(count) * 0.1).astype("<f4").tobytes()
        fills.append((len(content), count, number))
        content += weights + bytes(range(number + 1))
    return content, [fill_for(content, *fill) for fill in fills]


@pytest.mark.parametrize("seed", [0, 1, 0x9E3779B9, 2**32 - 1])
def test_the_generator_is_the_one_stated(seed):
    values = fill_values(Fill(0, 1_500_000, 0.37, seed))
    for index in (0, 1, 2, 999, 1_048_575, 1_048_576, 1_499_999):
        assert values[index] == stated(seed, index, 0.37)


def test_first_values_for_other_implementations():
    """What a program in another language has to reproduce, bit for bit."""
    values = fill_values(Fill(0, 4, 0.25, 20261129))
    assert values.tobytes().hex() == "9459dabdfea77abec01fb63dc231733e"


def test_values_are_uniform_around_zero():
    values = fill_values(Fill(0, 1_000_000, 2.0, 7)).astype(np.float64)
    assert -2.0 <= values.min() < -1.9999
    assert 1.9999 < values.max() < 2.0
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - 2 / np.sqrt(3)) < 0.01
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 0.01


def test_everything_but_the_weights_comes_back_and_their_scale():
    content, fills = model_with(4096, 1, 300)
    skeleton = skeleton_bytes(content, fills)
    assert len(skeleton) == 24 + 3 * 24 + len(content) - 4 * (4096 + 1 + 300)

    again = filled(skeleton)

    assert len(again) == len(content)
    end = 0
    for fill in fills:
        assert again[end : fill.start] == content[end : fill.start]
        end = fill.end
        made = np.frombuffer(again, "<f4", fill.count, fill.start)
        assert np.array_equal(made, fill_values(fill))
    assert again[end:] == content[end:]
    made = np.frombuffer(again, "<f4", 4096, fills[0].start)
    assert abs(made.std() - 0.1) < 0.01


def test_a_file_without_weights_has_a_skeleton_too():
    assert filled(skeleton_bytes(b"all of it", [])) == b"all of it"


def test_weights_that_are_zero_are_filled_all_the_same():
    assert fill_for(bytes(40), 0, 10, 3) == Fill(0, 10, 1.0, 3)


@pytest.mark.parametrize(
    "fills",
    [
        [Fill(0, 0, 1.0, 0)],
        [Fill(-4, 1, 1.0, 0)],
        [Fill(0, 26, 1.0, 0)],
        [Fill(8, 2, 1.0, 0), Fill(12, 2, 1.0, 0)],
        [Fill(8, 2, 1.0, 0), Fill(0, 1, 1.0, 0)],
        [Fill(0, 1, 0.0, 0)],
        [Fill(0, 1, float("nan"), 0)],
        [Fill(0, 1, 1.0, 2**32)],
    ],
)
def test_fills_that_do_not_fit_are_refused(fills):
    with pytest.raises(InvalidValueError, match="do not fit"):
        skeleton_bytes(bytes(100), fills)


@given(st.data())
def test_damaged_skeletons_are_refused(data):
    content, fills = model_with(100, 20)
    skeleton = bytearray(skeleton_bytes(content, fills))
    if data.draw(st.booleans()):
        del skeleton[data.draw(st.integers(0, len(skeleton) - 1)) :]
    else:
        place = data.draw(st.integers(0, len(skeleton) - 1))
        skeleton[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ModelFileError):
        filled(bytes(skeleton))


@pytest.mark.parametrize(
    ("size", "count", "table"),
    [
        (1 << 62, 0, b""),
        (100, 2**32 - 1, b""),
        (100, 1, struct.pack("<QQfI", 0, 1 << 62, 1.0, 0)),
        (100, 1, struct.pack("<QQfI", 96, 2, 1.0, 0)),
        (400, 1, struct.pack("<QQfI", 0, 100, float("inf"), 0)),
        (401, 1, struct.pack("<QQfI", 0, 100, 1.0, 0)),
    ],
)
def test_sizes_that_lie_are_refused_before_memory_is_taken(size, count, table):
    head = struct.pack("<8sQII", b"LATPSKL1", size, count, zlib.crc32(table))
    with pytest.raises(ModelFileError, match="damaged"):
        filled(head + table)
