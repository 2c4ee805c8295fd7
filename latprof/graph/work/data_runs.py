"""How the data of a kernel lie in memory: what is handled in a row, and what moves against it.

A broadcast over the innermost of three elements, or a transposition of five dimensions, takes many
times what its numbers of elements tell.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latprof.graph.operators import Operator, Shape

#: Added to the groups of a transposition that no single move explains.
GENERAL = 10


def broadcast_run(operator: Operator) -> tuple[int, int]:
    """Elements that a broadcast handles in a row, and its groups of dimensions; 0, 0 where none is.

    Neighbouring dimensions over which the same inputs are broadcast are one group, as runtimes
    merge them.
    """
    out = operator.output_shapes[0] if operator.output_shapes else ()
    shapes = [*operator.input_shapes, *operator.weight_shapes]
    kinds = [
        (side, tuple(_side(shape, len(out), axis) == 1 for shape in shapes))
        for axis, side in enumerate(out)
        if side > 1
    ]
    if not any(any(kind) for _, kind in kinds):
        return 0, 0
    groups = 1 + sum(one != two for (_, one), (_, two) in pairwise(kinds))
    last = kinds[-1][1]
    run = 1
    for side, kind in reversed(kinds):
        if kind != last:
            break
        run *= side
    return run, groups


def _side(shape: Shape, rank: int, axis: int) -> int:
    place = axis - (rank - len(shape))
    return shape[place] if place >= 0 else 1


def turned_groups(shape: Shape, order: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """A transposition's dimensions, those that stay side by side as one: before, and their order.

    Returns the sizes of the groups as they lie before, and their order after; dimensions of 1 are
    left out.
    """
    axes = [axis for axis in order if shape[axis] > 1]
    place = {axis: number for number, axis in enumerate(sorted(axes))}
    moved = [place[axis] for axis in axes]
    parts: list[list[int]] = []
    for number in moved:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    sizes = [shape[axis] for axis in sorted(axes)]
    starts = sorted(part[0] for part in parts)
    by_start = {part[0]: math.prod(sizes[number] for number in part) for part in parts}
    before = [by_start[start] for start in starts]
    after = [starts.index(part[0]) for part in parts]
    return before, after


def turned_run(shape: Shape, order: tuple[int, ...]) -> int:
    """Elements that a transposition moves in a row: of the last dimensions, where they stay last.

    Runtimes take a last dimension of 1 that moves there for one that is turned, and copy single
    elements.
    """
    if len(turned_groups(shape, order)[1]) < 2:
        return math.prod(shape)
    stays = next(n for n, axis in enumerate(reversed(order)) if axis != len(order) - 1 - n)
    return math.prod(shape[len(shape) - stays :])


def turns_of(after: list[int]) -> int:
    """How many axes a transposition has; :data:`GENERAL` more where more than one of them moves.

    A single one that moves, inwards or outwards, is a loop of copies in most runtimes; axes of 1
    that move make it a general one there.
    """
    for number in after:
        rest = [each for each in after if each != number]
        if rest == sorted(rest):
            return len(after)
    return len(after) + GENERAL


def part_run(data: Shape, out: Shape, axis: int | None) -> int:
    """Elements in a row that a cut, a join or a look-up along an axis moves at once.

    The axis is the last along which the sizes differ unless it is given.
    """
    if axis is None:
        differing = [i for i, (a, b) in enumerate(zip(data, out, strict=False)) if a != b]
        if len(data) != len(out) or not differing:
            return math.prod(out)
        return math.prod(out[differing[-1] :])
    return math.prod(data[axis % max(len(data), 1) + 1 :])
