"""Spaces whose networks are a chain of blocks, of which each decision chooses one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from latprof.datasets.models.layers import Block, Place, pool_and_classifier
from latprof.datasets.spaces.base import Architecture, SearchSpace

if TYPE_CHECKING:
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
