"""Lookup tables for the search codes of others, from a fitted table of a space they know.

The authors' codes find a block by its key, which has the block's shape and not its position. Blocks
of one shape at several positions (all but the first of a stage) therefore share an entry there: the
mean over the positions, with the variance between them as its ``var``. Where the fitted table
has other costs at other positions, a sum of the exported table differs from the prediction:
:func:`sharing_error_ms`.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.datasets.importers.lookup_tables import LookupTable, TableEntry
from latprof.datasets.spaces.base import Architecture, Part, SearchSpace
from latprof.datasets.spaces.ofa_mobilenetv3 import OFAMobileNetV3Space
from latprof.datasets.spaces.proxyless import SEARCH_WIDTHS, ProxylessSpace
from latprof.errors import CoverageError, InvalidValueError

if TYPE_CHECKING:
    from latprof.datasets.models.layers import Block

Floats: TypeAlias = NDArray[np.float64]
KeyedSpace: TypeAlias = ProxylessSpace | OFAMobileNetV3Space

#: Candidates of Single-Path NAS in the order of its table.
SINGLE_PATH_CANDIDATES = ("3x3_MBConv3", "3x3_MBConv6", "5x5_MBConv3", "5x5_MBConv6")
#: What its code has at the last block, which it does not search.
_SINGLE_PATH_LAST = "3x3_MBConv6"
_SINGLE_PATH_RESOLUTION = 224


class Row(Protocol):
    """An entry of a fitted table."""

    @property
    def position(self) -> int: ...
    @property
    def candidate(self) -> str: ...
    @property
    def choice(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def latency_ms(self) -> float: ...
    @property
    def count(self) -> int: ...


class FittedTable(Protocol):
    """A fixed part and entries by position: the lookup-table predictor, once fitted, is one."""

    fixed_ms_: float
    space: SearchSpace

    def rows(self) -> Sequence[Row]: ...


def check_keyed(space: SearchSpace) -> KeyedSpace:
    """Return the space; raises InvalidValueError for one that these formats have no keys for."""
    if not isinstance(space, ProxylessSpace | OFAMobileNetV3Space):
        raise InvalidValueError(
            "the formats of lookup tables have no keys for this search space",
            expected=f"{ProxylessSpace.name} or {OFAMobileNetV3Space.name}",
            got=space.name,
        )
    return space


def check_space(space: SearchSpace) -> ProxylessSpace:
    """Return the space; raises InvalidValueError for another one than ProxylessNAS's."""
    keyed = check_keyed(space)
    if not isinstance(keyed, ProxylessSpace):
        raise InvalidValueError(
            "this format has no keys for this search space",
            expected=ProxylessSpace.name,
            got=space.name,
        )
    return keyed


# Keys --------------------------------------------------------------------------------------


def fixed_parts(space: KeyedSpace, resolution: int = 0) -> dict[str, int]:
    """Multiply-accumulates of what every architecture has, by the authors' keys.

    ``Conv`` is the stem, the first block an ``expanded_conv`` of expansion 1. In ProxylessNAS
    ``Conv_1`` is the 1x1 convolution before the pool, and ``Logits`` pool and classifier; in
    Once-for-All's MobileNetV3 ``Conv_1`` is the last block's 1x1 convolution, then follow
    ``AvgPool2D``, the 1x1 convolution ``Conv_2`` and the classifier ``Logits``.

    Parameters
    ----------
    space : ProxylessSpace or OFAMobileNetV3Space
    resolution : int
        Index of the resolution where that is a decision.
    """
    choices = [0] * len(space.num_choices)
    if isinstance(space, OFAMobileNetV3Space):
        choices[0] = resolution
    architecture = Architecture(space.name, tuple(choices))
    blocks = space.blocks(architecture)
    head = sum(op.macs for op in space.head(architecture))
    stem, first = (sum(op.macs for op in block.operators()) for block in blocks[:2])
    parts = {f"Conv-{_shapes(blocks[0])}": stem, blocks[1].key: first}
    if isinstance(space, ProxylessSpace):
        last = blocks[-1]
        side = f"{last.out_size}x{last.out_size}x{last.out_channels}"
        parts[f"Conv_1-{_shapes(last)}"] = sum(op.macs for op in last.operators())
        parts[f"Logits-input:{side}-output:{space.num_classes}"] = head
        return parts
    last, mix = blocks[-2:]
    size, wide, features = mix.in_size, mix.in_channels, mix.out_channels
    parts[f"Conv_1-{_shapes(last)}"] = sum(op.macs for op in last.operators())
    parts[f"AvgPool2D-input:{size}x{size}x{wide}-output:1x1x{wide}"] = 0
    conv_2 = f"Conv_2-input:1x1x{wide}-output:1x1x{features}"
    parts[conv_2] = sum(op.macs for op in mix.operators())
    parts[f"Logits-input:1x1x{features}-output:{space.num_classes}"] = head
    return parts


