"""A limit takes what it says, and says it in one wording."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from latprof.common.limits import (
    INNER_SHARE,
    LARGEST_SEED,
    POSITIVE,
    SHARE,
    Limit,
    check_limits,
    check_seed,
    read_number,
    whole,
    whole_options,
)
from latprof.errors import InvalidValueError


@pytest.mark.parametrize(
    ("limit", "taken", "refused"),
    [
        (whole(1, 8), [1, 8, np.int64(3), np.uint8(8)], [0, 9, 1.0, True, "1", None, math.nan]),
        (whole(0), [0, 10**30], [-1, math.inf, [1]]),
        (SHARE, [0, 1, 0.5, np.float32(1)], [-1e-9, 1.1, math.nan, False]),
        (INNER_SHARE, [1e-9, 0.5], [0, 1, 0.0, 1.0]),
        (POSITIVE, [1e-300, 5, 1e300], [0, math.inf, -1, math.nan, "1"]),
        (Limit(0, open_low=True, optional=True), [None, math.inf, 3], [0, math.nan]),
        (whole(0, LARGEST_SEED), [LARGEST_SEED], [LARGEST_SEED + 1]),
    ],
)
def test_limits_take_what_they_say(limit, taken, refused):
    assert [value for value in taken if not limit.takes(value)] == []
    assert [value for value in refused if limit.takes(value)] == []


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (whole(1, 8), "a whole number from 1 to 8"),
        (whole(1), "a whole number of at least 1"),
        (SHARE, "a number from 0 to 1"),
        (INNER_SHARE, "a number above 0 and below 1"),
        (POSITIVE, "a number above 0 and finite"),
        (Limit(0, 1, open_high=True), "a number of at least 0 and below 1"),
        (Limit(0, 9.5, open_low=True), "a number above 0 and at most 9.5"),
        (Limit(high=3), "a number at most 3"),
    ],
)
def test_limits_say_themselves_in_words(limit, words):
    assert str(limit) == words


def test_an_error_names_the_parameter_the_limit_and_the_value():
    @dataclass
    class Record:
        threads: int
        share: float = 0.5

    limits = {"threads": whole(1, 64), "share": SHARE}
    check_limits(Record(4), limits)
    with pytest.raises(InvalidValueError) as caught:
        check_limits(Record(0, 2.0), limits)
    error = caught.value
    assert (error.field, error.expected, error.got) == ("threads", str(limits["threads"]), "0")
    assert str(error) == ("threads is out of range (expected a whole number from 1 to 64, got 0)")
    with pytest.raises(InvalidValueError, match="seed is out of range"):
        check_seed(-1)
    with pytest.raises(InvalidValueError, match="3 whole numbers"):
        whole_options("depths", [1, 2], 3)


WHOLE = [("1", 1), ("-0", 0), ("+12", 12), (" 7 ", 7), ("9" * 40, 10**40 - 1)]
REAL = [("1e3", 1000), (".5", 0.5), ("1.", 1), ("-2.5E-1", -0.25), ("inf", math.inf), ("0", 0)]
NEITHER = ["", " ", "1_000", "\u0663", "\uff11\uff12", "0x1", "one", "1,5", "1e", "--1", "\x00"]
NEITHER += ["\u00bd", "1\n2", "\u00a01", "1" * 5000, "1e400", "-1e400", "1e9999999", "1 2", "."]


def test_numbers_are_read_as_people_write_them():
    assert [(text, read_number(text, is_whole=True)) for text, _ in WHOLE] == WHOLE
    assert [(text, read_number(text)) for text, _ in REAL] == REAL
    assert math.isnan(read_number("nan"))
    assert [text for text in NEITHER if read_number(text) is not None] == []
    taken = [text for text in (*NEITHER, "1.0", "1e3", "inf") if read_number(text, is_whole=True)]
    assert taken == []
