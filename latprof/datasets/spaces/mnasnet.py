"""MnasNet's factorised hierarchical search space (Tan et al., CVPR 2019, arXiv 1807.11626, 4.1)."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from latprof.common.limits import whole_option, whole_options
from latprof.datasets.models.layers import (
    Block,
    MobileKind,
    Place,
    mobile_inverted_block,
    sum_block,
)
from latprof.datasets.models.steps import Layer, Pool, SqueezeExcite, Step
from latprof.datasets.spaces.base import Choices, Part
from latprof.datasets.spaces.chain import StagedSpace
from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_CONVOLUTIONS = ("regular", "sepconv", "mbconv3", "mbconv6")
_KERNELS = (3, 5)
_SQUEEZES = (0.0, 0.25)
_SKIPS = ("pool", "identity", "none")
_FILTERS = (0.75, 1.0, 1.25)
_ADDED_LAYERS = (-1, 0, 1)
#: Decisions of a block, and which of them are skip, filters and layers.
_DECISIONS, _SKIP, _FILTER, _LAYER = 6, 3, 4, 5
#: Variance of what is added to a layer's input under random weights: deep blocks stay in scale.
_RESIDUAL_GAIN = 0.25

#: Widths and layers of the blocks of MobileNetV2, which the paper's space is relative to.
MOBILENET_V2_WIDTHS = (16, 24, 32, 64, 96, 160, 320)
MOBILENET_V2_DEPTHS = (1, 2, 3, 4, 3, 3, 1)
#: MnasNet-A1 has 112 channels in its fifth block, which is no candidate around MobileNetV2's 96: it
#: is in the space around its own widths and layers, with these choices.
MNASNET_A1_WIDTHS = (16, 24, 40, 80, 112, 160, 320)
MNASNET_A1_DEPTHS = (1, 2, 3, 4, 2, 3, 1)
MNASNET_A1_CHOICES = (
    *(1, 0, 0, 0, 1, 0),  # sepconv 3x3
    *(3, 0, 0, 1, 1, 1),  # mbconv6 3x3
    *(2, 1, 1, 1, 1, 1),  # mbconv3 5x5, squeeze-and-excitation
    *(3, 0, 0, 1, 1, 1),
    *(3, 0, 1, 1, 1, 1),
    *(3, 1, 1, 1, 1, 1),
    *(3, 0, 0, 0, 1, 0),
)


class MnasNetSpace(StagedSpace):
    """Seven blocks of like layers; each block has six decisions.

    Decisions of a block, in this order, with their candidates:

    - convolution: regular, sepconv (depthwise separable), mbconv3, mbconv6 (expansion 3 and 6);
    - kernel: 3, 5;
    - squeeze-and-excitation: ratio 0 or 0.25, of the layer's input channels, as in the published
      MnasNet-A1; it follows the depthwise convolution, or the regular one;
    - skip: pool, identity, none;
    - filters: 0.75, 1.0, 1.25 times those of the base;
    - layers: -1, 0, +1 relative to the base; a block of one layer has no candidate -1.

    The paper gives the names of the skip operations only. Here, in layers that keep the shape,
    identity adds the layer's input to its output, and pool adds its 3x3 average of stride 1; skip
    is inactive in a block without such a layer (one layer that changes the shape). The first layer
    has the block's stride: 1, 2, 2, 2, 1, 2, 1. Around the blocks stand a 3x3 convolution of stride
    2 to 32 channels, a 1x1 convolution to 1280, global average pool and classifier. Activations are
    ReLU; the squeeze-and-excitation's gate is a sigmoid.

    Parameters
    ----------
    resolution : int
        Height and width of the image, at least 32.
    num_classes : int
    base_widths, base_depths : sequence of 7 int
        Channels, multiples of 4, and layers of each block that filters and layers are relative to:
        MobileNetV2's unless given.

    Raises
    ------
    InvalidValueError
        For an option out of its range.
    """

    name = "mnasnet"
    strides = _STRIDES
    activation = "relu"

    def __init__(
        self,
        resolution: int = 224,
        num_classes: int = 1000,
        base_widths: tuple[int, ...] = MOBILENET_V2_WIDTHS,
        base_depths: tuple[int, ...] = MOBILENET_V2_DEPTHS,
    ) -> None:
        self.resolution = whole_option("resolution", resolution, 32, 8192)
        self.num_classes = whole_option("num_classes", num_classes)
        self.base_widths = whole_options("base_widths", base_widths, len(_STRIDES), 4)
        self.base_depths = whole_options("base_depths", base_depths, len(_STRIDES), 1, 100)
        if any(width % 4 for width in self.base_widths):
            raise InvalidValueError(
                "base_widths are not possible",
                field="base_widths",
                expected="multiples of 4, so that 0.75 of them are whole",
                got=str(self.base_widths),
            )

    @cached_property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        return tuple(
            names
            for depth in self.base_depths
            for names in (
                _CONVOLUTIONS,
                tuple(f"k{kernel}" for kernel in _KERNELS),
                tuple(f"se{ratio:g}" for ratio in _SQUEEZES),
                _SKIPS,
                tuple(f"filters{ratio:g}" for ratio in _FILTERS),
                tuple(f"layers{added:+d}" for added in _ADDED_LAYERS if depth + added > 0),
            )
        )

    # What the decisions mean ---------------------------------------------------------------

    def _width(self, block: int, choice: int) -> int:
        """Output channels of a block (the stem's for block -1) under a choice of filters."""
        return int(self.base_widths[block] * _FILTERS[choice]) if block >= 0 else self.stem_width

    def _depth(self, block: int, choice: int) -> int:
        """Layers of a block under a choice of layers."""
        return max(self.base_depths[block] - 1, 1) + choice

    def _can_skip(self, block: int, filters_before: int, filters: int, layers: int) -> bool:
        """Whether a block has a layer that keeps the shape, under these choices."""
        if self._depth(block, layers) > 1:
            return True
        widths = self._width(block - 1, filters_before), self._width(block, filters)
        return _STRIDES[block] == 1 and widths[0] == widths[1]

    def active(self, choices: Choices) -> NDArray[np.bool_]:
        matter = np.ones(choices.shape, dtype=np.bool_)
        for block in range(len(_STRIDES)):
            first = block * _DECISIONS
            before = choices[:, first - _DECISIONS + _FILTER] if block else choices[:, 0] * 0
            table = self._skip_tables[block]
            skippable = table[before, choices[:, first + _FILTER], choices[:, first + _LAYER]]
            matter[:, first + _SKIP] = skippable
        return matter

    @cached_property
    def _skip_tables(self) -> tuple[NDArray[np.bool_], ...]:
        """For each block :meth:`_can_skip` of every choice, shape (3, 3, layers)."""
        filters = range(len(_FILTERS))
        return tuple(
            np.array(
                [
                    [
                        [self._can_skip(block, before, after, layers) for layers in range(number)]
                        for after in filters
                    ]
                    for before in filters
                ]
            )
            for block, number in enumerate(self.num_choices[_LAYER::_DECISIONS].tolist())
        )

    @property
    def num_architectures(self) -> int:
        others = len(_CONVOLUTIONS) * len(_KERNELS) * len(_SQUEEZES)
        counts = [1, 0, 0]  # networks up to here, by the choice of filters; the stem has none
        for table in self._skip_tables:
            ways = np.where(table, len(_SKIPS), 1).sum(axis=2) * others
            counts = [
                sum(count * int(ways[before, after]) for before, count in enumerate(counts))
                for after in range(len(_FILTERS))
            ]
        return sum(counts)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The blocks, which the filters of the block before matter to as well, and the head."""
        parts = []
        for block in range(len(_STRIDES)):
            first = block * _DECISIONS
            before = (first - _DECISIONS + _FILTER,) if block else ()
            decisions = (*range(first, first + _DECISIONS), *before)
            parts.append(Part(f"block{block + 1}", decisions))
        return (*parts, Part("head", ((len(_STRIDES) - 1) * _DECISIONS + _FILTER,)))

    # Blocks --------------------------------------------------------------------------------

    def chosen_blocks(self, part: int, local_choices: tuple[int, ...]) -> tuple[Block, ...]:
        if part == len(_STRIDES):
            channels = self._width(part - 1, local_choices[0])
            return self.last_blocks(part, channels)
        convolution, kernel, squeeze, skip, filters, layers, *before = local_choices
        channels = self._width(part - 1, before[0] if before else 0)
        width, size = self._width(part, filters), self.sizes[part]
        blocks: list[Block] = []
        for index in range(self._depth(part, layers)):
            stride = _STRIDES[part] if index == 0 else 1
            name = f"block{part + 1}.layer{index}"
            place = Place(name, part, channels, width, size, stride)
            what = (_CONVOLUTIONS[convolution], _KERNELS[kernel], _SQUEEZES[squeeze])
            blocks += _layer_blocks(place, *what, _SKIPS[skip])
            channels, size = width, place.out_size
        return tuple(blocks)


def _layer_blocks(
    place: Place, convolution: str, kernel: int, squeeze: float, skip: str
) -> tuple[Block, ...]:
    """One layer; with a pooled skip four blocks: its input, its body, the pool and the sum."""
    pooled = skip == "pool" and place.keeps_shape
    body = replace(place, name=f"{place.name}.body") if pooled else place
    reduced = max(int(place.in_channels * squeeze), 1) if squeeze else 0
    residual = skip == "identity" and place.keeps_shape
    gain = _RESIDUAL_GAIN if pooled or residual else 1.0
    label = f"{convolution}_k{kernel}" + (f"_se{squeeze:g}" if reduced else "")
    if convolution == "regular":
        block = _regular_block(body, label, kernel, reduced, residual=residual, gain=2.0 * gain)
    else:
        expansion = 1 if convolution == "sepconv" else int(convolution[-1])
        kind = MobileKind(
            "relu", reduced=reduced, gate="sigmoid", skip=residual, residual_gain=gain
        )
        block = mobile_inverted_block(body, label, kernel=kernel, expansion=expansion, kind=kind)
    if not pooled:
        return (block,)
    channels, size = place.in_channels, place.in_size
    source = replace(place, name=f"{place.name}.input")
    pool = replace(place, name=f"{place.name}.pool")
    return (
        source.block("Identity", ()),
        replace(block, inputs=(source.name,)),
        pool.block(
            "AvgPool3x3", (Pool(pool.name, channels, "avg"),), kernel=3, inputs=(source.name,)
        ),
        sum_block(
            place.name,
            (body.name, pool.name),
            channels=channels,
            size=size,
            position=place.position,
        ),
    )


def _regular_block(
    place: Place, label: str, kernel: int, reduced: int, *, residual: bool, gain: float
) -> Block:
    channels = (place.in_channels, place.out_channels)
    steps: list[Step] = [
        Layer(f"{place.name}.conv", *channels, kernel, place.stride, activation="relu", gain=gain)
    ]
    if reduced:
        steps.append(SqueezeExcite(f"{place.name}.se", place.out_channels, reduced, "sigmoid"))
    return place.block(label, tuple(steps), kernel=kernel, residual=residual)
