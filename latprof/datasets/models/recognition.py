"""Which architecture of a space a network is, told from its operators, whoever exported it.

The operators that multiply are compared with those of the space's blocks, part after part in the
order they run. What fits is built, and all operators of both graphs are compared with what they
read.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from operator import itemgetter
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.errors import LatprofError
from latprof.graph.fusion import fuse
from latprof.graph.fusion_rules import VIEWS
from latprof.graph.reader import read_network

if TYPE_CHECKING:
    from latprof.datasets.models.layers import Block
    from latprof.graph.operators import Network, Operator

#: What tells one operator that multiplies from another.
_Signature: TypeAlias = tuple[object, ...]
_Choices: TypeAlias = NDArray[np.uint8]
#: Sets of choices that are looked at, at most, and architectures that are built.
_MOST_TRIES, _MOST_BUILT = 1000, 32
#: What is applied, as fused operators call it; kinds that join others, or move nothing.
_NAMES = {"Clip": "relu6", "Relu": "relu", "Sigmoid": "sigmoid"}
_JOINING = frozenset({"activation", "normalization", "layout", "identity", "dropout"})
_NOTHING = frozenset({"Identity", "Dropout", *VIEWS})
#: Architectures that show in which order the parts run.
_SHOWN = 16


class _Part(Protocol):
    @property
    def decisions(self) -> tuple[int, ...]: ...


class _Space(Protocol):
    """What of a search space is asked here."""

    @property
    def num_choices(self) -> NDArray[np.int64]: ...
    @property
    def num_architectures(self) -> int: ...
    @property
    def parts(self) -> Sequence[_Part]: ...
    def sample(self, n: int, seed: int = 0) -> Sequence[Any]: ...
    def architectures(self, choices: _Choices) -> Sequence[Any]: ...
    def canonical(self, choices: _Choices) -> _Choices: ...
    def image_shape(self, architecture: Any) -> tuple[int, ...]: ...
    def blocks(self, architecture: Any) -> Sequence[Block]: ...
    def head(self, architecture: Any, batch_size: int = 1) -> Sequence[Operator]: ...
    def onnx_bytes(
        self,
        architecture: Any,
        *,
        batch_size: int = 1,
        seed: int = 0,
        batch_norm: Literal["folded", "kept"] = "folded",
        pruned: bool = False,
    ) -> bytes: ...


def recognized(space: _Space, network: Network) -> Any:
    """Return the architecture of a search space that a network is, or None.

    Where several architectures are the same network it is one of them.
    """
    if not network.inputs or not network.inputs[0][1]:
        return None
    batch = network.inputs[0][1][0]
    wanted: Counter[bytes] | None = None
    # Whoever built the networks runs operators in the order of the space, as a rule.
    found = sorted(_Search(space, fuse(network).operators, batch).found(), key=itemgetter(0))
    for _, choices in found[:_MOST_BUILT]:
        architecture = space.architectures(space.canonical(choices[None]))[0]
        if network.inputs[0][1] != (batch, *space.image_shape(architecture)):
            continue
        try:
            own = read_network(space.onnx_bytes(architecture, batch_size=batch))
        except LatprofError:  # it cannot be built, so nobody can have exported it
            continue
        wanted = _computed(network) if wanted is None else wanted
        if _computed(own) == wanted:
            return architecture
    return None


class _Search:
    """Choices whose operators that multiply are those of a network, in order."""

    def __init__(self, space: _Space, operators: Sequence[Operator], batch: int) -> None:
        self._space, self._batch = space, batch
        self._wanted, self._kinds = _signatures(operators), _kinds(operators)
        self._parts = space.parts
        self._order = _in_order(space, len(self._parts))
        self._left = _MOST_TRIES

    def found(self) -> Iterator[tuple[int, _Choices]]:
        """All choices that fit, shape (decisions,) each, and how many operators stand elsewhere."""
        yield from self._from(0, {})

    def _from(self, place: int, fixed: dict[int, int]) -> Iterator[tuple[int, _Choices]]:
        if place == len(self._order):
            if (apart := self._fitting(fixed, set())) is not None:
                yield apart, self._choices(fixed)
            return
        free = [d for d in self._parts[self._order[place]].decisions if d not in fixed]
        later = {*self._order[place + 1 :]}
        fitting: list[tuple[int, dict[int, int]]] = []
        seen: set[bytes] = set()  # decisions that do not matter here make no other network
        for local in product(*(range(int(self._space.num_choices[d])) for d in free)):
            tried = fixed | dict(zip(free, local, strict=True))
            same = self._space.canonical(self._choices(tried)[None]).tobytes()
            if same in seen or self._left <= 0:
                continue
            seen.add(same)
            self._left -= 1
            if (length := self._fitting(tried, later)) is not None:
                fitting.append((length, tried))
        # What explains most comes first: a block that is left out explains nothing.
        for _, tried in sorted(fitting, key=lambda each: -each[0]):
            yield from self._from(place + 1, tried)

    def _choices(self, fixed: dict[int, int]) -> _Choices:
        return np.array([fixed.get(d, 0) for d in range(len(self._space.num_choices))], np.uint8)

    def _fitting(self, fixed: dict[int, int], later: set[int]) -> int | None:
        """How many multiply before the first of a later part; None where they are others.

        Without later parts it is the number of operators that stand elsewhere.
        """
        (architecture,) = self._space.architectures(self._choices(fixed)[None])
        operators: list[Operator] = []
        settled = furthest = 0
        for block in self._space.blocks(architecture):
            if block.position in later:
                break
            operators += block.operators(self._batch)
            rank = -1 if block.position is None else self._order.index(block.position)
            if rank >= furthest:
                settled, furthest = len(operators), rank
        if later:  # whose blocks may stand before those of earlier parts that are here last
            return self._begins_with(_signatures(operators[:settled]))
        operators += self._space.head(architecture, self._batch)
        own, kinds = _signatures(operators), _kinds(operators)
        if len(own) != len(self._wanted) or self._begins_with(own) is None:
            return None
        if Counter(kinds) != Counter(self._kinds):
            return None
        return sum(one != other for one, other in zip(kinds, self._kinds, strict=True))

    def _begins_with(self, own: Sequence[_Signature]) -> int | None:
        """How many multiply; None where the network does not begin so.

        An operator without an activation may have one in a later part, or in its gate.
        """
        if len(own) > len(self._wanted):
            return None
        pairs = zip(own, self._wanted, strict=False)
        same = all(mine[1:] == its[1:] and mine[0] in ("", its[0]) for mine, its in pairs)
        return len(own) if same else None


def _in_order(space: _Space, parts: int) -> list[int]:
    """The parts in the order in which they run, which one network alone may not show."""
    seen: dict[int, list[float]] = {}
    for architecture in space.sample(min(_SHOWN, space.num_architectures)):
        blocks = space.blocks(architecture)
        first = {block.position: index for index, block in reversed([*enumerate(blocks)])}
        for part, index in first.items():
            if part is not None:
                seen.setdefault(part, []).append(index / len(blocks))
    return sorted(range(parts), key=lambda part: fmean(seen.get(part, (math.inf,))))


def _signatures(operators: Sequence[Operator]) -> list[_Signature]:
    """Operators that multiply, each with the activation that is applied to it or follows it."""
    found: list[_Signature] = []
    for operator, following in pairwise((*operators, None)):
        if operator is None or not operator.macs:
            continue
        applied = operator.activation
        if not applied and following is not None and following.kind == "activation":
            applied = following.activation or _NAMES.get(following.op_type, following.op_type)
        found.append(
            (
                *(applied, operator.kind, operator.macs, operator.stride, operator.dilation),
                operator.output_shapes[0],
            )
        )
    return found


def _kinds(operators: Sequence[Operator]) -> list[str]:
    """The operators' kinds, but for what may stand in another operator."""
    return [operator.kind for operator in operators if operator.kind not in _JOINING]


def _computed(network: Network) -> Counter[bytes]:
    """What each operator computes, from the inputs on: the same for two graphs that do the same."""
    values: dict[str, bytes] = {name: repr(shape).encode() for name, shape in network.inputs}
    found: Counter[bytes] = Counter()
    for operator in fuse(network).operators:
        reads = [values.get(name, b"") for name in operator.reads]
        if operator.op_type in _NOTHING and reads:
            values.update((name, reads[0]) for name in operator.writes)
            continue
        own = (
            *(operator.kind, operator.activation, operator.macs, operator.groups),
            *(operator.kernel, operator.stride, operator.dilation, operator.output_shapes),
        )
        content = b"\0".join([repr(own).encode(), *sorted(reads)])
        digest = hashlib.sha256(content).digest()
        values.update((name, digest) for name in operator.writes)
        found[digest] += 1
    return found
