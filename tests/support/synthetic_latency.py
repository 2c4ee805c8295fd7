"""Latencies of ProxylessNAS architectures as a device might give them, from a seeded model."""

import numpy as np

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.predictors.features.block_features import space_tables

SPACE = ProxylessSpace()
FIXED_MS = 6.0


def block_costs_ms(space=SPACE):
    """Cost of each column's block: work over a rate that depends on kind and size, and a start-up.

    The rates are no function that the predictors' shape totals could express exactly.
    """
    costs = []
    for blocks in space_tables(space).column_blocks:
        cost = 0.0
        for op in (op for block in blocks for op in block.operators()):
            channels, size = op.output_shapes[0][1], op.output_shapes[0][2]
            rate = 30e6 if op.kind == "conv1x1" else 6e6 * (1 + 0.1 * op.kernel)
            rate *= min(1.0, 0.6 + channels / 400) * min(1.0, 0.5 + size / 60)
            cost += op.macs / rate + op.activation_elements / 4e6 + 0.01
        costs.append(cost)
    return np.array(costs)


def latencies_by_table(space, choices):
    """Sum of the block costs."""
    tables = space_tables(space)
    return tables.sums(tables.columns(choices), block_costs_ms(space)[:, None])[:, 0]


def interactions_ms(choices, scale_ms, seed=0):
    """What neighbouring blocks cost each other: a random table for each pair of neighbours."""
    generator = np.random.default_rng(seed)
    positions, candidates = choices.shape[1], 7
    tables = generator.normal(0, scale_ms, (positions - 1, candidates, candidates))
    return sum(tables[p, choices[:, p], choices[:, p + 1]] for p in range(positions - 1))


def measured(n, *, noise=0.0, interaction_ms=0.0, seed=0, space=SPACE):
    """``n`` architectures as choices and their latencies in ms."""
    choices = space.sample_choices(n, seed)
    latency = FIXED_MS + latencies_by_table(space, choices)
    if interaction_ms:
        latency = latency + interactions_ms(choices, interaction_ms)
    return choices, latency * (1 + noise * np.random.default_rng(seed + 1).standard_normal(n))
