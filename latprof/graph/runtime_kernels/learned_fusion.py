"""How a runtime fuses, learnt from the kernels that it ran in networks.

A runtime that tells its kernels says of each which operators of the graph it ran. Where an operator
ran in the kernel that made its input it was fused, and each such case is a vote for one rule
(:mod:`latprof.graph.fusion_rules`); so are operators that no kernel ran, and groups of operators
that ran as one (:data:`~latprof.graph.runtime_kernels.ruled_kernels.PATTERNS`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latprof.common.short_reprs import ShortRepr
from latprof.graph.fusion_rules import (
    INTO,
    MOST_CHAINED,
    VIEWS,
    FusionRules,
    chain_ends,
    needed_chains,
    rule_kind,
)
from latprof.graph.runtime_kernels.ruled_fusion import fuse_by_rules
from latprof.graph.runtime_kernels.ruled_kernels import PATTERNS, with_patterns

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Any

    from latprof.graph.operators import Network, Operator


@dataclass(frozen=True, eq=False, repr=False)
class RanNetwork(ShortRepr):
    """A network, and for each kernel that ran the names of the operators that it ran."""

    network: Network
    kernels: Sequence[Collection[str]]


def learned_rules(
    observed: Sequence[RanNetwork], target: Mapping[str, Any] | None = None
) -> FusionRules | None:
    """The rules that most of what was observed follows; None where no kernel names an operator."""
    seen = [each for each in observed if any(each.kernels)]
    if not seen:
        return None
    votes = _Votes([_places(each) for each in seen])
    patterns = votes.patterns([each.network for each in seen])
    networks = [with_patterns(each.network, patterns) for each in seen]
    absent = votes.absent(networks)
    first_input = votes.first_input(networks)
    chains = votes.chains(networks, absent, first_input=first_input)
    return FusionRules(chains, target or {}, absent, patterns, first_input)


def matching_kernels(
    ran: Sequence[Collection[str]], expected: Sequence[Operator]
) -> tuple[int, int]:
    """How many kernels ran just the operators that rules expect in one, and of how many.

    Kernels of no operator do not count; neither do operators that no kernel names. Several kernels
    of the same operators are one.
    """
    found = {frozenset(names) for names in ran if names}
    known: frozenset[str] = frozenset().union(*found)
    wanted = {known.intersection(each.parts or (each.name,)) for each in expected} - {frozenset()}
    return len(found & wanted), max(len(found), len(wanted))


def _places(ran: RanNetwork) -> dict[str, set[int]]:
    """The kernels that each operator ran in, by its name.

    A product that no kernel names ran with what alone reads it: a kernel may be called by its bias.
    """
    places: dict[str, set[int]] = defaultdict(set)
    for number, names in enumerate(ran.kernels):
        for name in names:
            places[name].add(number)
    readers: dict[str, list[str]] = defaultdict(list)
    for operator in ran.network.operators:
        for value in operator.reads:
            readers[value].append(operator.name)
    for operator in reversed(ran.network.operators):
        after = {name for value in operator.writes for name in readers[value]}
        if operator.macs and operator.name not in places and len(after) == 1:
            places[operator.name] |= places.get(after.pop(), set())
    return {name: numbers for name, numbers in places.items() if numbers}


class _Votes:
    """What the kernels of networks say; ``places`` are those of each operator, by network."""

    def __init__(self, places: Sequence[Mapping[str, set[int]]]) -> None:
        self._places = places

    def patterns(self, networks: Sequence[Network]) -> frozenset[str]:
        """The patterns that mostly ran as one kernel."""
        balance: Counter[str] = Counter()
        for name in PATTERNS:
            for network, places in zip(networks, self._places, strict=True):
                for operator in with_patterns(network, [name]).operators:
                    ran = [places[part] for part in operator.parts if part in places]
                    if len(operator.parts) > 1 and ran:
                        balance[name] += 1 if set.intersection(*ran) else -1
        return frozenset(name for name, count in balance.items() if count > 0)

    def absent(self, networks: Sequence[Network]) -> frozenset[str]:
        """Operators without work that mostly ran in no kernel, by their words."""
        balance: Counter[str] = Counter()
        for network, places in zip(networks, self._places, strict=True):
            for operator in network.operators:
                if not operator.macs:
                    ran = not places.keys().isdisjoint(operator.parts or (operator.name,))
                    balance[rule_kind(operator)] += -1 if ran else 1
        unseen = VIEWS - balance.keys()
        return unseen | {word for word, count in balance.items() if count > 0}

    def first_input(self, networks: Sequence[Network]) -> bool:
        """Whether operators of several inputs mostly ran with what made the first."""
        balance = 0
        for network, places in zip(networks, self._places, strict=True):
            made = {name: op.name for op in network.operators for name in op.writes}
            readers = Counter(name for op in network.operators for name in op.reads)
            order = {op.name: number for number, op in enumerate(network.operators)}
            for operator in network.operators:
                own = places.get(operator.name, set())
                alone = [name for name in operator.reads if readers[name] == 1]
                before = [made[name] for name in alone if name in made]
                with_it = [name for name in before if own & places.get(name, set())]
                if len({*before}) > 1 and len({*with_it}) == 1:
                    first, last = (
                        before[0] in with_it,
                        max(before, key=order.__getitem__) in with_it,
                    )
                    balance += first - last
        return balance > 0

    def chains(
        self, networks: Sequence[Network], absent: frozenset[str], *, first_input: bool
    ) -> dict[tuple[str, ...], bool]:
        """Whether operators mostly joined, by the chain before them."""
        balance: Counter[tuple[str, ...]] = Counter()
        for network, places in zip(networks, self._places, strict=True):
            fuse_by_rules(network, _Told(absent, first_input, places, balance))
        return needed_chains({chain: count > 0 for chain, count in balance.items()})


@dataclass(frozen=True, eq=False, repr=False)
class _Told(ShortRepr):
    """Joins operators as they ran, and notes each case."""

    absent: frozenset[str]
    first_input: bool
    places: Mapping[str, set[int]]
    balance: Counter[tuple[str, ...]]

    def joins(self, before: Operator, chain: Sequence[str], operator: Operator, word: str) -> bool:
        """Whether the operator ran in the same kernel, or in none."""
        own, others = self._kernels(operator), self._kernels(before)
        fused = bool(own & others) or (not own and chain[-1] != INTO)
        ways = {chain_ends(chain, word)}
        if len(chain) < MOST_CHAINED:
            ways.add((*chain, word))
        for way in ways:
            self.balance[way] += 1 if fused else -1
        return fused

    def _kernels(self, operator: Operator) -> set[int]:
        parts = operator.parts or (operator.name,)
        return {number for part in parts for number in self.places.get(part, ())}
