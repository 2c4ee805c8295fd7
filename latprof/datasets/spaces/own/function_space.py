"""A search space from a function that builds its networks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from latprof.common.limits import whole
from latprof.common.own_code.source_digest import source_digest
from latprof.datasets.spaces.base import Architecture, Part, SearchSpace
from latprof.datasets.spaces.own.built_networks import call_build, is_module, onnx_of
from latprof.datasets.spaces.own.graph_blocks import GraphBlock
from latprof.datasets.spaces.own.graph_comparison import (
    Combination,
    ComparedGraphs,
    Graph,
    compare_graphs,
)
from latprof.datasets.spaces.own.kept_comparisons import kept_or_made
from latprof.errors import InvalidValueError, shown
from latprof.graph.fusion import fuse
from latprof.graph.reader import read_network
from latprof.registry import SPACES

if TYPE_CHECKING:
    import torch

    from latprof.datasets.models.layers import Block
    from latprof.graph.operators import Operator

#: Candidates of one decision: choices are bytes.
_MOST_CANDIDATES = 255
_MOST_DECISIONS = 10_000
_SIZE = whole(1, 1 << 16)


def space_from_function(
    build: Callable[[Any], Any],
    candidates: Sequence[Sequence[Any]],
    input_shape: Sequence[int],
    *,
    name: str = "",
) -> FunctionSpace:
    """Make a search space of a function that builds its networks.

    Parameters
    ----------
    build : callable
        Takes a tuple with one of the candidates of each decision; returns a torch module, or an
        ONNX model (an ``onnx.ModelProto``, its bytes, or the path of its file) with one input.
    candidates : sequence of sequences
        The candidates of each decision: numbers, texts, truth values, or lists of them.
    input_shape : sequence of 3 int
        Channels, height and width of one image.
    name : str, optional
        What the space is called; the function's name unless given.

    Returns
    -------
    FunctionSpace
        Its parts, blocks and lookup-table keys are found by comparing graphs when they are asked
        for, which builds some dozens of networks (:class:`FunctionSpace`).

    Raises
    ------
    InvalidValueError
        For candidates, a shape or a name that are none.

    Examples
    --------
    Six layers of three widths each::

        def resnet(widths):
            return MyResNet(widths)  # a torch.nn.Module

        space = latprof.space_from_function(resnet, [(16, 24, 32)] * 6, (3, 32, 32))
        latprof.collect(space=space, n=200, store="lat.db")
    """
    return FunctionSpace(build, candidates, input_shape, name)


class FunctionSpace(SearchSpace):
    """A space whose networks a function builds; made by :func:`space_from_function`.

    Operators are those of the networks' ONNX graphs. Which of them depend on which decisions is
    found by comparing the graphs of networks that differ in one decision, and checked on random
    ones, which is kept in the user's cache folder; operators that depend on the same decisions are
    a part. An operator is the same one in two
    networks where its name is: exporters make it of the module's name, so modules should be called
    the same whatever is chosen elsewhere.

    The identity in stores and packs is the name, candidates and shape, and the digest of the
    function's source with all that it uses. Supernets cannot be made of it: it knows no blocks that
    could be trained.
    """

    def __init__(
        self,
        build: Callable[[Any], Any],
        candidates: Sequence[Sequence[Any]],
        input_shape: Sequence[int],
        name: str = "",
    ) -> None:
        if not callable(build):
            raise InvalidValueError(
                "`build` is no function", field="build", expected="a callable", got=shown(build)
            )
        self.build = build
        self.name = name or str(getattr(build, "__name__", ""))
        is_name = isinstance(self.name, str) and self.name.replace("-", "_").isidentifier()
        if not is_name or self.name in SPACES:
            raise InvalidValueError(
                "the space needs a name of its own",
                field="name",
                expected="letters, digits, - and _",
                got=shown(self.name),
            )
        self._values = _checked_candidates(candidates)
        sizes = input_shape if isinstance(input_shape, Sequence | np.ndarray) else ()
        if len(sizes) != 3:
            raise InvalidValueError(
                "not the shape of an image",
                field="input_shape",
                expected="channels, height and width",
                got=shown(input_shape),
            )
        for size in sizes:
            _SIZE.check("input_shape", size)
        channels, height, width = map(int, sizes)
        self._shape = (channels, height, width)
        self._folder = Path.cwd()

    @property
    def options(self) -> Mapping[str, Any]:
        values = [list(each) for each in self._values]
        found: dict[str, Any] = json.loads(
            json.dumps({"candidates": values, "input_shape": self._shape})
        )
        return found

    def __repr__(self) -> str:
        sizes = "x".join(str(len(each)) for each in self._values)
        return f"<space {self.name}: {sizes} candidates, built by a function>"

    @cached_property
    def source_digest(self) -> str:
        """The digest of the function's source."""
        return source_digest(self.build)

    @cached_property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(map(_label, each)) for each in self._values)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self._shape

    # Networks ------------------------------------------------------------------------------

    def _made(self, choices: Sequence[int], seed: int) -> Any:
        values = tuple(each[choice] for each, choice in zip(self._values, choices, strict=True))
        return call_build(self.build, values, self._folder, seed)

    def onnx_bytes(
        self,
        architecture: Architecture,
        *,
        batch_size: int = 1,
        seed: int = 0,
        batch_norm: Literal["folded", "kept"] = "folded",
        pruned: bool = False,
    ) -> bytes:
        """The model that the function builds, or torch's export of its module.

        ``batch_norm`` and ``pruned`` change nothing: the model is as the function has it.
        """
        del batch_norm, pruned
        choices = self.choices([architecture])[0].tolist()
        return onnx_of(self._made(choices, seed), (batch_size, *self._shape))

    def build_torch(self, architecture: Architecture, *, seed: int = 0) -> torch.nn.Module:
        """The torch module that the function builds, in eval mode.

        Raises InvalidValueError where it builds ONNX models.
        """
        made = self._made(self.choices([architecture])[0].tolist(), seed)
        if not is_module(made):
            raise InvalidValueError(
                f"space {self.name} has no torch modules",
                field="build",
                expected="a function that returns a torch.nn.Module",
                got=type(made).__name__,
            )
        module: torch.nn.Module = made.eval()
        return module

    def _graph(self, choices: Combination) -> Graph:
        """The operators as runtimes fuse them, each under a name of its own."""
        content = onnx_of(self._made(choices, 0), (1, *self._shape))
        count = Counter[str]()
        graph = {}
        for operator in fuse(read_network(content)).operators:
            count[operator.name] += 1
            again = f"#{count[operator.name]}" if count[operator.name] > 1 else ""
            graph[operator.name + again] = operator
        return graph

    # Parts ---------------------------------------------------------------------------------

    @cached_property
    def _compared(self) -> ComparedGraphs:
        return kept_or_made(
            self.description, lambda: compare_graphs(self.num_choices.tolist(), self._graph)
        )

    @cached_property
    def _runs(self) -> tuple[tuple[str, Combination, tuple[str, ...]], ...]:
        """Operators in a row that depend on the same decisions: a name, these, their names."""
        runs = []
        taken = Counter[str]()
        decisions = self._compared.decisions
        for owned, names in groupby(decisions, key=decisions.__getitem__):
            inside = tuple(names)
            name = _scope(inside)
            taken[name] += 1
            again = f".{taken[name]}" if taken[name] > 1 else ""
            runs.append((name + again, owned, inside))
        return tuple(runs)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        found = {owned: name for name, owned, _ in reversed(self._runs) if owned}
        first = [owned for _, owned, _ in self._runs if owned]
        parts = [Part(found[owned], owned) for owned in dict.fromkeys(first)]
        used = {decision for part in parts for decision in part.decisions}
        idle = [each for each in range(len(self.num_choices)) if each not in used]
        return (*parts, *(Part(f"decision{each}", (each,)) for each in idle))

    @cached_property
    def _positions(self) -> Mapping[Combination, int]:
        return {part.decisions: number for number, part in enumerate(self.parts)}

    def part_blocks(self, part: int, local_choices: tuple[int, ...]) -> tuple[Block, ...]:
        decisions = self.check_part(part, local_choices).decisions
        runs = [run for run in self._runs if run[1] == decisions]
        blocks = (self._block(run, tuple(local_choices)) for run in runs)
        return tuple(block for block in blocks if block is not None)

    def blocks(self, architecture: Architecture) -> tuple[Block, ...]:
        choices = self.choices([architecture])[0].tolist()
        blocks = (self._block(run, tuple(choices[d] for d in run[1])) for run in self._runs)
        return tuple(block for block in blocks if block is not None)

    def _block(
        self, run: tuple[str, Combination, tuple[str, ...]], local: Combination
    ) -> GraphBlock | None:
        """A run's block; None where none of its operators is in the network."""
        name, decisions, names = run
        known = self._compared.operators
        operators = [known[each, local] for each in names if (each, local) in known]
        if not operators:
            return None
        position = self._positions[decisions] if decisions else None
        return GraphBlock.of_operators(name, position, operators)

    def head(
        self,
        architecture: Architecture,  # noqa: ARG002 - pool and classifier are in the blocks
        batch_size: int = 1,  # noqa: ARG002
    ) -> tuple[Operator, ...]:
        return ()


