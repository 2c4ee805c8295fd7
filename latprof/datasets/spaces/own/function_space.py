"""A search space from a function that builds its networks."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from latprof.common.own_code.calling import in_words
from latprof.common.own_code.source_digest import source_digest
from latprof.datasets.spaces.base import Architecture, Choices, Part, SearchSpace
from latprof.datasets.spaces.own.built_networks import INPUT_DTYPES, call_build, is_module, onnx_of
from latprof.datasets.spaces.own.function_arguments import (
    candidate_label,
    checked_candidates,
    checked_dtypes,
    checked_shapes,
)
from latprof.datasets.spaces.own.graph_blocks import GraphBlock
from latprof.datasets.spaces.own.graph_comparison import (
    Combination,
    ComparedGraphs,
    Graph,
    compare_graphs,
)
from latprof.datasets.spaces.own.kept_comparisons import is_kept, kept_or_made
from latprof.errors import InvalidValueError, shown
from latprof.graph.fusion import fuse
from latprof.graph.reader import read_network
from latprof.registry import SPACES

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from latprof.datasets.models.layers import Block
    from latprof.graph.operators import Operator

#: Sizes of an image.
_IMAGE = 3
#: Multiply-accumulates of the reference network at so many pixels (ProxylessNAS-mobile), and which
#: resolutions it is measured at for inputs that are no images.
_REFERENCE_MACS, _REFERENCE_SIZE, _STEP, _MOST_STEPS = 320e6, 224, 32, 16


def space_from_function(
    build: Callable[[Any], Any],
    candidates: Sequence[Sequence[Any]],
    input_shape: Sequence[int] | Mapping[str, Sequence[int]],
    *,
    name: str = "",
    allowed: Callable[[Any], Any] | None = None,
    input_dtype: str | Mapping[str, str] = "float32",
) -> FunctionSpace:
    """Make a search space of a function that builds its networks.

    Parameters
    ----------
    build : callable
        Takes a tuple with one of the candidates of each decision; returns a torch module, or an
        ONNX model (an ``onnx.ModelProto``, its bytes, or the path of its file).
    candidates : sequence of sequences
        The candidates of each decision: numbers, texts, truth values, or lists of them.
    input_shape : sequence of int, or mapping of str to sequence of int
        Shape of one input, without the batch: channels, height and width of an image, channels and
        samples of a sound, the length of a sentence. Of networks with several inputs the shape of
        each by its name, in the order in which modules take them.
    name : str, optional
        What the space is called; the function's name unless given.
    allowed : callable, optional
        Takes what ``build`` takes; says whether this combination is a network of the space. All are
        unless given. Only those that are allowed are built, sampled and searched.
    input_dtype : str, or mapping of str to str
        What torch modules read: ``"float32"``, or ``"int64"`` or ``"int32"`` for indices of words;
        of each input by its name where they differ.

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
    return FunctionSpace(build, candidates, input_shape, name, allowed, input_dtype)


