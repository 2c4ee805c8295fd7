"""Splits hold every row once, have the stated size and depend on nothing but the seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latprof.datasets.published.splits import split_rows
from latprof.errors import InvalidValueError


@given(st.integers(2, 500), st.floats(0.001, 0.999), st.integers(0, 5))
def test_a_split_holds_every_row_once_and_has_the_stated_size(n, fraction, seed):
    train, test = split_rows(n, fraction, seed)
    assert sorted([*train, *test]) == list(range(n))
    assert len(test) == min(max(round(n * fraction), 1), n - 1)
    again = split_rows(n, fraction, seed)
    np.testing.assert_array_equal(again[1], test)


def test_a_split_of_5000_is_4000_and_1000_and_depends_on_the_seed():
    train, test = split_rows(5000)
    assert (len(train), len(test)) == (4000, 1000)
    assert set(test) != set(split_rows(5000, seed=1)[1])
    for n, fraction in ((1, 0.2), (10, 0.0), (10, 1.0), (10, np.nan)):
        with pytest.raises(InvalidValueError):
            split_rows(n, fraction)
