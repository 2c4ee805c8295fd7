"""NAS-Bench-201's search space (Dong and Yang, ICLR 2020, arXiv 2001.00326, section 2)."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from latprof.common.limits import whole_option
from latprof.datasets.models.layers import Block, Place, pool_and_classifier, sum_block
from latprof.datasets.models.steps import Activate, Layer, Normalize, Pool, Step, Zeroize
from latprof.datasets.spaces.base import Architecture, Part, SearchSpace
from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Choices
    from latprof.graph.operators import Operator

_CANDIDATES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_NONE, _SKIP = 0, 1
#: Edges of a cell (from, to), in the order of an architecture's string.
_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
_NODES = 4
_STAGES = 3
_TERM = re.compile(r"([a-z0-9_]+)~([0-9])")
#: Steps of pruning, at most; a cell needs fewer.
_MOST_STEPS = 8
#: Between what keeps the scale along a chain of convolutions (2, after ReLU) and what keeps it in
#: a cell where each node sums up to three of them.
_GAIN = 1.4


class NASBench201Space(SearchSpace):
    """Cells of four nodes with six edges, each one of five operations: 15,625 architectures.

    Decisions are the edges in the order of an architecture's string: 0 to 1; 0 and 1 to 2; 0, 1 and
    2 to 3. Candidates: none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3; convolutions
    are ReLU, convolution, batch normalisation. ``none`` multiplies its input by 0 and runs, as in
    the benchmark's networks, which are not pruned. All cells of a network are alike. The network: a
    3x3 convolution; three stages of cells with residual blocks of stride 2 between them that double
    the channels; normalisation, ReLU, global average pool, and the classifier.

    Parameters
    ----------
    resolution : int
        Height and width of the image: 32 for CIFAR, 16 for ImageNet-16.
    num_classes : int
        10, 100 or 120 in the benchmark.
    cells_per_stage : int
    channels : int
        Of the first stage.

    Raises
    ------
    InvalidValueError
        For an option out of its range.
    """

    name = "nasbench201"

    def __init__(
        self,
        resolution: int = 32,
        num_classes: int = 10,
        cells_per_stage: int = 5,
        channels: int = 16,
    ) -> None:
        self.resolution = whole_option("resolution", resolution, 8, 4096)
        if self.resolution % 4:
            raise InvalidValueError(
                "the image is halved twice",
                field="resolution",
                expected="a multiple of 4",
                got=str(resolution),
            )
        self.num_classes = whole_option("num_classes", num_classes)
        self.cells_per_stage = whole_option("cells_per_stage", cells_per_stage, 1, 100)
        self.channels = whole_option("channels", channels, 1, 4096)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (3, self.resolution, self.resolution)

    @property
    def reference_resolution(self) -> int:
        return 7 * self.resolution // 2  # small images, but as much work as a mobile network's

    @cached_property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        return (_CANDIDATES,) * len(_EDGES)

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(
            Part(f"edge{source}-{target}", (index,))
            for index, (source, target) in enumerate(_EDGES)
        )

    def isomorphs(self, choices: Choices) -> Choices:
        """Without the edge between them the two inner nodes can change places."""
        changed = choices[:, [1, 0, 2, 3, 5, 4]]
        differs = choices != changed
        first = differs.argmax(axis=1)[:, None]
        larger = np.take_along_axis(choices > changed, first, axis=1)[:, 0]
        found: Choices = np.where(((choices[:, 2] == 0) & larger)[:, None], changed, choices)
        return found

    def pruned(self, choices: Choices) -> Choices:
        """Without dead edges, and with the edges of a node that is another one at that other.

        An edge is dead where no path of operations from the input to the output crosses it. A node
        whose only edge is a skip is the node that the skip comes from.
        """
        found = choices
        for _ in range(_MOST_STEPS):
            before = found
            found = self.isomorphs(_without_chains(_without_dead_edges(found)))
            if np.array_equal(found, before):
                break
        return found

    # Spellings -----------------------------------------------------------------------------

    def architecture_string(self, architecture: Architecture) -> str:
        """The benchmark's spelling, for example ``|none~0|+|none~0|none~1|+|...|``."""
        choices = self.choices([architecture])[0].tolist()
        terms: dict[int, str] = {}
        for (source, target), choice in zip(_EDGES, choices, strict=True):
            terms[target] = terms.get(target, "|") + f"{_CANDIDATES[choice]}~{source}|"
        return "+".join(terms.values())

    def parse(self, text: str) -> Architecture:
        """Read an architecture's indices, or its string in the benchmark."""
        if "|" not in text:
            return super().parse(text)
        body = text.removeprefix(f"{self.name}:")
        found = _TERM.findall(body)
        names = [name for name, _ in found]
        if len(found) == len(_EDGES) and all(name in _CANDIDATES for name in names):
            choices = tuple(_CANDIDATES.index(name) for name in names)
            architecture = Architecture(self.name, choices)
            if self.architecture_string(architecture) == body:
                return architecture
        raise InvalidValueError(
            f"not an architecture: {text[:200]!r}",
            expected="|name~0|+|name~0|name~1|+|name~0|name~1|name~2|, the names being "
            + ", ".join(_CANDIDATES),
        )

    # Blocks --------------------------------------------------------------------------------

    @cached_property
    def _cells(self) -> tuple[tuple[str, str, int, int], ...]:
        """Name, input, channels and size of every cell."""
        cells = []
        source, channels, size = "stem", self.channels, self.resolution
        for stage in range(1, _STAGES + 1):
            for index in range(self.cells_per_stage):
                name = f"stage{stage}.cell{index}"
                cells.append((name, source, channels, size))
                source = f"{name}.node{_NODES - 1}"
            source, channels, size = f"reduction{stage}", 2 * channels, size // 2
        return tuple(cells)

    @cached_property
    def _edge_blocks(self) -> tuple[tuple[tuple[Block, ...], ...], ...]:
        """The blocks of each cell, edge and candidate."""
        return tuple(
            tuple(
                tuple(_edge_block(cell, edge, choice) for choice in range(len(_CANDIDATES)))
                for edge in range(len(_EDGES))
            )
            for cell in self._cells
        )

    @cached_property
    def _fixed_blocks(self) -> dict[str, tuple[Block, ...]]:
        """The blocks that no decision changes, by the cell that they follow; the stem by ''."""
        stem = Place("stem", None, 3, self.channels, self.resolution)
        stem_layer = Layer("stem", 3, self.channels, 3, activation=None)
        fixed: dict[str, tuple[Block, ...]] = {}
        fixed[""] = (stem.block("Conv3x3", (stem_layer,), kernel=3),)
        for stage in range(1, _STAGES + 1):
            name, _, channels, size = self._cells[stage * self.cells_per_stage - 1]
            fixed[name] = (
                _reduction_blocks(f"reduction{stage}", f"{name}.node{_NODES - 1}", channels, size)
                if stage < _STAGES
                else (_last_block(channels, size),)
            )
        return fixed

    def blocks(self, architecture: Architecture) -> tuple[Block, ...]:
        choices = self.choices([architecture])[0].tolist()
        blocks = list(self._fixed_blocks[""])
        for cell, edges in zip(self._cells, self._edge_blocks, strict=True):
            chosen = [row[choice] for row, choice in zip(edges, choices, strict=True)]
            name, _, channels, size = cell
            for target in range(1, _NODES):
                entering = [edge for edge, (_, end) in enumerate(_EDGES) if end == target]
                blocks += [chosen[edge] for edge in entering]
                inputs = tuple(chosen[edge].name for edge in entering)
                node = f"{name}.node{target}"
                blocks.append(sum_block(node, inputs, channels=channels, size=size))
            blocks += self._fixed_blocks.get(name, ())
        return tuple(blocks)

    def part_blocks(self, part: int, local_choices: tuple[int, ...]) -> tuple[Block, ...]:
        self.check_part(part, local_choices)
        return tuple(edges[part][local_choices[0]] for edges in self._edge_blocks)

    def head(
        self,
        architecture: Architecture,  # noqa: ARG002 - the head is the same for all here
        batch_size: int = 1,
    ) -> tuple[Operator, ...]:
        _, _, channels, size = self._cells[-1]
        return pool_and_classifier(channels, size, self.num_classes, batch_size)


