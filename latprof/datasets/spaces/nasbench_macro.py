"""NAS-Bench-Macro's search space (Su et al., CVPR 2021, arXiv 2103.11922, appendix A)."""

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

_STEM_WIDTH = 32
_HEAD_WIDTH = 1280
#: Width and layers of each stage, whose first layer has stride 2.
_STAGES = ((64, 2), (128, 3), (256, 3))
_IDENTITY = "identity"
#: Kernel and expansion of the candidates after the identity.
_CANDIDATES = {"k3_e3": (3, 3), "k5_e6": (5, 6)}


class NASBenchMacroSpace(ChainSpace):
    """Eight layers, each the identity or one of two mobile inverted blocks: 6,561 networks.

    Candidates: identity, k3_e3 (MBConv with kernel 3 and expansion 3) and k5_e6, in the order of
    the digits by which the benchmark names its networks. Activations are ReLU. Where a layer keeps
    the shape the identity costs nothing; in the first layer of a stage it is a 1x1 convolution of
    stride 2 with batch normalisation and no activation. Stem: a 3x3 convolution to 32 channels;
    head: a 1x1 convolution to 1280, average pool, classifier.

    Parameters
    ----------
    resolution : int
        Height and width of the image; 32 in the benchmark.
    num_classes : int

    Raises
    ------
    InvalidValueError
        For an option out of its range.
    """

    name = "nasbench-macro"

    def __init__(self, resolution: int = 32, num_classes: int = 10) -> None:
        self.resolution = whole_option("resolution", resolution, 8, 4096)
        self.num_classes = whole_option("num_classes", num_classes)

    @property
    def reference_resolution(self) -> int:
        return 3 * self.resolution  # the stem keeps the image's size, mobile networks halve it

    @cached_property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        return ((_IDENTITY, *_CANDIDATES),) * len(self._places)

    @cached_property
    def _places(self) -> tuple[Place, ...]:
        """Where the searchable layers stand."""
        stages = [(width, depth, 2) for width, depth in _STAGES]
        return places_of_stages(stages, _STEM_WIDTH, self.resolution)

    @cached_property
    def candidate_blocks(self) -> tuple[tuple[Block, ...], ...]:
        """Every candidate of every layer."""
        # What is added to the input is small under random weights, so that it stays in scale.
        kind = MobileKind("relu", residual_gain=0.25)
        return tuple(
            (
                _identity_block(place),
                *(
                    mobile_inverted_block(
                        place, name, kernel=kernel, expansion=expansion, kind=kind
                    )
                    for name, (kernel, expansion) in _CANDIDATES.items()
                ),
            )
            for place in self._places
        )

    @cached_property
    def fixed_blocks(self) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
        stem = Place("stem", None, 3, _STEM_WIDTH, self.resolution)
        last = self._places[-1]
        head = Place("head", None, last.out_channels, _HEAD_WIDTH, last.out_size)
        return (
            (convolution_block(stem, kernel=3, activation="relu"),),
            (convolution_block(head, kernel=1, activation="relu"),),
        )


def _identity_block(place: Place) -> Block:
    if place.keeps_shape:
        return place.block(_IDENTITY, ())
    return place.block(
        _IDENTITY, convolution_block(place, kernel=1, activation=None).layers, kernel=1
    )
