"""Networks of blocks without what no path from the input to the output crosses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from latprof.datasets.models.steps import Zeroize

if TYPE_CHECKING:
    from latprof.datasets.models.layers import Block


def pruned_blocks(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """The same network without dead blocks, in execution order.

    A block goes whose output nothing reads, and one that is zero or reads nothing but zeros: what a
    normalisation's shift makes of a zero counts as zero, as in the count of the distinct cells of
    NAS-Bench-201 (Dong and Yang, ICLR 2020, section 2). Where a block that no decision changes is
    left with zeros alone, one zero operation stays before it.
    """
    linked = {block.name: block for block in _linked(blocks)}
    last = next(reversed(linked))
    kept: dict[str, Block] = {}
    zeros: set[str] = set()
    for name, block in linked.items():
        inputs = tuple(each for each in block.inputs if each not in zeros)
        if block.inputs and not inputs:
            if (block.position is not None or not block.layers) and name != last:
                zeros.add(name)
                continue
            zero = _zero(linked[block.inputs[0]], linked, kept)
            if zero is None:
                return tuple(blocks)
            kept[zero.name] = zero
            zeros.discard(zero.name)
            inputs = (zero.name,)
        if _is_zero(block) and name != last:
            zeros.add(name)
        else:
            kept[name] = replace(block, inputs=inputs)
    live = {last}
    for block in reversed(kept.values()):
        if block.name in live:
            live.update(block.inputs)
    found = tuple(block for block in kept.values() if block.name in live)
    return tuple(blocks) if len(found) == len(blocks) else found


def _linked(blocks: Sequence[Block]) -> list[Block]:
    """The blocks, each naming those that it reads; the first reads the image."""
    before = [None, *blocks[:-1]]
    return [
        block if block.inputs or previous is None else replace(block, inputs=(previous.name,))
        for previous, block in zip(before, blocks, strict=True)
    ]


def _is_zero(block: Block) -> bool:
    return not block.residual and any(isinstance(step, Zeroize) for step in block.layers)


def _zero(block: Block, linked: Mapping[str, Block], kept: Mapping[str, Block]) -> Block | None:
    """A zero operation in place of a block, on the nearest block kept before it.

    None where that has another shape.
    """
    source = block
    while source.name not in kept:
        if not source.inputs:
            return None
        source = linked[source.inputs[0]]
    shape = (block.out_channels, block.out_size)
    if (source.out_channels, source.out_size) != shape:
        return None
    return replace(
        block,
        choice="none",
        in_channels=block.out_channels,
        in_size=block.out_size,
        layers=(Zeroize(block.name, block.out_channels),),
        kernel=0,
        stride=1,
        residual=False,
        inputs=(source.name,),
    )