def _without_dead_edges(choices: Choices) -> Choices:
    """``none`` on each edge that no path from the first to the last node crosses, (n, edges)."""
    has = (choices != _NONE).T
    from_1 = has[4] | (has[2] & has[5])  # a path from node 1 to the output
    to_2 = has[1] | (has[0] & has[2])  # a path from the input to node 2
    crossed = np.stack([from_1, has[5], has[0] & has[5], np.ones_like(to_2), has[0], to_2], axis=1)
    found: Choices = np.where(crossed, choices, _NONE).astype(np.uint8)
    return found


def _without_chains(choices: Choices) -> Choices:
    """Move edges from a node that is another one to that other, where it has none; (n, edges).

    Where it has one both stay, since they run: the larger number goes first.
    """
    found = choices.copy()
    e01, e02, e12, e03, e13, e23 = found.T  # views
    alone_1, alone_2 = e12 == _NONE, e02 == _NONE
    for same, own, other in (
        (e01 == _SKIP, e12, e02),
        (e01 == _SKIP, e13, e03),
        (alone_1 & (e02 == _SKIP), e23, e03),
        (alone_2 & (e12 == _SKIP), e23, e13),
    ):
        larger = same & (own > other)  # `none` is 0: an edge moves to where there is none
        own[larger], other[larger] = other[larger], own[larger]
    return found


