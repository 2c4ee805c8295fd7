"""UniNet's space: convolution, transformer and MLP in one form (Liu et al., ECCV 2022)."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from latprof.common.limits import whole_option, whole_options
from latprof.datasets.models.layers import (
    Block,
    Place,
    make_divisible,
    sum_block,
)
from latprof.datasets.models.steps import Layer, Normalize, Pool, SqueezeExcite, Step
from latprof.datasets.models.token_steps import AttentionPool, TokenLayer
from latprof.datasets.spaces.base import Part
from latprof.datasets.spaces.chain import StagedSpace
from latprof.errors import InvalidValueError

#: Of the down-sampling module before each stage but the first.
_STRIDES = (1, 2, 2, 2, 1, 2)
_STAGES = len(_STRIDES)
_OPERATORS = ("conv", "transformer", "mlp")
_DOWN = ("local", "local-global", "global")
_EXPANSIONS = (1, 2, 3, 4, 5, 6)
#: Feature maps of more tokens are convolved and down-sampled locally: attention between all of them
#: would take more memory than the whole rest.
_MOST_TOKENS = 784
#: Variance of what is added to a layer's input under random weights: deep stages stay in scale.
_RESIDUAL_GAIN = 0.25

#: Channels and repeats of the published UniNet-B0 and B1.
B0_CHANNELS = (24, 48, 80, 128, 128, 256)
B0_REPEATS = (1, 2, 4, 4, 4, 8)
#: The two networks in the spaces around them, at resolutions 160 and 224; the larger ones of the
#: family differ in channels and repeats, and so in the space, but not in the choices.
B0_CHOICES = (
    *(0, 0, 1, 0),  # convolution, expansion 1
    *(0, 0, 3, 1, 1),  # local down-sampling, convolution, expansion 4
    *(0, 0, 5, 1, 1),
    *(0, 0, 2, 1, 1),
    *(1, 1, 1, 1, 1),  # local-global down-sampling, transformer, expansion 2
    *(1, 1, 4, 1, 1),
)


class UniNetSpace(StagedSpace):
    """Six stages of like layers, each of one operator, with a down-sampling module before each.

    Decisions of a stage, in this order; the first stage has no down-sampling module:

    - down-sampling module: local (a depthwise convolution), local-global (each new token, made by a
      depthwise convolution, attends to all tokens before), global (the same with tokens that a
      dense layer over all tokens makes); beside it runs a shortcut of max pool and 1x1 convolution;
    - operator: conv (an inverted residual with squeeze-and-excitation), transformer (depthwise
      convolution as position encoding, self-attention, feed-forward layer), mlp (a dense layer over
      the tokens, feed-forward layer);
    - expansion: 1 to 6, the channels inside the inverted residual or the feed-forward layer;
    - channels and repeats: those of the base, fewer and more.

    Stages on more than 784 tokens are convolutions, and are entered by local modules. As in the
    authors' code strides are 1, 2, 2, 2, 1, 2 after a stem of stride 2, heads have 32 features or
    more, and activations are GELU. That code has no MLP operator and no global module; here they
    have the form of the others. Layer scale, which inference exports fold away, is left out.

    Parameters
    ----------
    resolution : int
        Height and width of the image: 160 in UniNet-B0, 224 in B1.
    num_classes : int
    channels, repeats : sequence of 6 int
        Of the stages, which the candidates lie around: UniNet-B0's unless given. Channels are
        multiples of 8 from 16.

    Raises
    ------
    InvalidValueError
        For an option out of its range.
    """

    name = "uninet"
    strides = _STRIDES
    activation = "gelu"

    def __init__(
        self,
        resolution: int = 160,
        num_classes: int = 1000,
        channels: tuple[int, ...] = B0_CHANNELS,
        repeats: tuple[int, ...] = B0_REPEATS,
    ) -> None:
        self.resolution = whole_option("resolution", resolution, 32, 1024)
        self.num_classes = whole_option("num_classes", num_classes)
        self.channels = whole_options("channels", channels, _STAGES, 16, 4096)
        if any(value % 8 for value in self.channels):
            raise InvalidValueError(
                "channels are not possible",
                field="channels",
                expected="multiples of 8",
                got=str(self.channels),
            )
        self.repeats = whole_options("repeats", repeats, _STAGES, 1, 64)

    # What the decisions mean ---------------------------------------------------------------

    def _choices_of_channels(self, stage: int) -> tuple[int, ...]:
        base = self.channels[stage]
        step = make_divisible(base // 4)
        return (base - step, base, base + step)

    def _choices_of_repeats(self, stage: int) -> tuple[int, ...]:
        base = self.repeats[stage]
        step = max(1, base // 4)
        return tuple(value for value in (base - step, base, base + step) if value >= 1)

    @cached_property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        names: list[tuple[str, ...]] = []
        for stage in range(_STAGES):
            before, inside = (size**2 <= _MOST_TOKENS for size in self.sizes[stage : stage + 2])
            if stage:
                names.append(_DOWN if before else _DOWN[:1])
            names += [
                _OPERATORS if inside else _OPERATORS[:1],
                tuple(f"e{expansion}" for expansion in _EXPANSIONS),
                tuple(f"c{channels}" for channels in self._choices_of_channels(stage)),
                tuple(f"x{repeats}" for repeats in self._choices_of_repeats(stage)),
            ]
        return tuple(names)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Each stage, the module before it (both sides' channels matter to it), and the head."""
        parts = []
        for stage in range(_STAGES):
            first = _first_decision(stage)
            if stage:
                channels = (_channels_decision(stage - 1), _channels_decision(stage))
                parts.append(Part(f"down{stage + 1}", (first - 1, *channels)))
            parts.append(Part(f"stage{stage + 1}", tuple(range(first, first + 4))))
        return (*parts, Part("head", (_channels_decision(_STAGES - 1),)))

    # Blocks --------------------------------------------------------------------------------

    def chosen_blocks(self, part: int, local_choices: tuple[int, ...]) -> tuple[Block, ...]:
        stage, is_stage = (part + 1) // 2, part % 2 == 0
        if part == 2 * _STAGES - 1:
            channels = self._choices_of_channels(_STAGES - 1)[local_choices[0]]
            return self.last_blocks(part, channels)
        if is_stage:
            return self._stage(stage, part, local_choices)
        module, before, after = local_choices
        place = Place(
            f"down{stage + 1}",
            part,
            self._choices_of_channels(stage - 1)[before],
            self._choices_of_channels(stage)[after],
            self.sizes[stage],
            _STRIDES[stage],
        )
        return _down_blocks(place, _DOWN[module], f"stage{stage}.out")

    def _stage(self, stage: int, part: int, local_choices: tuple[int, ...]) -> tuple[Block, ...]:
        operator, expansion, channels, repeats = local_choices
        width, size = self._choices_of_channels(stage)[channels], self.sizes[stage + 1]
        count = self._choices_of_repeats(stage)[repeats]
        blocks: list[Block] = []
        for index in range(count):
            before = self.stem_width if stage == index == 0 else width
            place = Place(f"stage{stage + 1}.layer{index}", part, before, width, size)
            blocks += _layer_blocks(place, _OPERATORS[operator], _EXPANSIONS[expansion])
        end = f"stage{stage + 1}.out"
        return (
            *blocks,
            sum_block(end, (blocks[-1].name,), channels=width, size=size, position=part),
        )


