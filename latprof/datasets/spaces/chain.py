"""Spaces whose networks are a chain: of blocks that a decision each chooses, or of stages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from latprof.datasets.models.layers import Block, Place, convolution_block, pool_and_classifier
from latprof.datasets.spaces.base import Architecture, SearchSpace

if TYPE_CHECKING:
    from latprof.datasets.models.steps import Activation
    from latprof.graph.operators import Operator


class ChainSpace(SearchSpace):
    """Blocks that all networks have, one block a decision, blocks again, pool and classifier.

    Subclasses set ``resolution`` and ``num_classes``, and say which blocks there are.
    """

    resolution: int
    num_classes: int

    @property
    @abstractmethod
    def candidate_blocks(self) -> tuple[tuple[Block, ...], ...]:
        """The block of each candidate of each decision."""

    @property
    @abstractmethod
    def fixed_blocks(self) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
        """The blocks before those that are chosen, and those after them."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (3, self.resolution, self.resolution)

    def blocks(self, architecture: Architecture) -> tuple[Block, ...]:
        choices = self.choices([architecture])[0].tolist()
        first, last = self.fixed_blocks
        rows = zip(self.candidate_blocks, choices, strict=True)
        return (*first, *(row[choice] for row, choice in rows), *last)

    def head(
        self,
        architecture: Architecture,  # noqa: ARG002 - the head is the same for all here
        batch_size: int = 1,
    ) -> tuple[Operator, ...]:
        end = self.fixed_blocks[1][-1]
        return pool_and_classifier(end.out_channels, end.out_size, self.num_classes, batch_size)


class StagedSpace(SearchSpace):
    """A stem of stride 2, stages of several decisions each, a 1x1 convolution, pool and classifier.

    Subclasses set ``resolution`` and ``num_classes``, and say what the parts are and which blocks
    each has. Sizes are heights and widths.
    """

    #: Channels of the stem and of the last convolution.
    stem_width: ClassVar[int] = 32
    last_width: ClassVar[int] = 1280
    #: Of the first layer of each stage.
    strides: ClassVar[tuple[int, ...]]
    #: Of the stem and of the last convolution.
    activation: ClassVar[Activation]
    resolution: int
    num_classes: int

    @abstractmethod
    def chosen_blocks(self, part: int, local_choices: tuple[int, ...]) -> tuple[Block, ...]:
        """Blocks of a part under choices of its decisions that are possible ones."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (3, self.resolution, self.resolution)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Of each stage's input, and of the last stage's output."""
        sizes = [-(-self.resolution // 2)]
        for stride in self.strides:
            sizes.append(-(-sizes[-1] // stride))
        return tuple(sizes)

    @cached_property
    def stem(self) -> Block:
        """The 3x3 convolution before the stages."""
        place = Place("stem", None, 3, self.stem_width, self.resolution, 2)
        return convolution_block(place, kernel=3, activation=self.activation)

    def last_blocks(self, part: int, channels: int) -> tuple[Block, ...]:
        """The 1x1 convolution after the stages, from so many channels."""
        place = Place("head", part, channels, self.last_width, self.sizes[-1])
        return (convolution_block(place, kernel=1, activation=self.activation),)

    def blocks(self, architecture: Architecture) -> tuple[Block, ...]:
        choices = self.choices([architecture])[0].tolist()
        return (
            self.stem,
            *(
                block
                for index, part in enumerate(self.parts)
                for block in self.chosen_blocks(index, tuple(choices[d] for d in part.decisions))
            ),
        )

    def part_blocks(self, part: int, local_choices: tuple[int, ...]) -> tuple[Block, ...]:
        self.check_part(part, local_choices)
        return self.chosen_blocks(part, local_choices)

    def head(
        self,
        architecture: Architecture,  # noqa: ARG002 - the head is the same for all here
        batch_size: int = 1,
    ) -> tuple[Operator, ...]:
        return pool_and_classifier(self.last_width, self.sizes[-1], self.num_classes, batch_size)


def places_of_stages(
    stages: Iterable[tuple[int, int, int]], channels: int, size: int, layer: str = "layer"
) -> tuple[Place, ...]:
    """Where the layers of stages stand, one decision each, named ``stage1.layer0`` and so on.

    A stage is (channels, layers, stride of its first layer); ``channels`` and ``size`` are those of
    the first stage's input.
    """
    places: list[Place] = []
    for stage, (width, depth, first_stride) in enumerate(stages, start=1):
        for index in range(depth):
            stride = first_stride if index == 0 else 1
            name = f"stage{stage}.{layer}{index}"
            places.append(Place(name, len(places), channels, width, size, stride))
            channels, size = width, places[-1].out_size
    return tuple(places)
