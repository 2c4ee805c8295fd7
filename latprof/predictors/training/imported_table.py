"""A fitted predictor from somebody's lookup table, and a lookup table from any predictor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.importers.table_export import fixed_parts, missing_keys
from latprof.datasets.spaces.base import Architecture
from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor

if TYPE_CHECKING:
    from latprof.datasets.importers.lookup_tables import LookupTable
    from latprof.datasets.spaces.proxyless import ProxylessSpace
    from latprof.predictors.base import Predictor


def predictor_from_table(table: LookupTable, space: ProxylessSpace) -> LookupTablePredictor:
    """Make a table in the ProxylessNAS format a fitted lookup-table predictor.

    Its prediction is the sum that the authors' code makes: stem, first block, the searched blocks
    (the zero operation costs nothing), last convolution and classifier.

    Parameters
    ----------
    table : LookupTable
        Of :func:`latprof.datasets.importers.lookup_tables.read_yaml_table`.
    space : ProxylessSpace
        With the widths, resolution and classes that the table was made for.

    Raises
    ------
    CoverageError
        Where the table lacks a block of the space; the error lists them.
    """
    table.latency_ms(missing_keys(space, table))  # refuses, with their names, where there are any
    entries = np.full((len(space.num_choices), int(space.num_choices.max())), np.nan)
    counts = np.zeros(entries.shape)
    for position, choice in np.ndindex(entries.shape):
        if choice >= space.num_choices[position]:
            continue
        choices = [0] * len(space.num_choices)
        choices[position] = choice
        blocks = space.blocks(Architecture(space.name, tuple(choices)))
        block = next(block for block in blocks if block.position == position)
        found = table.entries[block.key] if block.layers else None
        entries[position, choice] = found.latency_ms if found else 0.0
        counts[position, choice] = max((found.count if found else None) or 1, 1)
    fixed = math.fsum(table.latency_ms(fixed_parts(space)))
    return LookupTablePredictor.of_entries(space, entries, counts, fixed)


def tabulated(predictor: Predictor, n: int = 4000, seed: int = 0) -> LookupTablePredictor:
    """Fit a lookup table to a fitted predictor's output on ``n`` sampled architectures.

    Where the predictor is a sum of block costs the table says the same; what it knows of how blocks
    act on each other is lost. Its counts are of sampled architectures, not of measured ones.
    """
    choices = predictor.space.sample_choices(n, seed)
    return LookupTablePredictor(predictor.space).fit(choices, predictor.predict(choices))