def _first_decision(stage: int) -> int:
    """The decision of a stage's operator."""
    return 5 * stage


def _channels_decision(stage: int) -> int:
    return _first_decision(stage) + 2


def _down_blocks(place: Place, module: str, source: str) -> tuple[Block, ...]:
    """Shortcut, module and their sum."""
    name = place.name
    shortcut, body = (replace(place, name=f"{name}.{part}") for part in ("shortcut", "body"))
    steps: tuple[Step, ...]
    if module == "local":
        channels = place.in_channels
        around = Layer(
            f"{name}.around", channels, channels, 3, place.stride, channels, activation=None
        )
        steps = (around, _mixing(f"{name}.mix", channels, place.out_channels, 0.5))
    else:
        steps = (
            AttentionPool(
                f"{name}.pool",
                "global" if module == "global" else "local-global",
                place.in_channels,
                place.out_channels,
                place.in_size,
                place.stride,
            ),
        )
    return (
        _shortcut(shortcut, (source,)),
        body.block(f"down_{module}", steps, inputs=(source,)),
        sum_block(
            name,
            (shortcut.name, body.name),
            channels=place.out_channels,
            size=place.out_size,
            position=place.position,
        ),
    )


def _mixing(name: str, channels: int, out_channels: int, gain: float) -> Layer:
    """A 1x1 convolution with a bias."""
    return Layer(
        name, channels, out_channels, 1, activation=None, normalized=False, bias=True, gain=gain
    )


