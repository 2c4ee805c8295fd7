"""The kernels of a network by rules that were learnt of a runtime."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from latprof.graph.fusion_rules import rule_kind
from latprof.graph.runtime_kernels import composed_operators, patterns
from latprof.graph.runtime_kernels.kernel_graph import KernelGraph
from latprof.graph.runtime_kernels.ruled_fusion import fuse_by_rules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latprof.graph.fusion_rules import FusionRules
    from latprof.graph.operators import Network, Operator

#: Groups of operators that runtimes may know as one, in the order in which they are looked for.
PATTERNS: Mapping[str, Callable[[KernelGraph], None]] = {
    "equal operators": patterns.merge_what_is_the_same,
    "gelu": composed_operators.gelu,
    "fast gelu": composed_operators.fast_gelu,
    "swish": composed_operators.quick_gelu,
    "layer normalization": partial(composed_operators.layer_normalization, merge=True, move=False),
    "rms normalization": composed_operators.simplified_layer_normalization,
    "channel shuffle": composed_operators.channel_shuffle,
}


def ruled_kernels(network: Network, rules: FusionRules) -> tuple[Operator, ...]:
    """What a runtime makes of a network by its rules, in order.

    Operators that run no kernel are left out.
    """
    fused = fuse_by_rules(with_patterns(network, rules.patterns), rules)
    return tuple(op for op in fused.operators if rule_kind(op) not in rules.absent)


def with_patterns(network: Network, names: Iterable[str]) -> Network:
    """The network with these of :data:`PATTERNS` as one operator each; unknown names do nothing."""
    wanted = frozenset(names)
    if not wanted & PATTERNS.keys() or not all(op.writes for op in network.operators):
        return network
    graph = KernelGraph(network)
    for name, apply in PATTERNS.items():
        if name in wanted:
            apply(graph)
    return dataclasses.replace(network, operators=tuple(map(graph.kernel, graph.nodes)))