def _edge_block(cell: tuple[str, str, int, int], edge: int, choice: int) -> Block:
    name, cell_input, channels, size = cell
    source, target = _EDGES[edge]
    place = Place(f"{name}.edge{source}-{target}", edge, channels, channels, size)
    inputs = (f"{name}.node{source}" if source else cell_input,)
    label = _CANDIDATES[choice]
    kernel = 0
    steps: tuple[Step, ...] = ()
    if label == "none":
        steps = (Zeroize(place.name, channels),)
    elif label == "avg_pool_3x3":
        kernel = 3
        steps = (Pool(place.name, channels, "avg"),)
    elif label != "skip_connect":
        kernel = int(label[-1])
        layer = Layer(place.name, channels, channels, kernel, activation=None, gain=_GAIN)
        steps = (Activate(place.name, channels), layer)
    return place.block(label, steps, kernel=kernel, inputs=inputs)


def _reduction_blocks(name: str, source: str, channels: int, size: int) -> tuple[Block, ...]:
    """A residual block of stride 2 that doubles the channels; its shortcut is pool and 1x1."""
    body = Place(f"{name}.body", None, channels, 2 * channels, size, 2)
    shortcut = Place(f"{name}.shortcut", None, channels, 2 * channels, size, 2)
    steps = (
        Activate(name, channels),
        Layer(f"{name}.conv_a", channels, 2 * channels, 3, 2, activation="relu", gain=2.0 * _GAIN),
        Layer(f"{name}.conv_b", 2 * channels, 2 * channels, 3, activation=None),
    )
    pool = Pool(f"{name}.pool", channels, "avg", kernel=2, stride=2)
    project = Layer(f"{name}.project", channels, 2 * channels, 1, activation=None, normalized=False)
    return (
        body.block("ReLUConv3x3x2", steps, kernel=3, inputs=(source,)),
        shortcut.block("PoolConv1x1", (pool, project), kernel=1, inputs=(source,)),
        sum_block(name, (body.name, shortcut.name), channels=2 * channels, size=size // 2),
    )


def _last_block(channels: int, size: int) -> Block:
    steps = (Normalize("last.norm", channels), Activate("last", channels))
    return Place("last", None, channels, channels, size).block("BatchNormReLU", steps)