def _shortcut(place: Place, inputs: tuple[str, ...] = ()) -> Block:
    """Max pool, where the size falls, and a 1x1 convolution."""
    pool = Pool(f"{place.name}.max", place.in_channels, "max", 3, place.stride)
    mix = _mixing(f"{place.name}.mix", place.in_channels, place.out_channels, 0.5)
    steps = (pool, mix) if place.stride > 1 else (mix,)
    return place.block("shortcut", steps, inputs=inputs)


def _layer_blocks(place: Place, operator: str, expansion: int) -> tuple[Block, ...]:
    """One layer; only that of the first stage's begin changes the channels."""
    if operator == "conv":
        return _inverted_residual(place, expansion)
    hidden = place.in_channels * expansion
    layer = TokenLayer(
        f"{place.name}.tokens",
        "attention" if operator == "transformer" else "mlp",
        place.in_channels,
        hidden,
        place.in_size,
    )
    tokens = place.block(f"{operator}_e{expansion}", (layer,))
    if operator == "mlp":
        return (tokens,)
    channels = place.in_channels
    around = Layer(
        f"{place.name}.around",
        channels,
        channels,
        3,
        groups=channels,
        activation=None,
        normalized=False,
        bias=True,
        gain=_RESIDUAL_GAIN,
    )
    position = replace(place, name=f"{place.name}.position")
    return (position.block("position", (around,), kernel=3, residual=True), tokens)


def _inverted_residual(place: Place, expansion: int) -> tuple[Block, ...]:
    """Normalise, expand, depthwise, squeeze-and-excitation, project; the input is added."""
    name, middle = place.name, place.in_channels * expansion
    steps: list[Step] = []
    if expansion != 1:
        expand = Layer(f"{name}.expand", place.in_channels, middle, 1, activation="gelu")
        steps += [Normalize(f"{name}.norm", place.in_channels), expand]
    steps += [
        Layer(f"{name}.depthwise", middle, middle, 3, groups=middle, activation="gelu"),
        SqueezeExcite(f"{name}.se", middle, make_divisible(middle // 4)),
        Layer(
            f"{name}.project", middle, place.out_channels, 1, activation=None, gain=_RESIDUAL_GAIN
        ),
    ]
    label = f"conv_e{expansion}"
    if place.keeps_shape:
        return (place.block(label, tuple(steps), kernel=3, residual=True),)
    body, shortcut = (replace(place, name=f"{name}.{part}") for part in ("body", "shortcut"))
    # Both read what comes before: a sum of one.
    source = sum_block(
        f"{name}.input",
        (),
        channels=place.in_channels,
        size=place.in_size,
        position=place.position,
    )
    return (
        source,
        body.block(label, tuple(steps), kernel=3, inputs=(source.name,)),
        _shortcut(shortcut, (source.name,)),
        sum_block(
            name,
            (body.name, shortcut.name),
            channels=place.out_channels,
            size=place.out_size,
            position=place.position,
        ),
    )