def _shapes(block: Block) -> str:
    output = f"{block.out_size}x{block.out_size}x{block.out_channels}"
    return f"input:{block.in_size}x{block.in_size}x{block.in_channels}-output:{output}"


def part_keys(space: KeyedSpace, part: int, local_choices: tuple[int, ...]) -> tuple[str, ...]:
    """Keys whose entries one part of a network is the sum of; none for the zero operation.

    Parameters
    ----------
    space : ProxylessSpace or OFAMobileNetV3Space
    part : int
        Where the first part is what only the resolution changes, it has all of
        :func:`fixed_parts`.
    local_choices : tuple of int
        As of :meth:`~latprof.datasets.spaces.base.SearchSpace.part_blocks`.
    """
    if isinstance(space, OFAMobileNetV3Space) and part == 0:
        return tuple(fixed_parts(space, local_choices[0]))
    return tuple(block.key for block in space.part_blocks(part, local_choices) if block.layers)


def combinations(space: SearchSpace, part: Part) -> Iterator[tuple[int, ...]]:
    """The choices of a part's decisions, the last decision varying fastest."""
    return itertools.product(*(range(int(space.num_choices[d])) for d in part.decisions))


def needed_keys(space: KeyedSpace) -> list[str]:
    """All keys that some architecture of the space needs, each once."""
    needed = dict.fromkeys(fixed_parts(space))
    for number, part in enumerate(space.parts):
        for local in combinations(space, part):
            needed |= dict.fromkeys(part_keys(space, number, local))
    return list(needed)


def missing_keys(space: KeyedSpace, table: LookupTable) -> list[str]:
    """Keys that some architecture of the space needs and the table does not have."""
    return [key for key in needed_keys(space) if key not in table.entries]


def check_covers(space: KeyedSpace, table: LookupTable) -> None:
    """Raise CoverageError, which says what does not fit, for a table that lacks keys of a space."""
    needed = needed_keys(space)
    missing = [key for key in needed if key not in table.entries]
    if not missing:
        return
    first = "Conv-input:"
    stems = [key for key in table.entries if key.startswith(first)]
    own = next(key for key in needed if key.startswith(first))
    v3 = any("-hs:" in key for key in table.entries)
    if v3 != isinstance(space, OFAMobileNetV3Space):
        other = OFAMobileNetV3Space if v3 else ProxylessSpace
        hint = f"its blocks are spelled as those of {other.name} are"
    elif stems and own not in stems:
        hint = f"it begins with {stems[0]}, the space with {own}: other widths or resolutions"
    else:
        hint = "other widths, resolutions or classes than the space's, or the table is not whole"
    raise CoverageError(
        f"the lookup table {table.name} has no entry for {len(missing)} of the {len(needed)} keys "
        f"of {space}, among them {', '.join(missing[:3])}",
        missing,
        hint=hint,
    )


