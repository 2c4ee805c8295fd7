"""The ProxylessNAS ImageNet search space (Cai, Zhu, Han, ICLR 2019, section 4.2 and appendix)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any

from latprof.datasets.models.layers import (
    Block,
    Place,
    convolution_block,
    mobile_inverted_block,
    pool_and_classifier,
)
from latprof.datasets.spaces.base import Architecture, SearchSpace
from latprof.errors import InvalidValueError
from latprof.graph.fusion import fuse

if TYPE_CHECKING:
    from latprof.graph.operators import Network, Operator

_DEPTHS = (4, 4, 4, 4, 4, 1)
_STRIDES = (2, 2, 2, 1, 2, 1)
_KERNELS = (3, 5, 7)
_EXPANSIONS = (3, 6)
LEAST_RESOLUTION, MOST_RESOLUTION = 32, 8192
_ZERO = len(_KERNELS) * len(_EXPANSIONS)

#: Widths of the search code: stem, first block, six stages, last convolution.
SEARCH_WIDTHS = (32, 16, 24, 40, 80, 96, 192, 320, 1280)
#: Widths of the published network for phones; its first stage is wider than the search code's.
MOBILE_WIDTHS = (32, 16, 32, 40, 80, 96, 192, 320, 1280)
#: Choices of the published ProxylessNAS-mobile.
MOBILE_CHOICES = (1, 0, 6, 6, 2, 0, 1, 1, 5, 1, 1, 1, 4, 1, 1, 1, 5, 5, 2, 2, 5)
#: MobileNetV2 1.0 (Sandler et al. 2018) as widths and choices of this space.
MOBILENET_V2_WIDTHS = (32, 16, 24, 32, 64, 96, 160, 320, 1280)
MOBILENET_V2_CHOICES = (3, 3, 6, 6, 3, 3, 3, 6, 3, 3, 3, 3, 3, 3, 3, 6, 3, 3, 3, 6, 3)


class ProxylessSpace(SearchSpace):
    """21 searchable blocks: MBConv with kernel 3, 5, 7 and expansion 3, 6, or the zero operation.

    Candidates 0-2 are expansion 3 with kernel 3, 5, 7; 3-5 expansion 6; 6 is the zero operation,
    there only where the block has a residual connection.

    Parameters
    ----------
    widths : sequence of 9 int
        Channels of the stem, the first block, the six stages and the last convolution.
    resolution : int
        Height and width of the image.
    num_classes : int
    """

    name = "proxyless"

    def __init__(
        self,
        widths: tuple[int, ...] = SEARCH_WIDTHS,
        resolution: int = 224,
        num_classes: int = 1000,
    ) -> None:
        if not all(isinstance(number, Integral) for number in (*widths, resolution, num_classes)):
            raise InvalidValueError(
                "widths, resolution and num_classes are whole numbers",
                got=f"{widths}, {resolution!r}, {num_classes!r}"[:80],
            )
        widths = tuple(int(width) for width in widths)
        if len(widths) != 3 + len(_DEPTHS) or min(widths) < 1:
            raise InvalidValueError("widths are 9 numbers above 0", field="widths", got=str(widths))
        if not LEAST_RESOLUTION <= resolution <= MOST_RESOLUTION or num_classes < 1:
            raise InvalidValueError(
                f"resolution is at least {LEAST_RESOLUTION} and at most {MOST_RESOLUTION}, "
                "num_classes at least 1",
                got=f"{resolution}, {num_classes}",
            )
        self.widths = widths
        self.resolution = int(resolution)
        self.num_classes = int(num_classes)

    @property
    def options(self) -> Mapping[str, Any]:
        return {
            "widths": list(self.widths),
            "resolution": self.resolution,
            "num_classes": self.num_classes,
        }

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (3, self.resolution, self.resolution)

    @cached_property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        convolutions = tuple(
            f"{kernel}x{kernel}_MBConv{expansion}"
            for expansion in _EXPANSIONS
            for kernel in _KERNELS
        )
        return tuple(
            (*convolutions, "Zero") if skippable else convolutions
            for *_, skippable in self._positions
        )

    @cached_property
    def _positions(self) -> list[tuple[str, int, int, int, int, bool]]:
        """Name, channels in and out, input size, stride and "zero allowed" of searchable blocks."""
        positions = []
        channels, size = self.widths[1], -(-self.resolution // 2)
        stages = zip(self.widths[2:-1], _DEPTHS, _STRIDES, strict=True)
        for stage, (width, depth, first_stride) in enumerate(stages, start=1):
            for index in range(depth):
                stride = first_stride if index == 0 else 1
                skippable = stride == 1 and channels == width
                name = f"stage{stage}.block{index}"
                positions.append((name, channels, width, size, stride, skippable))
                channels, size = width, -(-size // stride)
        return positions

    @cached_property
    def _candidate_blocks(self) -> tuple[tuple[Block, ...], ...]:
        """Every candidate of every position."""
        return tuple(
            tuple(self._block(position, choice) for choice in range(len(names)))
            for position, names in enumerate(self.candidates)
        )

    def _block(self, position: int, choice: int) -> Block:
        name, channels, width, size, stride, _ = self._positions[position]
        place = Place(name, position, channels, width, size, stride)
        label = self.candidates[position][choice]
        if choice == _ZERO:
            return place.block(label, ())
        return mobile_inverted_block(
            place,
            label,
            kernel=_KERNELS[choice % len(_KERNELS)],
            expansion=_EXPANSIONS[choice // len(_KERNELS)],
        )

    @cached_property
    def _fixed_blocks(self) -> tuple[Block, Block, Block]:
        widths, last_size = self.widths, self._candidate_blocks[-1][0].out_size
        stem = Place("stem", None, 3, widths[0], self.resolution, 2)
        first = Place("first", None, widths[0], widths[1], stem.out_size)
        last = Place("feature_mix", None, widths[-2], widths[-1], last_size)
        return (
            convolution_block(stem, kernel=3),
            mobile_inverted_block(first, "3x3_MBConv1", kernel=3, expansion=1),
            convolution_block(last, kernel=1),
        )

    def blocks(self, architecture: Architecture) -> tuple[Block, ...]:
        choices = self.choices([architecture])[0]
        stem, first, last = self._fixed_blocks
        searched = (
            row[choice] for row, choice in zip(self._candidate_blocks, choices, strict=True)
        )
        return (stem, first, *searched, last)

    def head(
        self,
        architecture: Architecture,  # noqa: ARG002 - the head is the same for all here
        batch_size: int = 1,
    ) -> tuple[Operator, ...]:
        last = self._fixed_blocks[-1]
        return pool_and_classifier(last.out_channels, last.out_size, self.num_classes, batch_size)

    def recognize(self, network: Network) -> Architecture | None:
        """Return the architecture that ``network`` is, by its operators and their shapes, or None.

        Names, weights and who exported it do not matter. Zero operations end up last among blocks
        that look alike: the networks are the same.
        """

        def signature(op: Operator) -> tuple[object, ...]:
            return (op.kind, op.stride, op.weight_shape, op.output_shapes[0][1:])

        found = [signature(op) for op in network.operators if op.op_type == "Conv"]
        stem, first, last = (
            [signature(op) for op in block.operators() if op.op_type == "Conv"]
            for block in self._fixed_blocks
        )
        start = len(stem) + len(first)
        if found[:start] != stem + first:
            return None
        choices = []
        for row in self._candidate_blocks:
            for choice, block in enumerate(row):
                wanted = [signature(op) for op in block.operators() if op.op_type == "Conv"]
                # The zero operation has no convolutions: it is last, so it fits when nothing did.
                if found[start : start + len(wanted)] == wanted:
                    choices.append(choice)
                    start += len(wanted)
                    break
            else:
                return None
        architecture = Architecture(self.name, tuple(choices))
        kinds = [op.kind for op in fuse(network).operators]
        sizes = [shape[-1] for _, shape in network.outputs if shape]
        same = kinds == [op.kind for op in self.operators(architecture)]
        return (
            architecture if found[start:] == last and same and sizes == [self.num_classes] else None
        )
