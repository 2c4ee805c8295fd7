"""The network that a search found: drawn, and block by block."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from latprof.datasets.spaces.own.graph_blocks import GraphBlock
from latprof.reports.rendering.content import Box, Column, Drawing, Section, Table
from latprof.reports.rendering.wording import count, ms, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latprof.datasets.models.layers import Block
    from latprof.datasets.spaces.base import Architecture, SearchSpace
    from latprof.reports.search_data import SearchReportData

#: Colours of kernel sizes; other blocks have the last.
_KERNELS = {1: "series-5", 3: "series-1", 5: "series-3", 7: "series-2"}
_OTHER = "series-8"
#: Dimensions of an image.
_IMAGE = 3


def network_section(data: SearchReportData) -> tuple[Section, ...]:
    """The found network; nothing where there is none."""
    best = data.found.best
    if best is None:
        return ()
    space, architecture = data.problem.space, best.architecture
    blocks = space.blocks(architecture)
    skipped = sum(map(_none, blocks))
    left_out = f", {skipped} of them left out" if skipped else ""
    lead = (
        f"{score(best.accuracy)} {data.noun} at a predicted {ms(best.latency_ms)} ms: "
        f"{count(len(blocks), 'block')}{left_out}, "
        f"{space.macs(architecture) / 1e6:,.0f} million multiply-accumulates, "
        f"{space.parameters(architecture) / 1e6:,.2f} million parameters."
    )
    return (
        Section(
            "network",
            "The network found",
            lead,
            drawings=(draw_network(space, architecture),),
            paragraphs=(str(architecture),),
            tables=(_blocks_table(blocks),),
        ),
    )


def draw_network(space: SearchSpace, architecture: Architecture) -> Drawing:
    """Draw a network: colours are kernel sizes, heights are expansions.

    Where no block has an expansion, heights are multiply-accumulates.
    """
    blocks = [block for block in space.blocks(architecture) if block.choice != "Sum"]
    expanded = any(block.expansion for block in blocks)
    boxes = tuple(map(_box, blocks, _heights(blocks, expanded=expanded), [expanded] * len(blocks)))
    flat = len(space.image_shape(architecture)) == _IMAGE
    shown = [(each.kernel, _color(each, expanded=expanded)) for each in blocks if not _none(each)]
    kernels = sorted({kernel for kernel, color in shown if color != _OTHER})
    legend = [(f"kernel {k}x{k}" if flat else f"kernel {k}", _KERNELS[k]) for k in kernels]
    if any(color == _OTHER for _, color in shown):
        legend.append(("other block", _OTHER))
    height = "the expansion" if expanded else "multiply-accumulates"
    return Drawing(
        "architecture",
        f"Block after block; the height is {height}, below is the output's shape",
        f"Drawing of {architecture}: " + ", ".join(box.label or "skip" for box in boxes[:60]),
        boxes,
        tuple(legend),
    )


def _none(block: Block) -> bool:
    """Whether a block does nothing."""
    return not (block.layers or block.operators())


def _heights(blocks: Sequence[Block], *, expanded: bool) -> list[float]:
    """Shares of the highest, shape (blocks,); middling for a block without an expansion."""
    if expanded:
        most = max(block.expansion for block in blocks)
        return [block.expansion / most if block.expansion else 0.55 for block in blocks]
    macs = [sum(operator.macs for operator in block.operators()) for block in blocks]
    return [each / (max(macs) or 1) for each in macs]


def _color(block: Block, *, expanded: bool) -> str:
    """By the kernel; where blocks have expansions, of these alone."""
    return _KERNELS.get(block.kernel, _OTHER) if block.expansion or not expanded else _OTHER


def _box(block: Block, height: float, expanded: bool) -> Box:  # noqa: FBT001 - for map
    shape = _output(block)
    return Box(
        _label(block),
        f"{block.name}: {block.choice}, {_input(block)} to {shape}",
        shape,
        0.35 + 0.65 * height,
        _color(block, expanded=expanded),
        skipped=_none(block),
    )


def _input(block: Block) -> str:
    if isinstance(block, GraphBlock):  # which need not be of images
        return _spelled(next(iter(block.graph_operators[0].input_shapes), ()))
    return f"{block.in_channels}x{block.in_size}x{block.in_size}"


def _output(block: Block) -> str:
    if isinstance(block, GraphBlock):
        return _spelled(next(iter(block.graph_operators[-1].output_shapes), ()))
    return f"{block.out_channels}x{block.out_size}x{block.out_size}"


def _spelled(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape[1:])) or "-"


def _label(block: Block) -> str:
    if _none(block):
        return ""
    if block.expansion and block.kernel:
        return f"MB{block.expansion} {block.kernel}x{block.kernel}"
    if isinstance(block, GraphBlock):
        operators = block.graph_operators
        kind = max(operators, key=lambda operator: operator.macs).kind
        return kind[:14] if len(operators) == 1 else f"{kind[:10]} +{len(operators) - 1}"
    return re.sub(r"([a-z])(\d+x\d+)$", r"\1 \2", block.choice)[:14]


def _blocks_table(blocks: tuple[Block, ...]) -> Table:
    rows = tuple(
        (
            block.name,
            block.choice,
            _input(block),
            _output(block),
            str(block.stride),
        )
        for block in blocks
    )
    columns = (
        Column("Block", numeric=False),
        Column("Choice", numeric=False),
        Column("Input"),
        Column("Output"),
        Column("Stride"),
    )
    return Table("Block by block", columns, rows, folded=True)
