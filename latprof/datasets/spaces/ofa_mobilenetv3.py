"""The MobileNetV3 space of Once-for-All (Cai et al., ICLR 2020, arXiv 1908.09791, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from latprof.common.limits import Limit, whole_option, whole_options
from latprof.datasets.models.layers import (
    Block,
    MobileKind,
    Place,
    convolution_block,
    make_divisible,
    mobile_inverted_block,
)
from latprof.datasets.models.steps import GlobalPool, Layer
from latprof.datasets.spaces.base import Architecture, Choices, Part, SearchSpace
from latprof.errors import InvalidValueError, shown
from latprof.graph.operators import Operator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.datasets.models.steps import Activation

#: Width, first stride, squeeze-and-excitation and activation of each searchable stage.
_STAGES: tuple[tuple[int, int, bool, Activation], ...] = (
    (24, 2, False, "relu"),
    (40, 2, True, "relu"),
    (80, 2, False, "hswish"),
    (112, 1, True, "hswish"),
    (160, 2, True, "hswish"),
)
_STEM_WIDTH, _FIRST_WIDTH, _EXPAND_WIDTH, _LAST_WIDTH = 16, 16, 960, 1280
_DEPTHS = (2, 3, 4)
_KERNELS = (3, 5, 7)
_EXPANSIONS = (3, 4, 6)
_SE_REDUCTION = 4
_MOST = max(_DEPTHS)
_LAYERS = _MOST * len(_STAGES)
#: First decision of each kind: resolution, depths, kernels, expansions.
_DEPTH, _KERNEL = 1, 1 + len(_STAGES)
_EXPANSION = _KERNEL + _LAYERS

#: Resolutions that the authors' networks are trained at.
RESOLUTIONS = tuple(range(128, 225, 4))


class OFAMobileNetV3Space(SearchSpace):
    """Networks like MobileNetV3-Large in five stages, whose depth is searched as well.

    46 decisions in this order: resolution; depth (2, 3, 4) of the five stages; kernel (3, 5, 7) of
    the 20 layers, four a stage; expansion (3, 4, 6) of the 20 layers. Kernel and expansion of a
    layer beyond its stage's depth are inactive. Channels inside a block and its
    squeeze-and-excitation (a quarter of them) are rounded to multiples of 8.

    Parameters
    ----------
    width_multiplier : float
        Scales all channels: 1.0 and 1.2 are published.
    num_classes : int
    resolutions : sequence of int
        Candidates of the first decision, rising, each from 32 to 4096.

    Raises
    ------
    InvalidValueError
        For an option out of its range.
    """

    name = "ofa-mobilenetv3"

    def __init__(
        self,
        width_multiplier: float = 1.0,
        num_classes: int = 1000,
        resolutions: Sequence[int] = RESOLUTIONS,
    ) -> None:
        Limit(0.1, 10).check("width_multiplier", width_multiplier)
        self.width_multiplier = float(width_multiplier)
        self.num_classes = whole_option("num_classes", num_classes)
        count = len(resolutions) if isinstance(resolutions, Sequence) else 0
        self.resolutions = whole_options("resolutions", resolutions, count, 32, 4096)
        if not 1 <= count <= 256 or list(self.resolutions) != sorted(set(self.resolutions)):
            raise InvalidValueError(
                "resolutions are not possible",
                field="resolutions",
                expected="1 to 256 rising whole numbers",
                got=shown(resolutions),
            )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (3, self.resolutions[-1], self.resolutions[-1])

    @property
    def common_image_shape(self) -> tuple[int, int, int] | None:
        return self.input_shape if len(self.resolutions) == 1 else None

    def image_shape(self, architecture: Architecture) -> tuple[int, int, int]:
        size = self.resolutions[int(self.choices([architecture])[0, 0])]
        return (3, size, size)

    @cached_property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        return (
            tuple(f"r{resolution}" for resolution in self.resolutions),
            *(tuple(f"d{depth}" for depth in _DEPTHS),) * len(_STAGES),
            *(tuple(f"k{kernel}" for kernel in _KERNELS),) * _LAYERS,
            *(tuple(f"e{expansion}" for expansion in _EXPANSIONS),) * _LAYERS,
        )

    # What the decisions mean ---------------------------------------------------------------

    def active(self, choices: Choices) -> NDArray[np.bool_]:
        depths = np.array(_DEPTHS)[choices[:, _DEPTH:_KERNEL]]
        there = np.arange(_MOST) < depths[:, :, None]
        layers = there.reshape(len(choices), _LAYERS)
        always = np.ones((len(choices), _KERNEL), dtype=np.bool_)
        return np.hstack([always, layers, layers])

    @property
    def num_architectures(self) -> int:
        a_layer = len(_KERNELS) * len(_EXPANSIONS)
        a_stage = sum(a_layer**depth for depth in _DEPTHS)
        return len(self.resolutions) * int(a_stage ** len(_STAGES))

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """What only the resolution changes, and the 20 layers.

        A layer depends on resolution, kernel and expansion, and on its stage's depth where that
        decides whether it is there.
        """
        layers = []
        for layer in range(_LAYERS):
            stage, index = divmod(layer, _MOST)
            depth = (_DEPTH + stage,) if index >= min(_DEPTHS) else ()
            decisions = (0, *depth, _KERNEL + layer, _EXPANSION + layer)
            layers.append(Part(_layer_name(layer), decisions))
        return (Part("fixed", (0,)), *layers)

    # Blocks --------------------------------------------------------------------------------

    def _width(self, base: int) -> int:
        return make_divisible(base * self.width_multiplier)

    def blocks(self, architecture: Architecture) -> tuple[Block, ...]:
        choices = tuple(self.choices([architecture])[0].tolist())
        *stem, last, mix = self._fixed(choices[0])
        layers = (
            block
            for part in range(1, 1 + _LAYERS)
            for block in self._layer(part, tuple(choices[d] for d in self.parts[part].decisions))
        )
        return (*stem, *layers, last, mix)

    def part_blocks(self, part: int, local_choices: tuple[int, ...]) -> tuple[Block, ...]:
        self.check_part(part, local_choices)
        return self._layer(part, local_choices) if part else self._fixed(local_choices[0])

    def _layer(self, part: int, local_choices: tuple[int, ...]) -> tuple[Block, ...]:
        """The block of one layer, or none beyond its stage's depth."""
        stage, index = divmod(part - 1, _MOST)
        resolution, *depth, kernel, expansion = local_choices
        if depth and _DEPTHS[depth[0]] <= index:
            return ()
        place = self._places[resolution][part - 1]
        _, _, has_se, activation = _STAGES[stage]
        middle = make_divisible(round(place.in_channels * _EXPANSIONS[expansion]))
        kind = MobileKind(
            activation,
            middle=middle,
            reduced=make_divisible(middle // _SE_REDUCTION) if has_se else 0,
            residual_gain=0.25,  # 20 layers of it stay in scale
        )
        choice = f"k{_KERNELS[kernel]}_e{_EXPANSIONS[expansion]}"
        block = mobile_inverted_block(
            place, choice, kernel=_KERNELS[kernel], expansion=_EXPANSIONS[expansion], kind=kind
        )
        return (block,)

    @cached_property
    def _places(self) -> tuple[tuple[Place, ...], ...]:
        """Where the layers stand, by resolution."""
        return tuple(self._places_at(resolution) for resolution in self.resolutions)

    def _places_at(self, resolution: int) -> tuple[Place, ...]:
        places: list[Place] = []
        channels, size = self._width(_FIRST_WIDTH), -(-resolution // 2)
        for stage, (base, first_stride, _, _) in enumerate(_STAGES):
            for index in range(_MOST):
                name = _layer_name(len(places))
                stride = first_stride if index == 0 else 1
                width = self._width(base)
                place = Place(name, 1 + stage * _MOST + index, channels, width, size, stride)
                places.append(place)
                channels, size = width, place.out_size
        return tuple(places)

    def _fixed(self, resolution: int) -> tuple[Block, ...]:
        """Stem, first block, last 1x1 convolution, and the pool with the one after it."""
        size, last_size = self.resolutions[resolution], self._places[resolution][-1].out_size
        widths = [self._width(base) for base in (_STEM_WIDTH, _FIRST_WIDTH, _STAGES[-1][0])]
        expanded, features = self._width(_EXPAND_WIDTH), self._width(_LAST_WIDTH)
        stem = Place("stem", 0, 3, widths[0], size, 2)
        first = Place("first", 0, widths[0], widths[1], stem.out_size)
        last = Place("final_expand", 0, widths[2], expanded, last_size)
        mix = Layer("feature_mix", expanded, features, 1, activation="hswish", normalized=False)
        return (
            convolution_block(stem, kernel=3, activation="hswish"),
            mobile_inverted_block(
                first, "k3_e1", kernel=3, expansion=1, kind=MobileKind("relu", residual_gain=0.25)
            ),
            convolution_block(last, kernel=1, activation="hswish"),
            Block(
                "feature_mix",
                "PoolConv1x1",
                0,
                expanded,
                features,
                last_size,
                1,
                (GlobalPool("pool", expanded), mix),
                kernel=1,
            ),
        )

    def head(
        self,
        architecture: Architecture,  # noqa: ARG002 - the head is the same for all here
        batch_size: int = 1,
    ) -> tuple[Operator, ...]:
        features = self._width(_LAST_WIDTH)
        classifier = Operator(
            "classifier",
            "Gemm",
            ((batch_size, features),),
            ((batch_size, self.num_classes),),
            weight_shape=(self.num_classes, features),
            parameters=self.num_classes * (features + 1),
        )
        return (classifier,)


@lru_cache(maxsize=_LAYERS)
def _layer_name(layer: int) -> str:
    return f"stage{layer // _MOST + 1}.layer{layer % _MOST}"