# ProxylessNAS and Once-for-All -------------------------------------------------------------


def proxyless_table(fitted: FittedTable) -> LookupTable:
    """Make the table of the ProxylessNAS and the Once-for-All code.

    The zero operation costs nothing there; where the fitted table gives it a cost, that goes to the
    fixed part and off the position's other entries. The fixed part is split over stem, first block,
    last convolutions and classifier by their multiply-accumulates: only its sum was measured.
    Blocks that no training row had are left out, and the authors' code fails on them.

    Raises InvalidValueError for a table of another space.
    """
    space = check_keyed(fitted.space)
    fixed, rows = _levelled(fitted)
    totals = {0: fixed}
    if isinstance(space, OFAMobileNetV3Space):
        totals = {row.choice: fixed + latency for row, latency in rows if row.position == 0}
        rows = [(row, latency) for row, latency in rows if row.position]
    shared: dict[str, list[tuple[float, int]]] = {}
    for row, latency in rows:
        shared.setdefault(row.key, []).append((latency, row.count))
    entries = _fixed_entries(space, totals, _training_rows(fitted))
    for key, found in shared.items():
        latencies = [latency for latency, _ in found]
        entries[key] = TableEntry(
            math.fsum(latencies) / len(latencies),
            sum(count for _, count in found),
            float(np.var(latencies)),
        )
    return LookupTable(space.name, entries)


def sharing_error_ms(
    fitted: FittedTable, table: LookupTable, n: int = 1000, seed: int = 0
) -> Floats:
    """Sum of ``table`` less the fitted prediction, in ms, for ``n`` sampled architectures.

    Shape (n,); NaN for architectures with a block that the table does not have.
    """
    space = check_keyed(fitted.space)
    choices = space.sample_choices(n, seed)
    by_key = {(row.position, row.key): row.latency_ms for row in fitted.rows()}
    total: Floats = np.full(n, -fitted.fixed_ms_)
    if isinstance(space, ProxylessSpace):
        total += math.fsum(table.latency_ms(fixed_parts(space)))
    for number, part in enumerate(space.parts):
        found, places = np.unique(choices[:, part.decisions], axis=0, return_inverse=True)
        differences = []
        for local in map(tuple, found.tolist()):
            keys = part_keys(space, number, local)
            known = all(key in table.entries for key in keys)
            blocks = space.part_blocks(number, local)
            ours = by_key.get((number, " + ".join(block.key for block in blocks)), math.nan)
            differences.append(table.total_ms(keys) - ours if known else math.nan)
        total += np.array(differences)[places.ravel()]
    return total


def to_yaml(table: LookupTable) -> str:
    """The table as YAML, sorted by key: count, mean (ms) and var (ms^2) of each entry."""
    lines = []
    for key in sorted(table.entries):
        entry = table.entries[key]
        lines.append(f"{key}:")
        if entry.count is not None:
            lines.append(f"  count: {entry.count}")
        lines.append(f"  mean: {_yaml_number(entry.latency_ms)}")
        if entry.variance is not None:
            lines.append(f"  var: {_yaml_number(entry.variance)}")
    return "\n".join(lines) + "\n"


def _yaml_number(value: float) -> str:
    """A float as YAML 1.1 reads it: without a point, ``1e-05`` would be text."""
    text = repr(float(value))
    return text if "." in text else text.replace("e", ".0e")


# Single-Path NAS ---------------------------------------------------------------------------


@dataclass(frozen=True)
class SinglePathTable:
    """A table of Single-Path NAS: ``layers[layer][choice]`` in ms, and what its code adds.

    ``rest_ms`` stands for stem, head, first and last block. The format has no place for it: the
    authors' code has the Pixel 1's as a constant.
    """

    layers: Mapping[str, Mapping[str, float]]
    rest_ms: float

    def to_json(self) -> str:
        """The layers as JSON, as the authors' code reads them."""
        return json.dumps(self.layers) + "\n"


