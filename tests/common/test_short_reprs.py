from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pytest

from latprof.common.short_reprs import ShortRepr, short


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.zeros((4000, 21)), "array(4000, 21)"),
        (np.zeros((0,)), "array(0,)"),
        ([np.zeros(3)], "[array(3,)]"),
        ((1, 2), "(1, 2)"),
        (list(range(1000)), "[0, 1, 2, 3, ...]"),
        ({"a": 1}, "{'a': 1}"),
        (MappingProxyType({"a": np.ones(2)}), "{'a': array(2,)}"),
        ("text", "'text'"),
        (1.5, "1.5"),
        (None, "None"),
    ],
)
def test_values_are_shown_in_short(value, expected):
    assert short(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        b"x" * 10**6,
        {n: [n] * 99 for n in range(10**4)},
        [[["x" * 999] * 99] * 99] * 99,
    ],
)
def test_nothing_is_long(value):
    assert len(short(value)) < 1000


@dataclass(frozen=True, repr=False)
class Record(ShortRepr):
    name: str
    values: np.ndarray
    hidden: int = field(default=0, repr=False)


def test_a_record_shows_its_fields():
    assert repr(Record("a", np.zeros(5))) == "Record(name='a', values=array(5,))"
