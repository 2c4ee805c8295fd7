"""Batches of architectures as arrays of indices: read, checked, and drawn without repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Characters of a choice in a spelling.
_LONGEST_INDEX = 18
#: Rows drawn at a time, at least.
_ROWS = 4096


def index(text: str) -> int:
    """A choice in an architecture's spelling; raises ValueError for what is no plain number."""
    if not (text.isascii() and text.strip(" ").isdigit()) or len(text) > _LONGEST_INDEX:
        raise ValueError(text)
    return int(text)


def stacked(space: str, rows: Sequence[Any], decisions: int) -> NDArray[Any]:
    """Rows of choices as an array, shape (n, decisions), whatever they hold.

    Raises InvalidValueError for another length, and for what is no whole number.
    """
    lengths = {len(row) for row in rows} - {decisions}
    if lengths:
        raise InvalidValueError(
            f"an architecture of {space} has the wrong number of choices",
            expected=str(decisions),
            got=", ".join(map(str, sorted(lengths))),
        )
    if not rows:
        return np.empty((0, decisions), dtype=np.uint8)
    try:  # without a dtype, which would cut 0.7 to 0
        values = np.array(rows)
    except (ValueError, OverflowError, TypeError):
        values = np.empty(0, dtype=np.object_)
    if values.dtype.kind not in "ui" or values.ndim != 2:
        raise InvalidValueError(
            f"an architecture of {space} has a choice that is no candidate",
            expected="whole numbers, one a decision",
        )
    return values


def checked_indices(
    space: str, values: NDArray[Any], num_choices: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Indices of candidates as choices, shape (n, decisions).

    Raises InvalidValueError for another shape or dtype, and for an index that is no candidate.
    """
    if values.ndim != 2 or values.shape[1] != len(num_choices):
        raise InvalidValueError(
            f"choices of {space} have the wrong shape",
            expected=f"(n, {len(num_choices)})",
            got=str(values.shape),
        )
    if values.dtype.kind not in "ui":
        raise InvalidValueError(
            "choices are indices", expected="an integer array", got=str(values.dtype)
        )
    if values.size and (np.any(values.max(axis=0) >= num_choices) or values.min() < 0):
        row, column = np.argwhere((values >= num_choices) | (values < 0))[0]
        raise InvalidValueError(
            f"decision {column} of architecture {row} has no candidate {values[row, column]}",
            expected=f"0 to {num_choices[column] - 1}",
        )
    return values.astype(np.uint8, copy=False)


def distinct(n: int, draw: Callable[[int], NDArray[np.uint8]], patience: int) -> NDArray[np.uint8]:
    """The first rows of many draws that differ, shape (n or more, decisions).

    ``draw`` is called with a number of rows, and gives as many or fewer. There are fewer than ``n``
    where so many draws in a row had nothing new.
    """
    drawn, idle = first_ones(draw(max(_ROWS, n))), 0
    while len(drawn) < n and idle < patience:
        before = len(drawn)
        drawn = first_ones(np.concatenate([drawn, draw(max(_ROWS, n - before))]))
        idle = 0 if len(drawn) > before else idle + 1
    return drawn


def first_ones(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each row where it comes first."""
    places: dict[bytes, int] = {}  # to sort whole rows takes four times as long
    for place, row in enumerate(rows):
        places.setdefault(row.tobytes(), place)
    return rows[list(places.values())]
