"""What a space from a function is made of: candidates, shapes and dtypes of inputs, checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.common.limits import whole
from latprof.common.own_code.space_answers import MOST_ELEMENTS
from latprof.datasets.spaces.own.built_networks import INPUT_DTYPES
from latprof.errors import InvalidValueError, shown

if TYPE_CHECKING:
    from latprof.graph.operators import Shape

#: Candidates of one decision: choices are bytes.
_MOST_CANDIDATES = 255
_MOST_DECISIONS = 10_000
#: Sizes of an input, and how many.
_SIZE, _MOST_DIMENSIONS = whole(1, 1 << 20), 5


def checked_candidates(given: Sequence[Sequence[Any]]) -> tuple[tuple[Any, ...], ...]:
    """The candidates as tuples; raises InvalidValueError for what is none.

    Numbers of NumPy become Python's.
    """
    try:
        outer = islice(given, _MOST_DECISIONS)
        found = tuple(tuple(map(_plain, islice(each, _MOST_CANDIDATES + 1))) for each in outer)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        found = ()
    sizes = [len(set(map(candidate_label, each))) for each in found]
    if not found or any(not 1 <= size <= _MOST_CANDIDATES for size in sizes):
        raise InvalidValueError(
            "not the candidates of decisions",
            field="candidates",
            expected=f"for each decision 1 to {_MOST_CANDIDATES} numbers, texts or lists of them",
            got=shown(given, 200),
        )
    if sizes != [len(each) for each in found]:
        raise InvalidValueError(
            "a decision has a candidate twice", field="candidates", got=shown(given, 200)
        )
    return found


def checked_shapes(given: Any) -> dict[str | None, Shape]:
    """The shapes of inputs by their names, None for an only one; or InvalidValueError."""
    is_named = isinstance(given, Mapping)
    named = dict(given) if is_named else {None: given}
    fits = all(
        isinstance(sizes, Sequence | np.ndarray)
        and 1 <= len(sizes) <= _MOST_DIMENSIONS
        and (not is_named or (isinstance(name, str) and name))
        for name, sizes in named.items()
    )
    for size in chain(*named.values()) if named and fits else ():
        _SIZE.check("input_shape", size)
    found = {n: tuple(map(int, sizes)) for n, sizes in named.items()} if fits else {}
    if not found or max(map(math.prod, found.values())) > MOST_ELEMENTS:
        raise InvalidValueError(
            "not the shape of an input",
            field="input_shape",
            expected=f"1 to {_MOST_DIMENSIONS} sizes, such as channels, height and width, of at "
            f"most {MOST_ELEMENTS:,} elements together, or these of each input by its name",
            got=shown(given),
        )
    return found


def checked_dtypes(given: Any, shapes: Mapping[str | None, Shape]) -> dict[str | None, str]:
    """The dtype of each input; InvalidValueError for what is none."""
    found = {
        n: given.get(n, INPUT_DTYPES[0]) if isinstance(given, Mapping) else given for n in shapes
    }
    extra = [*given.keys() - shapes.keys()] if isinstance(given, Mapping) else []
    if extra or any(not isinstance(e, str) or e not in INPUT_DTYPES for e in found.values()):
        raise InvalidValueError(
            "not a dtype of inputs",
            field="input_dtype",
            expected=", ".join(INPUT_DTYPES) + ", or one of these for each input by its name",
            got=shown(given),
        )
    return found


def candidate_label(value: Any) -> str:
    """A candidate's name: text as it is, else its JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
