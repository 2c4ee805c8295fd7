"""Which decisions each operator of a space's networks depends on, found by comparing graphs.

An operator is recognised in several networks by its name, which exporters make of the module that
it is in. It depends on a decision where it is another one (other shapes, another type, not there)
in two networks that differ in this decision alone. Networks are built until every operator was seen
under every combination of the decisions that it depends on; where two of them contradict what is
known, what changes between them one decision at a time shows the decision that was missing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    from latprof.graph.operators import Operator

Combination: TypeAlias = tuple[int, ...]
#: A network's operators by their names, in the order they run.
Graph: TypeAlias = "Mapping[str, Operator]"

#: Networks that are built to compare them, at most.
MOST_GRAPHS = 2000
#: Random networks that are built to see whether what was found holds for them.
_CHECKED = 6


@dataclass(frozen=True)
class ComparedGraphs:
    """What a comparison found.

    Parameters
    ----------
    decisions : mapping of str to tuple of int
        The decisions that each operator depends on, by its name; operators in the order they run.
    operators : mapping of (str, tuple of int) to Operator
        The operator under each combination of these decisions' choices; there is none where the
        network lacks it.
    """

    decisions: Mapping[str, Combination]
    operators: Mapping[tuple[str, Combination], Operator]


def compare_graphs(sizes: Sequence[int], read: Callable[[Combination], Graph]) -> ComparedGraphs:
    """Compare the networks of a space.

    Parameters
    ----------
    sizes : sequence of int
        Candidates of each decision.
    read : callable
        The graph of the network with these choices.

    Raises
    ------
    InvalidValueError
        Where operators depend on so many decisions together that too many networks would have to
        be built.
    """
    return _Comparison(sizes, read).run()


class _Comparison:
    def __init__(self, sizes: Sequence[int], read: Callable[[Combination], Graph]) -> None:
        self._sizes, self._read = tuple(sizes), read
        self._graphs: dict[Combination, Graph] = {}
        self._depends: dict[str, set[int]] = {}
        self._generator = np.random.default_rng(0)

    def run(self) -> ComparedGraphs:
        first = (0,) * len(self._sizes)
        self._graph(first)
        for decision, size in enumerate(self._sizes):
            for choice in range(1, size):
                self._compare(first, _changed(first, decision, choice), decision)
        for _ in range(_CHECKED):
            self._graph(self._random({}))
        while True:
            self._cover()
            contradiction = self._contradiction()
            if contradiction is None:
                return self._found()
            self._walk(*contradiction)

    def _graph(self, choices: Combination) -> Graph:
        if choices not in self._graphs:
            if len(self._graphs) >= MOST_GRAPHS:
                raise _too_many(f"more than {MOST_GRAPHS} networks would have to be built")
            self._graphs[choices] = graph = self._read(choices)
            for name in graph:
                self._depends.setdefault(name, set())
        return self._graphs[choices]

    def _compare(self, one: Combination, other: Combination, decision: int) -> None:
        """Note what differs between two networks that differ in one decision."""
        left, right = self._graph(one), self._graph(other)
        for name in {*left, *right}:
            if _signature(left.get(name)) != _signature(right.get(name)):
                self._depends[name].add(decision)

    def _walk(self, one: Combination, other: Combination) -> None:
        """Go from one network to another, a decision at a time, and note what changes."""
        for decision, choice in enumerate(other):
            if one[decision] != choice:
                step = _changed(one, decision, choice)
                self._compare(one, step, decision)
                one = step

    def _sets(self) -> list[Combination]:
        found = sorted({tuple(sorted(each)) for each in self._depends.values() if each})
        for decisions in found:
            combinations = math.prod(self._sizes[each] for each in decisions)
            if combinations > MOST_GRAPHS:
                name = next(n for n, d in self._depends.items() if tuple(sorted(d)) == decisions)
                raise _too_many(
                    f"operator {name} depends on the decisions {', '.join(map(str, decisions))} "
                    f"together: {combinations:,} combinations"
                )
        return found

    def _cover(self) -> None:
        """Build networks until each set of decisions was seen in all its combinations."""
        wanted = {
            (decisions, local)
            for decisions in self._sets()
            for local in itertools.product(*(range(self._sizes[each]) for each in decisions))
        }
        for choices in self._graphs:
            wanted -= self._covered(choices)
        while wanted:
            fixed: dict[int, int] = {}
            for decisions, local in sorted(wanted):
                here = dict(zip(decisions, local, strict=True))
                if all(fixed.get(each, choice) == choice for each, choice in here.items()):
                    fixed |= here
            choices = self._random(fixed)
            self._graph(choices)
            wanted -= self._covered(choices)

    def _covered(self, choices: Combination) -> set[tuple[Combination, Combination]]:
        return {(each, tuple(choices[d] for d in each)) for each in self._sets()}

    def _random(self, fixed: Mapping[int, int]) -> Combination:
        """A network with these choices, the others drawn."""
        drawn = [int(self._generator.integers(size)) for size in self._sizes]
        return tuple(fixed.get(each, choice) for each, choice in enumerate(drawn))

    def _contradiction(self) -> tuple[Combination, Combination] | None:
        """Two networks in which an operator differs although nothing does that it depends on."""
        for name, depends in self._depends.items():
            seen: dict[Combination, Combination] = {}
            for choices, graph in self._graphs.items():
                before = seen.setdefault(tuple(choices[d] for d in sorted(depends)), choices)
                if _signature(self._graphs[before].get(name)) != _signature(graph.get(name)):
                    return before, choices
        return None

    def _found(self) -> ComparedGraphs:
        decisions = {name: tuple(sorted(self._depends[name])) for name in self._in_order()}
        operators = {
            (name, tuple(choices[each] for each in decisions[name])): operator
            for choices, graph in self._graphs.items()
            for name, operator in graph.items()
        }
        return ComparedGraphs(decisions, operators)

    def _in_order(self) -> Iterator[str]:
        """All names: those of the first network, and each other one behind the one before it."""
        following: dict[str, list[str]] = {}
        known: set[str] = set()
        for graph in self._graphs.values():
            before = ""
            for name in graph:
                if name not in known:
                    following.setdefault(before, []).insert(0, name)
                    known.add(name)
                before = name
        waiting = following.pop("", [])[::-1]
        order: list[str] = []
        while waiting:
            name = waiting.pop()
            order.append(name)
            waiting += following.get(name, [])[::-1]
        yield from order


def _changed(choices: Combination, decision: int, choice: int) -> Combination:
    return (*choices[:decision], choice, *choices[decision + 1 :])


def _signature(operator: Operator | None) -> object:
    """What an operator costs by; the same for two that are the same work."""
    if operator is None:
        return None
    return (
        *(operator.kind, operator.op_type, operator.input_shapes, operator.output_shapes),
        *(operator.weight_shape, operator.strides, operator.dilations, operator.groups),
        *(operator.activation, operator.counted_macs, operator.parameters),
    )


def _too_many(problem: str) -> InvalidValueError:
    return InvalidValueError(
        problem,
        field="build",
        expected="operators that depend on few decisions each",
        hint="give layers names that do not depend on other decisions, or write a class",
    )
