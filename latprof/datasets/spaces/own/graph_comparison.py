"""Which decisions each operator of a space's networks depends on, found by comparing graphs.

An operator is recognised in several networks by its name, which exporters make of the module that
it is in. It depends on a decision where it is another one (other shapes, another type, not there)
in two networks that differ in this decision alone. Networks are built until every operator was seen
under every combination of the decisions that it depends on; where two of them contradict what is
known, what changes between them one decision at a time shows the decision that was missing.

A classifier behind a searched number of layers reads the width of the last of them: it depends on
the number and on every width, but for each number on one width alone. So an operator that depends
on many combinations is looked at apart for each choice of a decision that makes operators appear.

Where names follow from other decisions (a place in a list, a counter), the operator of a name
depends on all of these. Then operators are recognised by what they compute: the first, second...
of its kind and shapes is there or not, which depends on few decisions where stages differ in size.
"""

from __future__ import annotations

import graphlib
import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from latprof.datasets.spaces.own.graph_blocks import graph_key
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
#: Combinations of an operator's decisions from which on another way to look at it is tried first.
_MANY = 200
#: Random choices that are drawn until one is allowed; and where another will do.
_DRAWN, _TRIED = 1000, 30


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


def compare_graphs(
    sizes: Sequence[int],
    read: Callable[[Combination], Graph],
    allowed: Callable[[Combination], bool] | None = None,
) -> ComparedGraphs:
    """Compare the networks of a space.

    Parameters
    ----------
    sizes : sequence of int
        Candidates of each decision.
    read : callable
        The graph of the network with these choices.
    allowed : callable, optional
        Whether there is a network with these choices; there is unless given.

    Raises
    ------
    InvalidValueError
        Where operators depend on so many decisions together that too many networks would have to
        be built, or no network was found that is allowed.
    """
    graphs: dict[Combination, Graph] = {}

    def kept(choices: Combination) -> Graph:
        if choices not in graphs:
            graphs[choices] = read(choices)
        return graphs[choices]

    first: _TooManyError | None = None
    for most in (_MANY, MOST_GRAPHS):
        for by_content in (False, True):
            try:
                return _Comparison(sizes, kept, allowed, most, by_content=by_content).run()
            except _TooManyError as error:
                first = error if first is None or (most > _MANY and not by_content) else first
    raise InvalidValueError(
        str(first),
        field="build",
        expected="operators that depend on few decisions each",
        hint="give layers names that do not depend on other decisions, or write a class",
    )


class _TooManyError(Exception):
    """Operators depend on too many combinations of decisions, looked at this way."""


