"""The FBNet search space (Wu et al., CVPR 2019, arXiv 1812.03443, section 3.1 and table 1)."""

from __future__ import annotations

from functools import cached_property

from latprof.common.limits import whole_option
from latprof.datasets.models.layers import (
    Block,
    MobileKind,
    Place,
    convolution_block,
    mobile_inverted_block,
)
from latprof.datasets.spaces.chain import ChainSpace, places_of_stages

_STEM_WIDTH = 16
#: Width, layers and first stride of each stage.
_STAGES = (
    (16, 1, 1),
    (24, 4, 2),
    (32, 4, 2),
    (64, 4, 2),
    (112, 4, 1),
    (184, 4, 2),
    (352, 1, 1),
)
#: Kernel, expansion and groups of the candidates before skip.
_CANDIDATES = {
    "k3_e1": (3, 1, 1),
    "k3_e1_g2": (3, 1, 2),
    "k3_e3": (3, 3, 1),
    "k3_e6": (3, 6, 1),
    "k5_e1": (5, 1, 1),
    "k5_e1_g2": (5, 1, 2),
    "k5_e3": (5, 3, 1),
    "k5_e6": (5, 6, 1),
}
_SKIP = "skip"

#: Channels before the pool in the paper's table 1 and FBNet-A, and in FBNet-B, FBNet-C and
#: HW-NAS-Bench's ImageNet code.
TABLE_HEAD_WIDTH = 1504
WIDE_HEAD_WIDTH = 1984
#: Choices of the published networks (figure 4 and the authors' model definitions); FBNet-A has the
#: head of the table, FBNet-B and FBNet-C the wide one.
FBNET_A_CHOICES = (8, 2, 0, 8, 8, 7, 2, 4, 2, 7, 6, 5, 7, 3, 5, 6, 1, 7, 7, 6, 7, 7)
FBNET_B_CHOICES = (0, 3, 4, 0, 0, 7, 6, 3, 7, 7, 7, 8, 6, 7, 0, 4, 6, 7, 4, 7, 7, 3)
FBNET_C_CHOICES = (0, 3, 8, 0, 0, 7, 6, 7, 3, 7, 6, 7, 7, 7, 7, 7, 6, 7, 7, 7, 7, 3)


class FBNetSpace(ChainSpace):
    """22 layers, each one of eight mobile inverted blocks, or skipped.

    Candidates are named by kernel, expansion and groups, in this order: k3_e1, k3_e1_g2, k3_e3,
    k3_e6, k5_e1, k5_e1_g2, k5_e3, k5_e6, skip. Activations are ReLU. A block keeps its first 1x1
    convolution at expansion 1; with 2 groups both 1x1 convolutions are grouped, and the channels
    shuffled after the first. Where a layer keeps the shape skip is the identity and costs nothing;
    in the first layer of a stage it is a 1x1 convolution with the layer's stride, batch
    normalisation and ReLU, as HW-NAS-Bench (Li et al., ICLR 2021) runs it.

    Parameters
    ----------
    resolution : int
        Height and width of the image, at least 32.
    num_classes : int
    head_width : int
        Channels of the last 1x1 convolution: 1504 in the paper's table, 1984 in HW-NAS-Bench's code
        and in the networks that the authors published.

    Raises
    ------
    InvalidValueError
        For an option out of its range.
    """

    name = "fbnet"

    def __init__(
        self,
        resolution: int = 224,
        num_classes: int = 1000,
        head_width: int = TABLE_HEAD_WIDTH,
    ) -> None:
        self.resolution = whole_option("resolution", resolution, 32, 8192)
        self.num_classes = whole_option("num_classes", num_classes)
        self.head_width = whole_option("head_width", head_width)

    @cached_property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        return ((*_CANDIDATES, _SKIP),) * len(self._places)

    @cached_property
    def _places(self) -> tuple[Place, ...]:
        """Where the searchable layers stand."""
        return places_of_stages(_STAGES, _STEM_WIDTH, -(-self.resolution // 2))

    @cached_property
    def candidate_blocks(self) -> tuple[tuple[Block, ...], ...]:
        """Every candidate of every layer."""
        return tuple(
            (*(_mobile_block(place, name) for name in _CANDIDATES), _skip_block(place))
            for place in self._places
        )

    @cached_property
    def fixed_blocks(self) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
        stem = Place("stem", None, 3, _STEM_WIDTH, self.resolution, 2)
        last = self._places[-1]
        head = Place("head", None, last.out_channels, self.head_width, last.out_size)
        return (
            (convolution_block(stem, kernel=3, activation="relu"),),
            (convolution_block(head, kernel=1, activation="relu"),),
        )


def _mobile_block(place: Place, name: str) -> Block:
    kernel, expansion, groups = _CANDIDATES[name]
    # What is added to the input is small under random weights: 22 layers of it stay in scale.
    kind = MobileKind("relu", groups=groups, always_expand=True, residual_gain=0.25)
    return mobile_inverted_block(place, name, kernel=kernel, expansion=expansion, kind=kind)


def _skip_block(place: Place) -> Block:
    if place.keeps_shape:
        return place.block(_SKIP, ())
    return place.block(
        _SKIP, convolution_block(place, kernel=1, activation="relu").layers, kernel=1
    )
