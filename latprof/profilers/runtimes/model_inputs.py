"""The values that a model is run with: random numbers, what rules say of them, or files."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import DynamicShapeError, UnsupportedModelError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from latprof.graph.input_values.input_rules import InputRule, Rules

#: Most bytes of one input.
MAX_INPUT_BYTES = 4 << 30
#: The usual random values for all inputs.
NO_RULES: Rules = {}


def random_inputs(
    inputs: Mapping[str, tuple[Sequence[object], DTypeLike]],
    seed: int,
    rules: Rules = NO_RULES,
    names: Sequence[str] | None = None,
) -> dict[str, NDArray[Any]]:
    """Values for a model's inputs, in order: normal for floats, 1 to 7 for integers, or by rules.

    Parameters
    ----------
    inputs : mapping of str to (shape, dtype)
        A shape that is not all whole numbers is dynamic.
    seed : int
    rules : mapping of str to InputRule
        Of single inputs. What a file holds has the input's dtype here.
    names : sequence of str, optional
        What the rules call each input, where that is not its name here.

    Raises
    ------
    DynamicShapeError
        For a shape that is not fixed.
    UnsupportedModelError
        For what does not fit into memory, a file that has changed, and text without one.
    """
    wanted = {name: (tuple(shape), np.dtype(dtype)) for name, (shape, dtype) in inputs.items()}
    by_name = dict(zip(inputs, names or inputs, strict=True))
    given = {name: rules.get(by_name[name]) for name in inputs}
    made = tuple(
        (name, shape, dtype)
        for name, (shape, dtype) in wanted.items()
        if not (_of_file(given[name]) and (dtype.kind == "O" or "?" in shape))
    )
    values = {name: each.copy() for name, each in _random_inputs(made, seed).items()}
    return {
        name: values[name] if rule is None else _ruled(rule, values.get(name), wanted[name][1])
        for name, rule in given.items()
    }


def _of_file(rule: InputRule | None) -> bool:
    return rule is not None and rule.kind == "file"


def _ruled(rule: InputRule, values: NDArray[Any] | None, dtype: np.dtype[Any]) -> NDArray[Any]:
    if rule.kind == "file":
        return file_values(rule).astype(dtype)
    assert values is not None
    return rule.apply(values)


def file_values(rule: InputRule) -> NDArray[Any]:
    """What a rule's file holds; raises UnsupportedModelError where it has changed."""
    try:
        content = Path(rule.path).read_bytes()
    except OSError as error:
        raise UnsupportedModelError(f"cannot read {rule.path}: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != rule.digest:
        raise UnsupportedModelError(f"{rule.path} has changed since the measurement began")
    return parsed(content)


def parsed(content: bytes) -> NDArray[Any]:
    """The array in a NumPy file; raises ValueError for a pickle, and as NumPy for what is none."""
    values: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return values


@lru_cache(maxsize=1)  # most networks of a campaign have the same input
def _random_inputs(
    wanted: tuple[tuple[str, tuple[object, ...], np.dtype[Any]], ...], seed: int
) -> dict[str, NDArray[Any]]:
    generator = np.random.default_rng(seed)
    return {name: _random_input(name, shape, dtype, generator) for name, shape, dtype in wanted}


def _random_input(
    name: str, shape: Sequence[object], dtype: np.dtype[Any], generator: np.random.Generator
) -> NDArray[Any]:
    sizes = [size for size in shape if isinstance(size, int) and size >= 0]
    if len(sizes) != len(shape):
        raise DynamicShapeError(
            f"input {name!r} has the dynamic shape {list(shape)}",
            hint=f"give it with --shape {name}=1,3,224,224 (with the right numbers)",
        )
    if dtype.kind == "O":
        raise UnsupportedModelError(
            f"input {name!r} is text, or no tensor, which latprof makes none of",
            hint=f"give it with --input {name}=FILE.npy",
        )
    values: NDArray[Any]
    try:
        if math.prod(sizes) * dtype.itemsize > MAX_INPUT_BYTES:
            raise MemoryError
        if dtype.kind == "b":
            values = np.asarray(generator.random(sizes) < 0.5)
        elif dtype.kind in "iu":  # valid indices
            values = np.asarray(generator.integers(1, 8, sizes))
        else:
            values = np.asarray(generator.standard_normal(sizes))
        return values.astype(dtype)
    except (MemoryError, ValueError):  # ValueError: more elements than an array may have
        raise UnsupportedModelError(
            f"input {name!r} does not fit into memory",
            got="x".join(map(str, shape)),
            hint="take a smaller batch or resolution",
        ) from None
