"""The ProxylessNAS ImageNet search space (Cai, Zhu, Han, ICLR 2019, section 4.2 and appendix)."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from latprof.common.limits import whole_option, whole_options
from latprof.datasets.models.layers import (
    Block,
    Place,
    convolution_block,
    mobile_inverted_block,
)
from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.chain import ChainSpace, places_of_stages
from latprof.graph.fusion import fuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from latprof.graph.operators import Network, Operator

#: What distinguishes one convolution from another.
Signature: TypeAlias = tuple[object, ...]

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


class ProxylessSpace(ChainSpace):
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
        self.widths = whole_options("widths", tuple(widths), 3 + len(_DEPTHS))
        self.resolution = whole_option("resolution", resolution, LEAST_RESOLUTION, MOST_RESOLUTION)
        self.num_classes = whole_option("num_classes", num_classes)

    @cached_property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        convolutions = tuple(
            f"{kernel}x{kernel}_MBConv{expansion}"
            for expansion in _EXPANSIONS
            for kernel in _KERNELS
        )
        return tuple(
            (*convolutions, "Zero") if place.keeps_shape else convolutions for place in self._places
        )

    @cached_property
    def _places(self) -> tuple[Place, ...]:
        """Where the searchable blocks stand."""
        stages = zip(self.widths[2:-1], _DEPTHS, _STRIDES, strict=True)
        return places_of_stages(stages, self.widths[1], -(-self.resolution // 2), "block")

    @cached_property
    def candidate_blocks(self) -> tuple[tuple[Block, ...], ...]:
        """Every candidate of every position."""
        return tuple(
            tuple(self._block(position, choice) for choice in range(len(names)))
            for position, names in enumerate(self.candidates)
        )

    def _block(self, position: int, choice: int) -> Block:
        place = self._places[position]
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
    def fixed_blocks(self) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
        widths, last_size = self.widths, self.candidate_blocks[-1][0].out_size
        stem = Place("stem", None, 3, widths[0], self.resolution, 2)
        first = Place("first", None, widths[0], widths[1], stem.out_size)
        last = Place("feature_mix", None, widths[-2], widths[-1], last_size)
        return (
            (
                convolution_block(stem, kernel=3),
                mobile_inverted_block(first, "3x3_MBConv1", kernel=3, expansion=1),
            ),
            (convolution_block(last, kernel=1),),
        )

    @cached_property
    def _fixed_signatures(self) -> tuple[list[Signature], list[Signature]]:
        first, last = (
            [each for block in fixed for each in _signatures(block.operators())]
            for fixed in self.fixed_blocks
        )
        return first, last

    @cached_property
    def _candidate_signatures(self) -> tuple[tuple[list[Signature], ...], ...]:
        return tuple(
            tuple(_signatures(block.operators()) for block in row) for row in self.candidate_blocks
        )

    def recognize(self, network: Network) -> Architecture | None:
        """Return the architecture that ``network`` is, or None.

        Operators, what they read, shapes, number format, dilations and activations are compared.
        Names, weights and who exported it do not matter. Zero operations end up last among blocks
        that look alike: the networks are the same.
        """
        fused = fuse(network).operators
        found = _signatures(fused)
        first, last = self._fixed_signatures
        start = len(first)
        if found[:start] != first:
            return None
        choices = []
        for row in self._candidate_signatures:
            for choice, wanted in enumerate(row):
                # The zero operation has no convolutions: it is last, so it fits when nothing did.
                if found[start : start + len(wanted)] == wanted:
                    choices.append(choice)
                    start += len(wanted)
                    break
            else:
                return None
        architecture = Architecture(self.name, tuple(choices))
        sizes = [shape[-1] for _, shape in network.outputs if shape]
        same = found[start:] == last and sizes == [self.num_classes]
        return architecture if same and self._is_joined(network, fused, architecture) else None

    def _is_joined(
        self, network: Network, fused: Sequence[Operator], architecture: Architecture
    ) -> bool:
        """Whether operators read what those before them made, and sums what their block reads."""
        kinds, wanted = [], []
        made = network.inputs[0][0]
        left = iter(fused)
        parts = [block.operators() for block in self.blocks(architecture)]
        for part in (*parts, self.head(architecture)):
            begin = made
            for own, operator in zip(part, left, strict=False):
                kinds.append(own.kind)
                wanted.append({begin, made} if own.kind == "add" else {made})
                made = next(iter(operator.writes), "")
        return kinds == [op.kind for op in fused] and wanted == [{*op.reads} for op in fused]


def _signatures(operators: Iterable[Operator]) -> list[Signature]:
    """What distinguishes convolutions, in their order."""
    return [
        (op.kind, op.stride, op.dilation, op.activation, op.weight_shape, op.output_shapes[0][1:])
        for op in operators
        if op.op_type == "Conv"
    ]
