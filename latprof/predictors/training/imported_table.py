"""A fitted predictor from somebody's lookup table, and a lookup table from any predictor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.importers.table_export import (
    check_covers,
    check_keyed,
    combinations,
    fixed_parts,
    part_keys,
)
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor

if TYPE_CHECKING:
    from latprof.datasets.importers.lookup_tables import LookupTable
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.predictors.base import Predictor


def predictor_from_table(table: LookupTable, space: SearchSpace) -> LookupTablePredictor:
    """Make a table of ProxylessNAS or Once-for-All a fitted lookup-table predictor.

    Its prediction is the sum that the authors' code makes: stem, first block, the searched blocks
    (the zero operation, or a layer that is not there, costs nothing), last convolutions, pool and
    classifier.

    Parameters
    ----------
    table : LookupTable
        Of :func:`latprof.datasets.importers.lookup_tables.read_yaml_table`.
    space : ProxylessSpace or OFAMobileNetV3Space
        With the widths, resolutions and classes that the table was made for. Once-for-All publishes
        a table for each resolution: ``resolutions=(160,)``.

    Raises
    ------
    InvalidValueError
        For another space: the formats have no keys for its blocks.
    CoverageError
        Where the table lacks a block of the space; the error lists them, and says what differs.
    """
    keyed = check_keyed(space)
    check_covers(keyed, table)
    rows = [list(combinations(keyed, part)) for part in keyed.parts]
    entries = np.full((len(rows), max(map(len, rows))), np.nan)
    counts = np.zeros(entries.shape)
    for number, locals_ in enumerate(rows):
        for combination, local in enumerate(locals_):
            found = [table.entries[key] for key in part_keys(keyed, number, local)]
            entries[number, combination] = math.fsum(entry.latency_ms for entry in found)
            counts[number, combination] = max(min((e.count or 1 for e in found), default=1), 1)
    fixed = 0.0
    if isinstance(keyed, ProxylessSpace):
        fixed = math.fsum(table.latency_ms(fixed_parts(keyed)))
    return LookupTablePredictor.of_entries(keyed, entries, counts, fixed)


def tabulated(predictor: Predictor, n: int) -> LookupTablePredictor:
    """Fit a lookup table to a fitted predictor's output on ``n`` sampled architectures.

    Where the predictor is a sum of block costs the table says the same; what it knows of how blocks
    act on each other is lost. Its counts are of sampled architectures, not of measured ones.
    """
    choices = predictor.space.sample_choices(n)
    return LookupTablePredictor(predictor.space).fit(choices, predictor.predict(choices))