class FunctionSpace(SearchSpace):
    """A space whose networks a function builds; made by :func:`space_from_function`.

    Operators are those of the networks' ONNX graphs. Which of them depend on which decisions is
    found by comparing the graphs of networks that differ in one decision, and checked on random
    ones, which is kept in the user's cache folder; operators that depend on the same decisions are
    a part. An operator is the same one in two networks where its name is: exporters make it of the
    module's name, so modules should be called the same whatever is chosen elsewhere.

    The identity in stores and packs is the name, candidates and shape, and the digest of the
    function's source with all that it uses. Supernets cannot be made of it: it knows no blocks that
    could be trained.
    """

    def __init__(
        self,
        build: Callable[[Any], Any],
        candidates: Sequence[Sequence[Any]],
        input_shape: Sequence[int] | Mapping[str, Sequence[int]],
        name: str = "",
        allowed: Callable[[Any], Any] | None = None,
        input_dtype: str | Mapping[str, str] = "float32",
    ) -> None:
        functions: dict[str, Any] = {"build": build}
        functions |= {} if allowed is None else {"allowed": allowed}
        for field, given in functions.items():
            if not callable(given):
                problem = f"`{field}` is no function"
                raise InvalidValueError(
                    problem, field=field, expected="a callable", got=shown(given)
                )
        self.build, self._allowed = build, allowed
        self.name = name or str(getattr(build, "__name__", ""))
        is_name = isinstance(self.name, str) and self.name.replace("-", "_").isidentifier()
        if not is_name or self.name in SPACES:
            raise InvalidValueError(
                "the space needs a name of its own",
                field="name",
                expected="letters, digits, - and _, and no space that comes with latprof",
                got=shown(self.name),
                hint="it has that of the function where no other is given as name=",
            )
        self._values = checked_candidates(candidates)
        self._shapes = checked_shapes(input_shape)
        self._dtypes, self.input_dtype = checked_dtypes(input_dtype, self._shapes), input_dtype
        self._folder = Path.cwd()

    @property
    def options(self) -> Mapping[str, Any]:
        values: dict[str, Any] = {"candidates": self._values}
        values["input_shape"] = self._shapes.get(None, self._shapes)
        if {*self._dtypes.values()} != {INPUT_DTYPES[0]}:
            values["input_dtype"] = self._dtypes.get(None, self._dtypes)
        found: dict[str, Any] = json.loads(json.dumps(values))
        return found

    def __repr__(self) -> str:
        sizes = "x".join(str(len(each)) for each in self._values)
        return f"<space {self.name}: {sizes} candidates, built by a function>"

    @cached_property
    def source_digest(self) -> str:
        """The digest of the function's source, with those of the constraint and of a subclass."""
        own = None if type(self) is FunctionSpace else type(self)
        things = (self.build, self._allowed, own)
        digests = [source_digest(each) for each in things if each is not None]
        joined = hashlib.sha256("".join(digests).encode()).hexdigest()
        return joined[:16] if len(digests) > 1 else digests[0]

    @cached_property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(map(candidate_label, each)) for each in self._values)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input, or of the first one."""
        return next(iter(self._shapes.values()))

    @property
    def more_input_shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(self._shapes.values())[1:]

    @cached_property
    def reference_resolution(self) -> int:
        """That of an image; of another input the one whose network multiplies about as often."""
        if len(self._shapes) == 1 and len(self.input_shape) == _IMAGE:
            return super().reference_resolution
        (architecture,) = self.sample(1)
        macs = read_network(self.onnx_bytes(architecture)).macs
        share = math.sqrt(macs / _REFERENCE_MACS)
        return _STEP * min(max(round(_REFERENCE_SIZE * share / _STEP), 1), _MOST_STEPS)

    @property
    def is_constrained(self) -> bool:
        return self._allowed is not None or type(self).allowed is not FunctionSpace.allowed

    def allowed(self, choices: Choices) -> NDArray[np.bool_]:
        if self._allowed is None:
            return super().allowed(choices)
        return np.array([self._fits(row) for row in choices.tolist()], dtype=np.bool_)

    def _is_allowed(self, choices: Combination) -> bool:
        return bool(self.allowed(np.array([choices], dtype=np.uint8))[0])

    def _fits(self, choices: Sequence[int]) -> bool:
        """Whether the user's constraint allows these; InvalidValueError for what it raises."""
        assert self._allowed is not None
        values = self._candidates_of(choices)
        try:
            return bool(self._allowed(values))
        except Exception as error:
            raise InvalidValueError(
                f"allowed({values}) raised {in_words(error)}", field="allowed"
            ) from error

    def _candidates_of(self, choices: Sequence[int]) -> tuple[Any, ...]:
        return tuple(each[choice] for each, choice in zip(self._values, choices, strict=True))

    # Networks ------------------------------------------------------------------------------

    def _made(self, choices: Sequence[int], seed: int) -> Any:
        return call_build(self.build, self._candidates_of(choices), self._folder, seed)

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
        return self._onnx_of(choices, batch_size, seed)

    def _onnx_of(self, choices: Sequence[int], batch_size: int = 1, seed: int = 0) -> bytes:
        inputs = {
            name: ((batch_size, *shape), self._dtypes[name]) for name, shape in self._shapes.items()
        }
        return onnx_of(self._made(choices, seed), inputs)

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
        count = Counter[str]()
        graph = {}
        for operator in fuse(read_network(self._onnx_of(choices))).operators:
            count[operator.name] += 1
            again = f"#{count[operator.name]}" if count[operator.name] > 1 else ""
            graph[operator.name + again] = operator
        return graph

    # Parts ---------------------------------------------------------------------------------

    @property
    def is_compared(self) -> bool:
        """Whether the parts are known, or kept, so that no network has to be built for them."""
        return "_compared" in vars(self) or is_kept(self.description)

    @cached_property
    def _compared(self) -> ComparedGraphs:
        return kept_or_made(
            self.description,
            lambda: compare_graphs(
                self.num_choices.tolist(),
                self._graph,
                self._is_allowed if self.is_constrained else None,
            ),
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