def _checked_candidates(given: Sequence[Sequence[Any]]) -> tuple[tuple[Any, ...], ...]:
    """The candidates as tuples; raises InvalidValueError for what is none.

    Numbers of NumPy become Python's.
    """
    try:
        outer = islice(given, _MOST_DECISIONS)
        found = tuple(tuple(map(_plain, islice(each, _MOST_CANDIDATES + 1))) for each in outer)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        found = ()
    sizes = [len(set(map(_label, each))) for each in found]
    if not found or any(not 1 <= size <= _MOST_CANDIDATES for size in sizes):
        raise InvalidValueError(
            "not the candidates of decisions",
            field="candidates",
            expected=f"for each decision 1 to {_MOST_CANDIDATES} numbers, texts or lists of them",
            got=shown(given, 200),
        )
    if sizes != [len(each) for each in found]:
        raise InvalidValueError(
            "a decision has a candidate twice", field="candidates", got=shown(given, 200)
        )
    return found


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _label(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _scope(names: Sequence[str]) -> str:
    """What the names of operators begin with in common: ``layer1.conv`` of ``/layer1/conv/Conv``.

    The first one's where they have nothing in common.
    """
    paths = [[each for each in name.split("/") if each] for name in names]
    common = []
    for pieces in zip(*paths, strict=False):
        if len(set(pieces)) > 1:
            break
        common.append(pieces[0])
    return ".".join(common or paths[0]) or names[0]
