"""What the methods of a user's own search space may return; each is looked at as it comes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.common.limits import Limit, whole

if TYPE_CHECKING:
    from latprof.common.own_code.calling import Check

#: Decisions of a space, and candidates of one: choices are bytes.
_MOST_DECISIONS, _MOST_CANDIDATES = 10_000, 256
_MOST_BLOCKS, _MOST_SIZES = 100_000, 5
#: Elements of an input: 512 MiB of float32.
MOST_ELEMENTS = 1 << 27
_SIZE = whole(1, 1 << 20)


def _unless(text: str, fits: Callable[[Any, tuple[Any, ...]], bool]) -> Check:
    """The check that says ``text`` where an answer does not fit."""

    def check(answer: Any, args: tuple[Any, ...]) -> str:
        return "" if fits(answer, args) else text

    return check


def _is_list(answer: object, most: int) -> bool:
    return isinstance(answer, Sequence) and not isinstance(answer, str) and len(answer) <= most


def _are_candidates(answer: Any, _args: tuple[Any, ...]) -> bool:
    return (
        _is_list(answer, _MOST_DECISIONS)
        and len(answer) > 0
        and all(_is_list(names, _MOST_CANDIDATES) and len(names) > 0 for names in answer)
        and all(isinstance(name, str) for names in answer for name in names)
    )


def _is_shape(answer: Any, _args: tuple[Any, ...]) -> bool:
    return (
        _is_list(answer, _MOST_SIZES)
        and len(answer) > 0
        and all(map(_SIZE.takes, answer))
        and math.prod(map(int, answer)) <= MOST_ELEMENTS
    )


def _are_blocks(answer: Any, _args: tuple[Any, ...]) -> bool:
    return _is_list(answer, _MOST_BLOCKS) and all(
        callable(getattr(each, "operators", None)) and hasattr(each, "position") for each in answer
    )


def _are_operators(answer: Any, _args: tuple[Any, ...]) -> bool:
    return _is_list(answer, _MOST_BLOCKS) and all(
        isinstance(getattr(each, "kind", None), str)
        and isinstance(getattr(each, "macs", None), int)
        for each in answer
    )


def _are_parts(answer: Any, _args: tuple[Any, ...]) -> bool:
    return _is_list(answer, _MOST_DECISIONS) and all(
        isinstance(getattr(each, "name", None), str)
        and _is_list(getattr(each, "decisions", None), _MOST_DECISIONS)
        and len(each.decisions) > 0
        and all(map(Limit(0, _MOST_DECISIONS - 1, whole=True).takes, each.decisions))
        for each in answer
    )


def _is_array(kinds: str) -> Callable[[Any, tuple[Any, ...]], bool]:
    def fits(answer: Any, args: tuple[Any, ...]) -> bool:
        is_array = isinstance(answer, np.ndarray) and answer.dtype.kind in kinds
        return is_array and (not args or answer.shape == np.shape(args[0]))

    return fits


def _is_verdict(answer: Any, args: tuple[Any, ...]) -> bool:
    is_array = isinstance(answer, np.ndarray) and answer.dtype.kind == "b"
    return is_array and (not args or answer.shape == np.shape(args[0])[:1])


def _is_plain(answer: Any, _args: tuple[Any, ...]) -> bool:
    try:
        json.dumps(dict(answer), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(answer, Mapping)


_shape = _unless(f"the sizes of one input, at most {MOST_ELEMENTS:,} elements together", _is_shape)
_blocks = _unless("a tuple of blocks", _are_blocks)
_choices = _unless("choices of the shape that was given", _is_array("ui"))
#: By the members of :class:`latprof.datasets.spaces.base.SearchSpace` that a user's class may have.
ANSWERS: Mapping[str, Check | None] = {
    "options": _unless("the arguments of __init__ as plain JSON values", _is_plain),
    "candidates": _unless(
        f"for each decision a tuple of 1 to {_MOST_CANDIDATES} names", _are_candidates
    ),
    "input_shape": _shape,
    "image_shape": _shape,
    "common_image_shape": lambda answer, args: "" if answer is None else _shape(answer, args),
    "reference_resolution": _unless(str(_SIZE), lambda answer, _: _SIZE.takes(answer)),
    "blocks": _blocks,
    "part_blocks": _blocks,
    "head": _unless("a tuple of operators", _are_operators),
    "parts": _unless("a tuple of parts, each with decisions", _are_parts),
    "active": _unless("truth values of the shape that was given", _is_array("b")),
    "allowed": _unless("a truth value for each architecture", _is_verdict),
    "canonical": _choices,
    "isomorphs": _choices,
    "pruned": _choices,
    "num_architectures": _unless(str(whole(1)), lambda answer, _: whole(1).takes(answer)),
    "onnx_bytes": _unless("bytes", lambda answer, _: isinstance(answer, bytes)),
    **dict.fromkeys(("description", "sample", "sample_choices", "architectures", "parse")),
    **dict.fromkeys(("choices", "encode", "operators", "macs", "parameters", "recognize")),
    **dict.fromkeys(("build_onnx", "build_torch", "check_part", "difference_from")),
}
#: Of them those that a class may have as values, and all that is asked first.
FIRST = (
    "candidates",
    "input_shape",
    "options",
    "num_architectures",
    "reference_resolution",
    "description",
)