def single_path_table(fitted: FittedTable) -> SinglePathTable:
    """Make the table of the Single-Path NAS code (Stamoulis et al. 2019).

    Its network is that of ProxylessNAS with kernels 3 and 5: layer 0 is the first block, layers 1
    to 21 are the searchable positions in order. Kernel 7 and the zero operation have no place there
    (its code gives a skipped block a constant). Each position has its own entry, so sums of what it
    can express are the prediction itself.

    Raises InvalidValueError for another space, widths or resolution, and CoverageError where one of
    the four candidates was never measured.
    """
    space = check_space(fitted.space)
    if space.widths != SEARCH_WIDTHS or space.resolution != _SINGLE_PATH_RESOLUTION:
        raise InvalidValueError(
            "the network of Single-Path NAS has other widths or another resolution",
            expected=f"widths {SEARCH_WIDTHS} at {_SINGLE_PATH_RESOLUTION}",
            got=f"{space.widths} at {space.resolution}",
        )
    fixed, rows = _levelled(fitted)
    known = {(row.position, row.candidate): latency for row, latency in rows}
    positions = range(len(space.num_choices))
    wanted = [(p, name) for p in positions for name in SINGLE_PATH_CANDIDATES]
    missing = [f"{name} at position {p}" for p, name in wanted if (p, name) not in known]
    if missing:
        raise CoverageError(
            f"the lookup table has no entry for {', '.join(missing[:3])}",
            missing,
            hint="measure architectures that have it",
        )
    first = list(_fixed_entries(space, {0: fixed}).values())[1].latency_ms
    layers = {"0": {str(choice): first for choice in range(len(SINGLE_PATH_CANDIDATES))}}
    for position in positions:
        layers[str(position + 1)] = {
            str(choice): known[position, name] for choice, name in enumerate(SINGLE_PATH_CANDIDATES)
        }
    return SinglePathTable(layers, fixed + known[positions[-1], _SINGLE_PATH_LAST])


# What both share ---------------------------------------------------------------------------


def _levelled(fitted: FittedTable) -> tuple[float, list[tuple[Row, float]]]:
    """The fixed part, and the entries of blocks, with the zero operation at exactly 0 ms."""
    rows = fitted.rows()
    zeros = {row.position: row.latency_ms for row in rows if _is_zero(row)}
    fixed = fitted.fixed_ms_ + math.fsum(zeros.values())
    return fixed, [
        (row, row.latency_ms - zeros.get(row.position, 0.0)) for row in rows if not _is_zero(row)
    ]


def _is_zero(row: Row) -> bool:
    """Whether a row is the zero operation, or a layer beyond its stage's depth."""
    return not row.key or row.key.startswith("zero-")


def _training_rows(fitted: FittedTable) -> int:
    """Rows that the table was fitted on: each had one candidate at every position."""
    counts = Counter[int]()
    for row in fitted.rows():
        counts[row.position] += row.count
    return max(counts.values(), default=0)


def _fixed_entries(
    space: KeyedSpace, totals_ms: Mapping[int, float], count: int | None = None
) -> dict[str, TableEntry]:
    """Shares by multiply-accumulates of what is fixed at each resolution (an index).

    What no resolution changes is the last two entries; they have the least share of all.
    """
    parts = {number: fixed_parts(space, number) for number in totals_ms}
    last = 2 if isinstance(space, OFAMobileNetV3Space) else 1
    least = min(
        totals_ms[number] * sum(list(macs.values())[-last:]) / sum(macs.values())
        for number, macs in parts.items()
    )
    entries: dict[str, TableEntry] = {}
    for number, macs in parts.items():
        for keys, total in (
            (list(macs)[:-last], totals_ms[number] - least),
            (list(macs)[-last:], least),
        ):
            work = sum(macs[key] for key in keys)
            entries |= {key: TableEntry(total * macs[key] / work, count) for key in keys}
    return entries
