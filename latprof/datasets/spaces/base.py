"""The contract of a search space, and the architectures it holds."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.limits import check_seed, whole
from latprof.common.own_code.calling import called, guard
from latprof.common.own_code.source_digest import source_digest
from latprof.common.own_code.space_answers import ANSWERS
from latprof.common.short_reprs import short
from latprof.datasets.spaces.batches import checked_indices, distinct, index, stacked
from latprof.errors import InvalidValueError
from latprof.registry import SPACES, option_names

if TYPE_CHECKING:
    import onnx
    import torch

    from latprof.datasets.models.layers import Block
    from latprof.graph.operators import Network, Operator

#: Most networks of one sample, and images of one run.
_MOST_SAMPLES, _MOST_IMAGES = 10**8, 1 << 20
#: Draws of thousands in a row without a new network, after which there are no more.
_MOST_IDLE = 2000
#: Combinations of a constrained space that are counted, at most; that are drawn to see what is
#: allowed; and draws without a new network after which a sample ends.
_MOST_COUNTED, _DRAWN, PATIENCE = 1 << 18, 4096, 200

Choices: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, order=True)
class Architecture:
    """A network of a search space: one choice (an index) for each decision.

    ``str(architecture)`` is its spelling, for example ``"proxyless:1,0,6,6,..."``.
    """

    space: str
    choices: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.space}:{','.join(map(str, self.choices))}"


@dataclass(frozen=True)
class Part:
    """A piece of every network of a space whose blocks depend on these decisions only.

    Parameters
    ----------
    name : str
        Names the piece in tables and messages; unique in its space.
    decisions : tuple of int
        The decisions that fix the part's blocks; at least one.
    """

    name: str
    decisions: tuple[int, ...]


@cache
def _argument_names(space: type[SearchSpace]) -> tuple[str, ...]:
    return tuple(option_names(space))


class SearchSpace(ABC):
    """A finite set of architectures, described by decisions with named candidates.

    A space is immutable and safe to share between threads. Batches are arrays of shape
    (n, decisions), one index of a candidate each, dtype uint8; every method that takes
    ``architectures`` takes such an array or a sequence of :class:`Architecture`, and leaves it as
    it is. Arrays and models that are returned belong to the caller.

    Errors: InvalidValueError for options outside their limits, and for architectures, choices and
    parts that are none of the space; MissingDependencyError where a model needs a library that is
    not installed; OwnCodeError for whatever else a subclass outside latprof raises, and for answers
    of other types. :class:`latprof.testing.SpaceContract` checks all of this.

    Subclasses set ``name``, keep the arguments of ``__init__`` as attributes, and implement
    :attr:`candidates`, :attr:`input_shape`, :meth:`blocks` and :meth:`head`. Decisions are
    independent here: any combination of candidates is an architecture. Where some are not, they
    override :meth:`allowed`. Where a decision may not matter (a layer beyond its stage's depth)
    they override :meth:`active` and :attr:`num_architectures`; where blocks depend on several
    decisions, or a decision fixes several blocks, :attr:`parts`. A network's cost is, before any
    measurement, the sum over its parts and over what never changes: ``Block.position`` is the index
    of the block's part, None for a block that no decision changes.
    """

    name: str = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        guard(cls, ANSWERS)

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments the space was made with, as plain JSON values.

        Here the attributes that are called like the arguments of ``__init__``.
        """
        given = {name: getattr(self, name) for name in _argument_names(type(self))}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}

    @property
    @abstractmethod
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        """Names of the candidates of every decision; their number may differ."""

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image or other input, without the batch; the largest where they differ.

        Channels, height and width of an image.
        """

    @property
    def more_input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the inputs after the first, without the batch; here there are none."""
        return ()

    def image_shape(
        self,
        architecture: Architecture,  # noqa: ARG002 - most spaces have one size of image
    ) -> tuple[int, ...]:
        """Shape of the input that this architecture takes."""
        return self.input_shape

    @property
    def common_image_shape(self) -> tuple[int, ...] | None:
        """The input that every architecture takes; None where it is a decision."""
        return self.input_shape

    @property
    def reference_resolution(self) -> int:
        """Height and width of the reference network's image in a measurement.

        The reference should take about as long as what it measures: spaces whose networks take
        longer than a mobile network of their image size say so. Here the square of as many pixels.
        """
        return round(math.sqrt(math.prod(self.input_shape[1:])))

    @abstractmethod
    def blocks(self, architecture: Architecture) -> tuple[Block, ...]:
        """The architecture's blocks in execution order, fixed ones included."""

    @abstractmethod
    def head(self, architecture: Architecture, batch_size: int = 1) -> tuple[Operator, ...]:
        """The operators after the last block: the global pool, if any, and the classifier."""

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={short(value)}" for name, value in self.options.items())
        return f"{type(self).__name__}({options})"

    @property
    def description(self) -> str:
        """Canonical JSON of name and options: the identity that stores and packs carry.

        That of a space of your own has the digest of its source too.
        """
        source = {"source": self.source_digest} if self.source_digest else {}
        values = {"name": self.name, "options": dict(self.options), **source}
        return json.dumps(values, sort_keys=True)

    @cached_property
    def is_found_by_name(self) -> bool:
        """Whether the name leads to this class: latprof has it, or a package with an entry point.

        Any other is a space of your own, which only your own process can build.
        """
        return SPACES.leads_to(self.name, type(self))

    @cached_property
    def source_digest(self) -> str:
        """The digest of the source of a space of your own; empty where its name says all."""
        own = type(self).__module__.partition(".")[0] != "latprof" and not self.is_found_by_name
        return source_digest(type(self)) if own else ""

    def difference_from(self, description: str) -> str:
        """Why the networks of a description are not this space's, in words; empty where they are.

        Descriptions of earlier versions say nothing of the source.
        """
        if description == self.description:
            return ""
        try:
            other = json.loads(description)
            name, options, source = other["name"], dict(other["options"]), other.get("source")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return "it is not described as one"
        if name != self.name:
            return f"it is {str(name)[:80]!r}, not {self.name!r}"
        own = json.loads(self.description)["options"]
        if options != own:
            names = [n for n in sorted({*options, *own}) if options.get(n) != own.get(n)]
            return f"its options differ: {', '.join(map(str, names))[:200]}"
        known = self.source_digest or source_digest(type(self))
        if source is None or source == known:
            return ""
        return f"its source was changed since (digest {str(source)[:16]}, now {known})"

    @cached_property
    def num_choices(self) -> NDArray[np.int64]:
        """Number of candidates of each decision, shape (decisions,)."""
        return np.array([len(names) for names in self.candidates])

    # What the decisions mean ---------------------------------------------------------------

    def active(self, choices: Choices) -> NDArray[np.bool_]:
        """Which decisions matter in each of n architectures, shape (n, decisions)."""
        return np.ones(choices.shape, dtype=np.bool_)

    def canonical(self, choices: Choices) -> Choices:
        """The same networks with inactive decisions set to 0, shape (n, decisions).

        Two architectures are the same network where their canonical choices are.
        """
        matter = self.active(choices)
        return choices if matter.all() else (choices * matter).astype(np.uint8, copy=False)

    def allowed(self, choices: Choices) -> NDArray[np.bool_]:
        """Which of n combinations are architectures of the space, shape (n,); here all.

        Where decisions constrain each other (a width that the heads divide, a limit of parameters)
        a space overrides this; the answer is the same for :meth:`canonical` choices. Samples and
        searches keep to what is allowed.
        """
        return np.ones(len(choices), dtype=np.bool_)

    @property
    def is_constrained(self) -> bool:
        """Whether some combinations may not be allowed."""
        return type(self).allowed is not SearchSpace.allowed

    @property
    def num_architectures(self) -> int:
        """Number of distinct networks, inactive decisions not counted.

        Where there is a constraint and many combinations, an estimate.
        """
        return self._num_allowed if self.is_constrained else math.prod(self.num_choices.tolist())

    @cached_property
    def _num_allowed(self) -> int:
        """How many combinations are allowed: counted, or estimated from random ones."""
        total = math.prod(self.num_choices.tolist())
        if total > _MOST_COUNTED:
            share = float(np.mean(self.allowed(self._drawn())))
            return max(1, int(total * Fraction(share)))
        numbers = np.unravel_index(np.arange(total), tuple(self.num_choices.tolist()))
        rows = np.unique(self.canonical(np.stack(numbers, axis=1).astype(np.uint8)), axis=0)
        return int(self.allowed(rows).sum())

    def _drawn(self) -> Choices:
        """Random combinations, always the same, allowed or not."""
        uniform = np.random.default_rng(0).random((_DRAWN, len(self.num_choices)))
        return (uniform * self.num_choices).astype(np.uint8)

    def completed(self, fixed: Mapping[int, int]) -> Choices | None:
        """Allowed choices with these of some decisions, shape (1, decisions).

        The others are 0 where that is allowed, else drawn. None where no allowed ones are found.
        """
        choices: Choices = np.zeros((1, len(self.num_choices)), dtype=np.uint8)
        choices[0, list(fixed)] = list(fixed.values())
        if not self.is_constrained or self.allowed(choices)[0]:
            return choices
        rows = self._drawn()
        rows[:, list(fixed)] = choices[:, list(fixed)]
        found = rows[self.allowed(rows)]
        return found[:1] if len(found) else None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of every network; here one a decision, named after its block."""
        names: dict[int | None, str] = {}
        if (first := self.completed({})) is not None:
            for block in self.blocks(self.architectures(first)[0]):
                names.setdefault(block.position, block.name)
        return tuple(
            Part(names.get(index, f"decision{index}"), (index,))
            for index in range(len(self.num_choices))
        )

    def part_blocks(self, part: int, local_choices: tuple[int, ...]) -> tuple[Block, ...]:
        """Blocks of one part under these choices of its decisions; there may be none.

        There are none for choices that no allowed architecture has. Raises InvalidValueError for a
        part that is not there, and choices that are none of its.
        """
        decisions = self.check_part(part, local_choices).decisions
        choices = self.completed(dict(zip(decisions, local_choices, strict=True)))
        if choices is None:
            return ()
        architecture = self.architectures(choices)[0]
        return tuple(block for block in self.blocks(architecture) if block.position == part)

    def check_part(self, part: int, local_choices: tuple[int, ...]) -> Part:
        """Return the part; raises InvalidValueError as :meth:`part_blocks` does."""
        parts = self._parts_once
        if not 0 <= part < len(parts):
            raise InvalidValueError(
                f"space {self.name} has no part {part}", expected=f"0 to {len(parts) - 1}"
            )
        sizes = [int(self.num_choices[decision]) for decision in parts[part].decisions]
        if len(local_choices) != len(sizes) or any(
            not 0 <= choice < size for choice, size in zip(local_choices, sizes, strict=True)
        ):
            raise InvalidValueError(
                f"not choices of part {parts[part].name}",
                expected=f"{len(sizes)} indices below {', '.join(map(str, sizes))}",
                got=str(local_choices),
            )
        return parts[part]

    @cached_property
    def _parts_once(self) -> tuple[Part, ...]:
        return self.parts

    # Making architectures ------------------------------------------------------------------

    def sample(self, n: int, seed: int = 0) -> list[Architecture]:
        """Draw ``n`` distinct networks; see :meth:`sample_choices`."""
        return self.architectures(self.sample_choices(n, seed))

    def sample_choices(self, n: int, seed: int = 0) -> Choices:
        """Draw ``n`` distinct networks as canonical choices, shape (n, decisions).

        Each decision is drawn uniformly; of draws that are the same network the first counts, and
        what is not allowed does not. The first m of n are the m drawn alone with the same seed.
        Raises InvalidValueError when ``n`` is below 1 or the space holds fewer.
        """
        whole(1, _MOST_SAMPLES).check("n", n)
        total = self.num_architectures
        if n > total:
            raise InvalidValueError(
                f"space {self.name} holds only {total} architectures", got=str(n)
            )
        generator = np.random.default_rng(check_seed(seed))

        def draw(rows: int) -> Choices:
            uniform = generator.random((rows, len(self.num_choices)))
            drawn = self.canonical((uniform * self.num_choices).astype(np.uint8))
            return drawn[self.allowed(drawn)]

        drawn = distinct(n, draw, PATIENCE if self.is_constrained else _MOST_IDLE)
        if len(drawn) >= n:
            return drawn[:n]
        if self.is_constrained:
            raise InvalidValueError(
                f"space {self.name}: {len(drawn)} architectures were found that its constraint "
                "allows",
                field="n",
                got=str(n),
                hint="ask for fewer, or make the candidates so that more of them fit together",
            )
        raise InvalidValueError(
            f"space {self.name} has fewer networks than its num_architectures says",
            field="space",
            expected=str(total),
            got=f"{len(drawn)} drawn",
        )

    def isomorphs(self, choices: Choices) -> Choices:
        """One choice of names for all architectures that are one network, shape (n, decisions).

        Where the nodes of a graph can be numbered otherwise, a network has several names. They are
        measured and predicted apart; how far their latencies differ shows a collection's noise.
        """
        return self.canonical(choices)

    def pruned(self, choices: Choices) -> Choices:
        """The architectures that compute the same with the fewest operators, shape (n, decisions).

        What a runtime that drops dead operators runs of each: a space whose networks may hold
        edges on no path from input to output, or chains of identities, says which architecture is
        left; to prune that changes nothing. Here every operator counts.
        """
        return self.canonical(choices)

    def architectures(self, choices: Choices) -> list[Architecture]:
        """Turn an array of shape (n, decisions) into architectures."""
        return [Architecture(self.name, tuple(row)) for row in choices.tolist()]

    def parse(self, text: str) -> Architecture:
        """Read an architecture's spelling, with or without the space's name before a colon."""
        prefix, colon, body = str(text).rpartition(":")
        if colon and prefix != self.name:
            raise InvalidValueError(
                f"architecture {text!r} is of another space", expected=self.name, got=prefix
            )
        try:
            values = [index(part) for part in body.replace("-", ",").split(",")]
            choices = self.choices([Architecture(self.name, tuple(values))])
        except ValueError:
            raise InvalidValueError(
                f"not an architecture: {text!r}",
                expected=f"{len(self.num_choices)} numbers with commas between them",
            ) from None
        if self.is_constrained and not self.allowed(choices)[0]:
            raise InvalidValueError(f"the constraint of space {self.name} excludes {text!r}")
        return self.architectures(choices)[0]

    def choices(self, architectures: Sequence[Architecture] | NDArray[Any]) -> Choices:
        """Return checked choices, shape (n, decisions), of a batch in either form.

        Raises InvalidValueError for a wrong length, another space or an index that is no candidate.
        """
        if isinstance(architectures, np.ndarray):
            values = architectures
        else:
            values = self._indices_of(architectures)
        return checked_indices(self.name, values, self.num_choices)

    def _indices_of(self, architectures: Sequence[Architecture]) -> NDArray[Any]:
        """Indices of a sequence of architectures, shape (n, decisions), whatever they are."""
        # Once, into a list: an iterator is empty after the first look at it.
        batch = list(architectures) if isinstance(architectures, Iterable) else [None]
        if not all(isinstance(a, Architecture) and isinstance(a.choices, Sized) for a in batch):
            raise InvalidValueError(
                f"not architectures of {self.name}",
                expected="a sequence of Architecture, or an integer array",
                hint="read a spelling with space.parse",
            )
        other = {str(a.space) for a in batch} - {self.name}
        if other:
            raise InvalidValueError(
                "architectures of another space", expected=self.name, got=", ".join(sorted(other))
            )
        return stacked(self.name, [a.choices for a in batch], len(self.num_choices))

    def encode(self, architectures: Sequence[Architecture] | NDArray[Any]) -> NDArray[np.float32]:
        """One-hot encode a batch: shape (n, sum of num_choices), decision after decision.

        The columns of a decision that is inactive in an architecture are all zero there.
        """
        choices = self.choices(architectures)
        starts = np.concatenate([[0], np.cumsum(self.num_choices)[:-1]])
        encoded = np.zeros((len(choices), int(self.num_choices.sum())), dtype=np.float32)
        np.put_along_axis(encoded, starts + choices, self.active(choices), axis=1)
        return encoded

    # Knowing what they cost ----------------------------------------------------------------

    def operators(self, architecture: Architecture, batch_size: int = 1) -> tuple[Operator, ...]:
        """The architecture's operators in execution order, normalisation and activation fused."""
        blocks, head = self.blocks(architecture), self.head(architecture, batch_size)
        with called(f"{self.name}'s block"):  # which may be of anybody's class
            inside = [operator for block in blocks for operator in block.operators(batch_size)]
        return (*inside, *head)

    def macs(self, architecture: Architecture) -> int:
        """Multiply-accumulates for one image: convolutions and the classifier."""
        return sum(op.macs for op in self.operators(architecture))

    def parameters(self, architecture: Architecture) -> int:
        """Learnt values, as the papers count them."""
        return sum(op.parameters for op in self.operators(architecture))

    # Building them -------------------------------------------------------------------------

    def build_onnx(
        self,
        architecture: Architecture,
        *,
        batch_size: int = 1,
        seed: int = 0,
        batch_norm: Literal["folded", "kept"] = "folded",
        pruned: bool = False,
    ) -> onnx.ModelProto:
        """Build the ONNX model (opset 17) with He-initialised weights, without torch.

        ``batch_norm="folded"`` puts the normalisation into the convolutions, as inference exports
        do; ``"kept"`` leaves it as operators. Both compute the same function. ``pruned`` leaves out
        blocks on no path from input to output
        (:func:`latprof.datasets.models.pruning.pruned_blocks`).
        """
        import onnx

        options: dict[str, Any] = (
            {"pruned": True} if pruned else {}
        )  # which older spaces of others do not know
        content = self.onnx_bytes(
            architecture, batch_size=batch_size, seed=seed, batch_norm=batch_norm, **options
        )
        return onnx.load_model_from_string(content)

    def onnx_bytes(
        self,
        architecture: Architecture,
        *,
        batch_size: int = 1,
        seed: int = 0,
        batch_norm: Literal["folded", "kept"] = "folded",
        pruned: bool = False,
    ) -> bytes:
        """Build the model of :meth:`build_onnx` in serialised form, which is faster."""
        from latprof.datasets.models.onnx_export import onnx_bytes
        from latprof.datasets.models.pruning import pruned_blocks

        check_seed(seed)
        whole(1, _MOST_IMAGES).check("batch_size", batch_size)
        blocks, head = self.blocks(architecture), self.head(architecture, batch_size)
        shape = (batch_size, *self.image_shape(architecture))
        with called(f"building the blocks of {architecture}"):
            return onnx_bytes(
                pruned_blocks(blocks) if pruned else blocks,
                head,
                shape,
                name=self.name,
                architecture=str(architecture),
                seed=seed,
                batch_norm=batch_norm,
            )

    def build_torch(self, architecture: Architecture, *, seed: int = 0) -> torch.nn.Module:
        """Build the torch module, in eval mode, with the weights of :meth:`build_onnx`.

        Raises MissingDependencyError where torch is not installed.
        """
        from latprof.datasets.models.torch_export import build_torch

        blocks, head = self.blocks(architecture), self.head(architecture)
        with called(f"building the blocks of {architecture}"):
            return build_torch(blocks, head, seed=seed)

    def recognize(self, network: Network) -> Architecture | None:
        """Return the architecture that ``network`` is, or None.

        Operators, shapes, number format and activations are compared, and what each reads. Names,
        weights and who exported it do not matter. Of architectures that are the same network it is
        one. The network is built once to compare it.
        """
        from latprof.datasets.models.recognition import recognized

        found: Architecture | None = recognized(self, network)
        return found
