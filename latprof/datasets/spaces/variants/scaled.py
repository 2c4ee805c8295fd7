"""Networks that come in any resolution, depth and width: what scaling rules are applied to.

The stages are those of EfficientNet-B0 (Tan and Le, ICML 2019, table 1), of which TinyNets (Han et
al., NeurIPS 2020) are smaller versions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, get_args

from latprof.common.limits import POSITIVE, whole_option, whole_options
from latprof.datasets.models.layers import (
    Block,
    Layer,
    MobileKind,
    Place,
    convolution_block,
    make_divisible,
    mobile_inverted_block,
    pool_and_classifier,
)
from latprof.datasets.spaces.base import Architecture, SearchSpace
from latprof.errors import InvalidValueError, shown

if TYPE_CHECKING:
    from latprof.graph.operators import Operator

Rounding: TypeAlias = Literal["efficientnet", "tinynet"]
#: What a network takes, in milliseconds: the number that must keep a limit.
NetworkLatency: TypeAlias = Callable[[SearchSpace, Architecture], float]

#: Every published EfficientNet has an image of a multiple of so many pixels.
_PIXELS = 4
_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_KERNELS = (3, 5, 7)
_EXPANSIONS = (1, 3, 6)
_LEAST_RESOLUTION, _MOST_RESOLUTION = 32, 8192
_MOST_DEPTH = 256
#: Variance of what is added to a layer's input under random weights: deep stages stay in scale.
_RESIDUAL_GAIN = 0.25
#: Variance that a gate, about 0.5 under random weights, takes away.
_GATE_GAIN = 4.0

#: EfficientNet-B0: channels of the stem, the seven stages and the last convolution, ...
B0_WIDTHS = (32, 16, 24, 40, 80, 112, 192, 320, 1280)
#: ... layers of the stages, ...
B0_DEPTHS = (1, 2, 2, 3, 3, 4, 1)
#: ... and their kernels and expansions: 3 5 7 x 1 3 6, the kernel changing first.
B0_CHOICES = (0, 6, 7, 6, 7, 7, 6)


@dataclass(frozen=True)
class Scale:
    """How large a network of a family is.

    Parameters
    ----------
    resolution : int
        Height and width of the image, in pixels.
    depth, width : float
        Multipliers of the base network's layers and channels, above 0.

    Raises
    ------
    InvalidValueError
        For values that are no sizes.
    """

    resolution: int = 224
    depth: float = 1.0
    width: float = 1.0

    def __post_init__(self) -> None:
        whole_option("resolution", self.resolution)
        for field in ("depth", "width"):
            POSITIVE.check(field, getattr(self, field))


#: The published EfficientNets (the authors' code; the paper has the networks' sizes only).
EFFICIENTNETS: Mapping[str, Scale] = MappingProxyType(
    {
        "b0": Scale(224, 1.0, 1.0),
        "b1": Scale(240, 1.1, 1.0),
        "b2": Scale(260, 1.2, 1.1),
        "b3": Scale(300, 1.4, 1.2),
        "b4": Scale(380, 1.8, 1.4),
        "b5": Scale(456, 2.2, 1.6),
        "b6": Scale(528, 2.6, 1.8),
        "b7": Scale(600, 3.1, 2.0),
    }
)
#: The published TinyNets (the authors' code).
TINYNETS: Mapping[str, Scale] = MappingProxyType(
    {
        "a": Scale(192, 1.2, 1.0),
        "b": Scale(188, 1.1, 0.75),
        "c": Scale(184, 0.85, 0.54),
        "d": Scale(152, 0.695, 0.54),
        "e": Scale(106, 0.6, 0.51),
    }
)


class ScalableFamily(Protocol):
    """What a scaling rule is applied to: one network for every scale."""

    @property
    def base(self) -> Scale:
        """The scale that multipliers are relative to."""
        ...

    def space_of(self, scale: Scale) -> tuple[SearchSpace, Architecture]:
        """The network of this scale: a space, and the architecture in it.

        Raises InvalidValueError for a scale that the family has no network of.
        """
        ...


@dataclass(frozen=True, eq=False)
class ScaledNetwork:
    """A network of a family: its scale, where it lives, and what its latency source says in ms."""

    scale: Scale
    space: SearchSpace
    architecture: Architecture
    latency_ms: float


class NetworksOfFamily:
    """A family together with its latency source, which is asked once for each network."""

    def __init__(self, family: ScalableFamily, latency: NetworkLatency) -> None:
        self._family, self._latency = family, latency
        self._known: dict[tuple[str, Architecture], float] = {}

    def network(self, scale: Scale) -> ScaledNetwork:
        """The network of a scale; raises InvalidValueError for what is no latency."""
        space, architecture = self._family.space_of(scale)
        key = (space.description, architecture)
        if key not in self._known:
            latency = float(self._latency(space, architecture))
            if not 0 < latency < math.inf:
                raise InvalidValueError(
                    "the latency source gave no latency",
                    field="latency",
                    expected="milliseconds above 0",
                    got=str(latency),
                )
            self._known[key] = latency
        return ScaledNetwork(scale, space, architecture, self._known[key])


def compound_scaling(
    phi: float,
    alpha: float = 1.2,
    beta: float = 1.1,
    gamma: float = 1.15,
    *,
    base: Scale = Scale(),
) -> Scale:
    """EfficientNet's rule (Tan and Le 2019, equation 3): all three sizes grow together.

    Depth is ``alpha ** phi``, width ``beta ** phi``, resolution ``gamma ** phi`` times the base's;
    with ``alpha * beta**2 * gamma**2`` about 2 every step of ``phi`` doubles the
    multiply-accumulates. The resolution is rounded to steps of 4 pixels, which all published ones
    are multiples of; layers and channels are rounded where the scale is applied (layers up,
    channels to multiples of 8). Below 0 networks shrink.

    The published B1, B2 and B3 are this rule at phi 0.5, 1 and 2 within 2 % of the resolution and,
    to one decimal, the multipliers; the authors chose B4 to B7 otherwise
    (:data:`latprof.datasets.spaces.variants.scaled.EFFICIENTNETS`).

    Raises InvalidValueError for numbers that make no size.
    """
    if not all(map(math.isfinite, (phi, alpha, beta, gamma))) or min(alpha, beta, gamma) <= 0:
        raise InvalidValueError(
            "not the numbers of a scaling rule",
            expected="finite ones; alpha, beta and gamma above 0",
            got=f"phi {phi}, {alpha}, {beta}, {gamma}",
        )
    try:
        growth = base.resolution * (gamma**phi - 1)
        pixels = base.resolution + _PIXELS * round(growth / _PIXELS)
        return Scale(pixels, base.depth * alpha**phi, base.width * beta**phi)
    except OverflowError:
        raise InvalidValueError("phi is too large", field="phi", got=str(phi)) from None


class MBConvStagesSpace(SearchSpace):
    """Seven stages of like mobile inverted blocks; one decision a stage, its kernel and expansion.

    Candidates 0-2 are expansion 1 with kernel 3, 5, 7; 3-5 expansion 3; 6-8 expansion 6. The first
    layer of a stage has its stride: 1, 2, 2, 2, 1, 2, 1. Around the stages stand a 3x3 convolution
    of stride 2, a 1x1 convolution, global average pool and classifier.

    Parameters
    ----------
    widths : sequence of 9 int
        Channels of the stem, the seven stages and the last convolution.
    depths : sequence of 7 int
        Layers of each stage.
    resolution : int
        Height and width of the image, at least 32.
    num_classes : int
    squeeze : bool
        With squeeze-and-excitation (a quarter of a layer's input channels) in every layer and hard
        swish, as EfficientNet up to its swish; the counts of parameters and multiply-accumulates
        are EfficientNet's. Without it and with ReLU6 unless given, as EfficientNet-Lite.

    Raises
    ------
    InvalidValueError
        For an option out of its range.
    """

    name = "mbconv-stages"

    def __init__(
        self,
        widths: tuple[int, ...] = B0_WIDTHS,
        depths: tuple[int, ...] = B0_DEPTHS,
        resolution: int = 224,
        num_classes: int = 1000,
        squeeze: bool = False,  # noqa: FBT001, FBT002 - an option by name
    ) -> None:
        self.widths = whole_options("widths", widths, 2 + len(_STRIDES))
        self.depths = whole_options("depths", depths, len(_STRIDES), 1, _MOST_DEPTH)
        self.resolution = whole_option(
            "resolution", resolution, _LEAST_RESOLUTION, _MOST_RESOLUTION
        )
        self.num_classes = whole_option("num_classes", num_classes)
        if not isinstance(squeeze, bool):
            raise InvalidValueError(
                "squeeze is not possible", field="squeeze", expected="true or false"
            )
        self.squeeze = squeeze

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (3, self.resolution, self.resolution)

    @cached_property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        names = tuple(
            f"{kernel}x{kernel}_MBConv{expansion}"
            for expansion in _EXPANSIONS
            for kernel in _KERNELS
        )
        return (names,) * len(_STRIDES)

    @property
    def _activation(self) -> Literal["relu6", "hswish"]:
        return "hswish" if self.squeeze else "relu6"

    def blocks(self, architecture: Architecture) -> tuple[Block, ...]:
        choices = self.choices([architecture])[0].tolist()
        stem = Place("stem", None, 3, self.widths[0], self.resolution, 2)
        blocks = [convolution_block(stem, kernel=3, activation=self._activation)]
        channels, size = stem.out_channels, stem.out_size
        for stage, choice in enumerate(choices):
            for layer in range(self.depths[stage]):
                stride = _STRIDES[stage] if layer == 0 else 1
                name = f"stage{stage + 1}.layer{layer}"
                place = Place(name, stage, channels, self.widths[stage + 1], size, stride)
                blocks.append(self._layer(place, choice))
                channels, size = place.out_channels, place.out_size
        last = Place("feature_mix", None, channels, self.widths[-1], size)
        return (*blocks, convolution_block(last, kernel=1, activation=self._activation))

    def _layer(self, place: Place, choice: int) -> Block:
        kind = MobileKind(
            self._activation,
            reduced=max(place.in_channels // 4, 1) if self.squeeze else 0,
            gate="sigmoid",
            residual_gain=_RESIDUAL_GAIN,
        )
        block = mobile_inverted_block(
            place,
            self.candidates[place.position or 0][choice],
            kernel=_KERNELS[choice % len(_KERNELS)],
            expansion=_EXPANSIONS[choice // len(_KERNELS)],
            kind=kind,
        )
        project = block.layers[-1]
        if not self.squeeze or not isinstance(project, Layer):
            return block
        project = replace(project, gain=_GATE_GAIN * project.weight_gain)
        return replace(block, layers=(*block.layers[:-1], project))

    def head(
        self,
        architecture: Architecture,  # noqa: ARG002 - the head is the same for all here
        batch_size: int = 1,
    ) -> tuple[Operator, ...]:
        size = -(-self.resolution // 2)
        for stride in _STRIDES:
            size = -(-size // stride)
        return pool_and_classifier(self.widths[-1], size, self.num_classes, batch_size)


@dataclass(frozen=True)
class ScaledMBConv:
    """EfficientNet-B0's stages in any resolution, depth and width: a :class:`ScalableFamily`.

    Parameters
    ----------
    rounding : {"efficientnet", "tinynet"}
        How multipliers become layers and channels, which are multiples of 8 in both. EfficientNet
        rounds layers up and scales all channels; TinyNet rounds layers to the nearest number, keeps
        the stem and has a last convolution of at least 1280. Below depth 1 take TinyNet's: rounded
        up, stages of 2 or 3 layers hardly get shallower.
    squeeze : bool
        See :class:`MBConvStagesSpace`.
    num_classes : int
    resolution : int
        Of the base network.

    Raises
    ------
    InvalidValueError
        For an option out of its range.
    """

    rounding: Rounding = "efficientnet"
    squeeze: bool = False
    num_classes: int = 1000
    resolution: int = 224

    def __post_init__(self) -> None:
        if self.rounding not in get_args(Rounding):
            raise InvalidValueError(
                "there is no such rounding",
                field="rounding",
                expected=" or ".join(get_args(Rounding)),
                got=shown(self.rounding),
            )
        self.space_of(self.base)  # checks the other options

    @property
    def base(self) -> Scale:
        """The scale of the network that multipliers are relative to."""
        return Scale(self.resolution)

    def space_of(self, scale: Scale) -> tuple[SearchSpace, Architecture]:
        """The network of this scale; raises InvalidValueError for one out of range."""
        space = MBConvStagesSpace(
            self._widths(scale.width),
            tuple(self._layers(depth * scale.depth) for depth in B0_DEPTHS),
            scale.resolution,
            self.num_classes,
            self.squeeze,
        )
        return space, Architecture(space.name, B0_CHOICES)

    def _widths(self, width: float) -> tuple[int, ...]:
        stem, *stages, last = (make_divisible(channels * width) for channels in B0_WIDTHS)
        if self.rounding == "tinynet":
            stem, last = B0_WIDTHS[0], max(B0_WIDTHS[-1], last)
        return (stem, *stages, last)

    def _layers(self, layers: float) -> int:
        if self.rounding == "tinynet":
            return max(1, round(layers))
        return math.ceil(layers - 1e-9)  # 3 x 1.2 / 1.2 is 3
