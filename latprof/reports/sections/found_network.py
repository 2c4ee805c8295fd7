"""The network that a search found: drawn, and block by block."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from latprof.reports.rendering.content import Box, Column, Drawing, Section, Table
from latprof.reports.rendering.wording import count, ms, number

if TYPE_CHECKING:
    from latprof.datasets.models.layers import Block
    from latprof.datasets.spaces.base import Architecture, SearchSpace
    from latprof.reports.search_data import SearchReportData

#: Colours of kernel sizes; other blocks have the last.
_KERNELS = {1: "series-5", 3: "series-1", 5: "series-3", 7: "series-2"}
_OTHER = "series-8"


def network_section(data: SearchReportData) -> tuple[Section, ...]:
    """The found network; nothing where there is none."""
    best = data.found.best
    if best is None:
        return ()
    space, architecture = data.problem.space, best.architecture
    blocks = space.blocks(architecture)
    skipped = sum(not block.layers for block in blocks)
    left_out = f", {skipped} of them left out" if skipped else ""
    lead = (
        f"{number(best.accuracy)} {data.noun} at a predicted {ms(best.latency_ms)} ms: "
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


def draw_network(
    space: SearchSpace, architecture: Architecture, slug: str = "architecture"
) -> Drawing:
    """Draw a network: colours are kernel sizes, heights are expansions."""
    blocks = [block for block in space.blocks(architecture) if block.choice != "Sum"]
    most = max((block.expansion for block in blocks), default=0) or 1
    boxes = tuple(_box(block, most) for block in blocks)
    kernels = sorted({block.kernel for block in blocks if block.layers and block.expansion})
    legend = [(f"kernel {k}x{k}", _KERNELS.get(k, _OTHER)) for k in kernels]
    if any(block.layers and not block.expansion for block in blocks):
        legend.append(("other block", _OTHER))
    return Drawing(
        slug,
        "Block after block; the height is the expansion, below is the output's shape",
        f"Drawing of {architecture}: " + ", ".join(box.label or "skip" for box in boxes[:60]),
        boxes,
        tuple(legend),
    )


def _box(block: Block, most: int) -> Box:
    height = block.expansion / most if block.expansion else 0.55
    color = _KERNELS.get(block.kernel, _OTHER) if block.expansion else _OTHER
    shape = _output(block)
    return Box(
        _label(block),
        f"{block.name}: {block.choice}, {_input(block)} to {shape}",
        shape,
        0.35 + 0.65 * height,
        color,
        skipped=not block.layers,
    )


def _input(block: Block) -> str:
    return f"{block.in_channels}x{block.in_size}x{block.in_size}"


def _output(block: Block) -> str:
    return f"{block.out_channels}x{block.out_size}x{block.out_size}"


def _label(block: Block) -> str:
    if not block.layers:
        return ""
    if block.expansion and block.kernel:
        return f"MB{block.expansion} {block.kernel}x{block.kernel}"
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
