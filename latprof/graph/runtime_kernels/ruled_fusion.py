"""Fusion by the rules of one runtime (:mod:`latprof.graph.fusion_rules`)."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from latprof.graph.fusion_rules import INTO, VIEWS, rule_kind
from latprof.graph.runtime_kernels.joined_operators import joined, renamed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latprof.graph.operators import Network, Operator


class Joining(Protocol):
    """What says which operators join a kernel: :class:`~latprof.graph.fusion_rules.FusionRules`."""

    @property
    def absent(self) -> frozenset[str]:
        """Operators that run no kernel, by their words."""

    @property
    def first_input(self) -> bool:
        """Whether of several kernels the one is joined whose result is read first, or the last."""

    def joins(self, before: Operator, chain: Sequence[str], operator: Operator, word: str) -> bool:
        """Whether an operator, by its word, joins the kernel ``before`` it of such a chain."""


def fuse_by_rules(network: Network, rules: Joining) -> Network:
    """Merge operators as rules say.

    An operator may join a kernel whose result only it reads; others of this kind may go into the
    same kernel. What runs no kernel is looked through, and counts with the kernel before it.
    """
    kernels = _Kernels(network, rules)
    for number, operator in enumerate(network.operators):
        kernels.add(number, operator)
    return dataclasses.replace(network, operators=kernels.made)


class _Kernels:
    """The kernels of the operators so far."""

    def __init__(self, network: Network, rules: Joining) -> None:
        self._rules = rules
        #: None where one ran in a later one, and the words that each is made of.
        self._merged: list[Operator | None] = []
        self._chains: list[list[str]] = []
        self._made_by: dict[str, int] = {}
        self._same: dict[str, str] = {}
        self._readers = Counter(name for op in network.operators for name in op.reads)
        self._readers.update(name for name, _ in network.outputs)
        self._last_reader = _last_readers(network, rules.absent)

    @property
    def made(self) -> tuple[Operator, ...]:
        """The kernels in order."""
        return tuple(filter(None, self._merged))

    def add(self, number: int, original: Operator) -> None:
        """Add the operator of this number."""
        operator = renamed(original, self._same)
        word = rule_kind(operator)
        if _is_view(operator, self._rules.absent):
            self._look_through(operator)
            return
        for index in self._alone(operator):
            word = self._word(operator, number, index)
            if self._join(index, operator, word):
                break
        else:
            index, word = len(self._merged), rule_kind(operator)
            self._merged.append(operator)
            self._chains.append([])
        self._chains[index].append(word)
        self._made_by.update(dict.fromkeys(operator.writes, index))

    def _look_through(self, view: Operator) -> None:
        """Read a view's value instead; a runtime may call the kernel before it by its name."""
        source = self._same[view.writes[0]] = view.reads[0]
        self._readers[source] += self._readers[view.writes[0]] - 1
        index = self._made_by.get(source, -1)
        before = self._merged[index] if index >= 0 else None
        if before is not None:
            parts = (*(before.parts or (before.name,)), view.name)
            self._merged[index] = dataclasses.replace(before, parts=parts)

    def _alone(self, operator: Operator) -> list[int]:
        """The kernels whose results only this operator reads, those that work first."""
        if len(operator.writes) != 1:
            return []
        made_by = self._made_by
        alone = [made_by[n] for n in operator.reads if n in made_by and self._readers[n] == 1]
        first = self._rules.first_input
        order = [*dict.fromkeys(alone)] if first else sorted({*alone}, reverse=True)
        return sorted(order, key=lambda index: not self._macs(index))

    def _macs(self, index: int) -> int:
        kernel = self._merged[index]
        return 0 if kernel is None else kernel.macs

    def _word(self, operator: Operator, number: int, index: int) -> str:
        """An operator's word where it would join a kernel: what else it reads may be kept."""
        others = [name for name in operator.reads if self._made_by.get(name) != index]
        kept = any(self._last_reader.get(name, 0) > number for name in others)
        return f"{rule_kind(operator)} kept" if kept else rule_kind(operator)

    def _join(self, index: int, operator: Operator, word: str) -> bool:
        """Let an operator join a kernel where the rules say so, others that it reads with it."""
        before = self._merged[index]
        if before is None or not self._rules.joins(before, self._chains[index], operator, word):
            return False
        for other in self._alone(operator):
            absorbed = self._merged[other] if other != index else None
            if absorbed is None or absorbed.macs:
                continue
            if self._rules.joins(absorbed, [*self._chains[other], INTO], operator, word):
                before, self._merged[other] = _absorb(absorbed, before, operator), None
        if operator.macs and not before.macs:
            self._chains[index].clear()  # what comes after is judged by what does the work
        self._merged[index] = joined(before, operator)
        return True


def _absorb(absorbed: Operator, before: Operator, operator: Operator) -> Operator:
    """A kernel that does what another does as well, which ``operator`` alone reads."""
    return dataclasses.replace(
        before,
        reads=(*before.reads, *absorbed.reads),
        input_shapes=(*before.input_shapes, *absorbed.input_shapes),
        parts=(*(before.parts or (before.name,)), *(absorbed.parts or (absorbed.name,))),
        writes=(*before.writes, *(name for name in absorbed.writes if name in operator.reads)),
    )


def _is_view(operator: Operator, absent: frozenset[str]) -> bool:
    """Whether an operator runs no kernel, and writes the one value that it reads."""
    reads = len(operator.reads)
    one = reads == 1 or (reads > 1 and operator.op_type in VIEWS)
    return one and bool(operator.writes) and rule_kind(operator) in absent


def _last_readers(network: Network, absent: frozenset[str]) -> Mapping[str, int]:
    """The number of the last operator that reads each value, by itself or by a view of it."""
    same: dict[str, str] = {}
    last: dict[str, int] = {}
    for number, original in enumerate(network.operators):
        operator = renamed(original, same)
        if _is_view(operator, absent):
            same[operator.writes[0]] = operator.reads[0]
        else:
            last.update(dict.fromkeys(operator.reads, number))
    end = len(network.operators)
    last.update((same.get(name, name), end) for name, _ in network.outputs)
    return last
