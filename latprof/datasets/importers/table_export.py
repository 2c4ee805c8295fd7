"""Lookup tables for the search codes of others, from a fitted table of the ProxylessNAS space.

The authors' codes find a block by its key, which has the block's shape and not its position. Blocks
of one shape at several positions (all but the first of a stage) therefore share an entry there: the
mean over the positions, with the variance between them as its ``var``. Where the fitted table
has other costs at other positions, a sum of the exported table differs from the prediction:
:func:`sharing_error_ms`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.datasets.importers.lookup_tables import LookupTable, TableEntry
from latprof.datasets.spaces.base import Architecture, SearchSpace
from latprof.datasets.spaces.proxyless import SEARCH_WIDTHS, ProxylessSpace
from latprof.errors import CoverageError, InvalidValueError

Floats: TypeAlias = NDArray[np.float64]

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


def check_space(space: SearchSpace) -> ProxylessSpace:
    """Return the space; raises InvalidValueError for one that these formats have no keys for."""
    if not isinstance(space, ProxylessSpace):
        raise InvalidValueError(
            "the formats of lookup tables have no keys for this search space",
            expected=ProxylessSpace.name,
            got=space.name,
        )
    return space


# Keys --------------------------------------------------------------------------------------


def fixed_parts(space: ProxylessSpace) -> dict[str, int]:
    """Multiply-accumulates of what every architecture has, by the authors' keys.

    ``Conv`` is the stem, ``Conv_1`` the 1x1 convolution before the pool, ``Logits`` pool and
    classifier, and the first block an ``expanded_conv`` of expansion 1.
    """
    zeros = Architecture(space.name, (0,) * len(space.num_choices))
    stem, first, *_, last = space.blocks(zeros)
    head = space.head(zeros)
    parts = {
        f"Conv-{stem.key.partition('-')[2]}": stem.operators(),
        first.key: first.operators(),
        f"Conv_1-{last.key.partition('-')[2]}": last.operators(),
        f"Logits-input:{last.out_size}x{last.out_size}x{last.out_channels}"
        f"-output:{space.num_classes}": head,
    }
    return {key: sum(op.macs for op in operators) for key, operators in parts.items()}


# ProxylessNAS and Once-for-All -------------------------------------------------------------


def proxyless_table(fitted: FittedTable) -> LookupTable:
    """Make the table of the ProxylessNAS and the Once-for-All (``ofa_proxyless``) code.

    The zero operation costs nothing there; where the fitted table gives it a cost, that goes to the
    fixed part and off the position's other entries. The fixed part is split over stem, first block,
    last convolution and classifier by their multiply-accumulates: only its sum was measured. Blocks
    that no training row had are left out, and the authors' code fails on them.

    Raises InvalidValueError for a table of another space.
    """
    space = check_space(fitted.space)
    fixed, rows = _levelled(fitted)
    shared: dict[str, list[tuple[float, int]]] = {}
    for row, latency in rows:
        shared.setdefault(row.key, []).append((latency, row.count))
    entries = _fixed_entries(space, fixed, _training_rows(fitted))
    for key, found in shared.items():
        latencies = [latency for latency, _ in found]
        entries[key] = TableEntry(
            math.fsum(latencies) / len(latencies),
            sum(count for _, count in found),
            float(np.var(latencies)),
        )
    return LookupTable("proxyless", entries)


def missing_keys(space: ProxylessSpace, table: LookupTable) -> list[str]:
    """Keys that some architecture of the space needs and the table does not have."""
    needed = dict.fromkeys(fixed_parts(space))
    for position, names in enumerate(space.candidates):
        for choice in range(len(names)):
            choices = [0] * len(space.candidates)
            choices[position] = choice
            block = space.blocks(Architecture(space.name, tuple(choices)))[2 + position]
            if block.layers:
                needed[block.key] = None
    return [key for key in needed if key not in table.entries]


def sharing_error_ms(
    fitted: FittedTable, table: LookupTable, n: int = 1000, seed: int = 0
) -> Floats:
    """Sum of ``table`` less the fitted prediction, in ms, for ``n`` sampled architectures.

    Shape (n,); NaN for architectures with a block that the table does not have.
    """
    space = check_space(fitted.space)
    difference = np.full((len(space.num_choices), int(space.num_choices.max())), np.nan)
    for row in fitted.rows():
        shared = 0.0 if row.key.startswith("zero-") else table.entries[row.key].latency_ms
        difference[row.position, row.choice] = shared - row.latency_ms
    fixed = math.fsum(table.latency_ms(fixed_parts(space))) - fitted.fixed_ms_
    choices = space.sample_choices(n, seed)
    total: Floats = fixed + difference[np.arange(choices.shape[1]), choices].sum(axis=1)
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
    first = list(_fixed_entries(space, fixed).values())[1].latency_ms
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
    zeros = {row.position: row.latency_ms for row in rows if row.key.startswith("zero-")}
    fixed = fitted.fixed_ms_ + math.fsum(zeros.values())
    return fixed, [
        (row, row.latency_ms - zeros.get(row.position, 0.0))
        for row in rows
        if not row.key.startswith("zero-")
    ]


def _training_rows(fitted: FittedTable) -> int:
    """Rows that the table was fitted on: each had one candidate at every position."""
    counts = Counter[int]()
    for row in fitted.rows():
        counts[row.position] += row.count
    return max(counts.values(), default=0)


def _fixed_entries(
    space: ProxylessSpace, fixed_ms: float, count: int | None = None
) -> dict[str, TableEntry]:
    """Shares of the fixed part by multiply-accumulates: stem, first block, last, classifier."""
    parts = fixed_parts(space)
    total = sum(parts.values())
    return {key: TableEntry(fixed_ms * macs / total, count) for key, macs in parts.items()}