class _Comparison:
    def __init__(
        self,
        sizes: Sequence[int],
        read: Callable[[Combination], Graph],
        allowed: Callable[[Combination], bool] | None,
        most: int,
        *,
        by_content: bool,
    ) -> None:
        self._sizes, self._read, self._allowed = tuple(sizes), read, allowed
        self._most, self._by_content = most, by_content
        self._contents: dict[str, list[object]] = {}
        self._graphs: dict[Combination, Graph] = {}
        self._depends: dict[str, set[int]] = {}
        self._pairs: list[tuple[Combination, Combination, int]] = []
        # How many operators each decision makes appear; by which the choices of operators are
        # looked at apart, and what they were called before.
        self._appear = Counter[int]()
        self._apart: dict[str, Combination] = {}
        self._plain: dict[str, str] = {}
        self._generator = np.random.default_rng(0)
        self._impossible: set[tuple[Combination, Combination]] = set()

    def run(self) -> ComparedGraphs:
        first = (0,) * len(self._sizes)
        if not self._fits(first):
            drawn = self._random({})
            if drawn is None:
                raise InvalidValueError(
                    f"none of {_DRAWN} random networks is allowed", field="allowed"
                )
            first = drawn
        self._graph(first)
        for decision, size in enumerate(self._sizes):
            for choice in range(size):
                one = self._beside(first, decision, choice)
                if one is not None:
                    self._compare(one, _changed(one, decision, choice), decision)
        for _ in range(_CHECKED):
            if (some := self._random({})) is not None:
                self._graph(some)
        while True:
            self._look_apart()
            self._cover()
            contradiction = self._contradiction()
            if contradiction is None:
                return self._found()
            self._walk(*contradiction)

    def _fits(self, choices: Combination) -> bool:
        return self._allowed is None or self._allowed(choices)

    def _graph(self, choices: Combination) -> Graph:
        if choices not in self._graphs:
            if len(self._graphs) >= MOST_GRAPHS:
                raise _TooManyError(f"more than {MOST_GRAPHS} networks would have to be built")
            graph = self._read(choices)
            self._keep(choices, self._called_by_content(graph) if self._by_content else graph)
        return self._graphs[choices]

    def _called_by_content(self, graph: Graph) -> Graph:
        """The graph with each operator called by its kind, shapes and number among its like."""
        count = Counter[str]()
        called = {}
        for operator in graph.values():
            name = graph_key(operator)
            signatures = self._contents.setdefault(name, [])
            if (signature := _signature(operator)) not in signatures:
                signatures.append(signature)
            if place := signatures.index(signature):
                name = f"{name}~{place + 1}"
            count[name] += 1
            called[f"{name}#{count[name]}"] = operator
        return called

    def _keep(self, choices: Combination, graph: Graph) -> None:
        """Keep a graph, with names of their own for operators that are looked at apart."""
        named = {}
        for name, operator in graph.items():
            plain = self._plain.get(name, name)
            apart = "".join(f"[{each}={choices[each]}]" for each in self._apart.get(plain, ()))
            self._plain[plain + apart] = plain
            named[plain + apart] = operator
        self._graphs[choices] = named
        for name in named:
            self._depends.setdefault(name, set())

    def _look_apart(self) -> None:
        """Name operators of many combinations by a choice, and find again what they depend on."""
        while not self._by_content:
            for name, depends in self._depends.items():
                known = self._apart.get(plain := self._plain[name], ())
                left = [each for each in depends if self._appear[each] and each not in known]
                if left and math.prod(self._sizes[each] for each in depends) > _MANY:
                    break
            else:
                return
            self._apart[plain] = (*known, max(left, key=lambda each: (self._appear[each], -each)))
            self._depends.clear()
            for choices, graph in list(self._graphs.items()):
                self._keep(choices, graph)
            for pair in self._pairs:
                self._note(*pair)

    def _compare(self, one: Combination, other: Combination, decision: int) -> None:
        """Note what differs between two networks that differ in one decision."""
        left, right = self._graph(one), self._graph(other)
        self._appear[decision] += len(
            {*map(self._plain.get, left)} ^ {*map(self._plain.get, right)}
        )
        self._pairs.append((one, other, decision))
        self._note(one, other, decision)

    def _note(self, one: Combination, other: Combination, decision: int) -> None:
        left, right = self._graphs[one], self._graphs[other]
        for name in {*left, *right}:
            if _signature(left.get(name)) != _signature(right.get(name)):
                self._depends[name].add(decision)

    def _beside(self, first: Combination, decision: int, choice: int) -> Combination | None:
        """A network, ``first`` if it may be, that may have this choice too in place of its own."""
        if first[decision] == choice:
            return None
        if self._fits(_changed(first, decision, choice)):
            return first
        for _ in range(_TRIED):
            other = self._random({decision: choice})
            if other is None:
                return None
            back = _changed(other, decision, first[decision])
            if self._fits(back):
                return back
        return None

    def _walk(self, one: Combination, other: Combination) -> None:
        """Go from one network to another, a decision at a time, and note what changes.

        Where no single step is allowed, what changes depends on all that are left.
        """
        while left := [d for d, choice in enumerate(other) if one[d] != choice]:
            for decision in left:
                step = _changed(one, decision, other[decision])
                if self._fits(step):
                    self._compare(one, step, decision)
                    break
            else:
                step = other
                for decision in left:
                    self._compare(one, other, decision)
            one = step

    def _sets(self) -> list[Combination]:
        found = sorted({tuple(sorted(each)) for each in self._depends.values() if each})
        for decisions in found:
            combinations = math.prod(self._sizes[each] for each in decisions)
            if combinations > self._most:
                name = next(n for n, d in self._depends.items() if tuple(sorted(d)) == decisions)
                raise _TooManyError(
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
        wanted -= self._impossible
        while wanted:
            fixed: dict[int, int] = {}
            drawn: Combination | None = None
            for decisions, local in sorted(wanted):
                here = dict(zip(decisions, local, strict=True))
                if any(fixed.get(each, choice) != choice for each, choice in here.items()):
                    continue
                if self._allowed and not (drawn and _has(drawn, here)):
                    more = self._random(fixed | here, _TRIED if fixed else _DRAWN)
                    if more is None and not fixed:
                        self._impossible.add((decisions, local))
                    if more is None:
                        continue
                    drawn = more
                fixed |= here
            if (some := drawn or self._random(fixed)) is None:
                break
            self._graph(some)
            wanted -= self._covered(some) | self._impossible

    def _covered(self, choices: Combination) -> set[tuple[Combination, Combination]]:
        return {(each, tuple(choices[d] for d in each)) for each in self._sets()}

    def _random(self, fixed: Mapping[int, int], tries: int = _DRAWN) -> Combination | None:
        """A network with these choices, the others drawn; None where none is found."""
        for _ in range(tries):
            drawn = [int(self._generator.integers(size)) for size in self._sizes]
            choices = tuple(fixed.get(each, choice) for each, choice in enumerate(drawn))
            if self._fits(choices):
                return choices
        return None

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
        order = (self._by_content and self._after_each_other()) or self._in_order()
        decisions = {name: tuple(sorted(self._depends[name])) for name in order}
        operators = {
            (name, tuple(choices[each] for each in decisions[name])): operator
            for choices, graph in self._graphs.items()
            for name, operator in graph.items()
        }
        return ComparedGraphs(decisions, operators)

    def _after_each_other(self) -> list[str]:
        """All names in an order that holds in every network; empty where there is none."""
        follows: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
        places: dict[str, list[float]] = {}
        for graph in self._graphs.values():
            for place, (before, after) in enumerate(itertools.pairwise(["", *graph])):
                follows.add(after, before)
                places.setdefault(after, []).append(place / len(graph))
        try:
            follows.prepare()
        except graphlib.CycleError:
            return []
        order, waiting = [], list[tuple[float, str]]()
        while follows.is_active():  # of those that may be next the one that stands first on average
            for name in follows.get_ready():
                heapq.heappush(waiting, (fmean(places.get(name, (0.0,))), name))
            order.append(heapq.heappop(waiting)[1])
            follows.done(order[-1])
        return order[1:]

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


def _has(choices: Combination, fixed: Mapping[int, int]) -> bool:
    return all(choices[decision] == choice for decision, choice in fixed.items())


def _signature(operator: Operator | None) -> object:
    """What an operator costs by; the same for two that are the same work."""
    if operator is None:
        return None
    return (
        *(operator.kind, operator.op_type, operator.input_shapes, operator.output_shapes),
        *(operator.weight_shape, operator.strides, operator.dilations, operator.groups),
        *(operator.activation, operator.counted_macs, operator.parameters),
    )
