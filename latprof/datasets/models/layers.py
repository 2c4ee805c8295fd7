"""Blocks: what a search space describes an architecture by, before any framework.

ONNX models, torch modules, lookup-table keys, costs and features are all derived from a space's
blocks, which are made of the steps of :mod:`latprof.datasets.models.steps`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from latprof.common.short_reprs import ShortRepr
from latprof.datasets.models.steps import Activation, Gate, Layer, Shuffle, SqueezeExcite, Step
from latprof.graph.operators import Operator

__all__ = [
    "Block",
    "Layer",
    "MobileKind",
    "Place",
    "convolution_block",
    "make_divisible",
    "mobile_inverted_block",
    "pool_and_classifier",
    "sum_block",
]


@dataclass(frozen=True, repr=False)
class Block(ShortRepr):
    """One block of an architecture on square feature maps; without steps its input is its output.

    Parameters
    ----------
    name : str
        Unique in its architecture.
    choice : str
        The candidate's name, or what a fixed block is.
    position : int, optional
        Index of the part of the space that the block belongs to; None for a block that no decision
        changes.
    in_channels, out_channels, in_size, out_size : int
    layers : tuple of Step
        What is done to the input, in order.
    kernel, stride, expansion : int
        Of the block as a whole, where it has them.
    residual : bool
        Whether the block's input is added to its output.
    inputs : tuple of str
        Names of the blocks whose outputs, summed, are the input; empty for the block before (or
        the image).
    precision : str
        Of its operators, in a network of mixed precision
        (:mod:`latprof.datasets.spaces.variants.mixed_precision`).
    """

    name: str
    choice: str
    position: int | None
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    layers: tuple[Step, ...]
    kernel: int = 0
    stride: int = 1
    expansion: int = 0
    residual: bool = False
    inputs: tuple[str, ...] = ()
    precision: str = "float32"

    @property
    def key(self) -> str:
        """The key of a lookup table; blocks that differ in cost differ in it.

        For the blocks of ProxylessNAS this is the format of its authors' tables, for those of
        Once-for-All's MobileNetV3 that of its authors', where ``expand`` is followed by channels;
        others say what differs after the first.
        """
        same = self.precision == "float32"
        return self._float_key if same else f"{self._float_key}-precision:{self.precision}"

    @property
    def _float_key(self) -> str:
        side = f"{self.in_size}x{self.in_size}x{self.in_channels}"
        additions = f"-sum:{len(self.inputs)}" if len(self.inputs) > 1 else ""
        if not self.layers:
            return f"{self.choice.lower()}-input:{side}{additions}"
        output = f"{self.out_size}x{self.out_size}x{self.out_channels}"
        shapes = f"input:{side}-output:{output}"
        v3 = _mobilenet_v3_form(self)
        details = ("".join(_details(self)) if v3 is None else "") + additions
        if not self.expansion:
            residual = "-idskip:1" if self.residual else ""
            return f"{self.choice}-{shapes}{details}{residual}"
        expand, ending = (self.expansion, "") if v3 is None else v3
        return (
            f"expanded_conv-{shapes}-expand:{expand}-kernel:{self.kernel}"
            f"-stride:{self.stride}-idskip:{int(self.residual)}{ending}{details}"
        )

    def operators(self, batch_size: int = 1) -> tuple[Operator, ...]:
        """The block's operators as a runtime fuses them, the additions of its inputs first.

        The same ones each time: the networks of a space share most of their blocks.
        """
        if batch_size not in self._operators:
            self._operators[batch_size] = self._make_operators(batch_size)
        return self._operators[batch_size]

    @cached_property
    def _operators(self) -> dict[int, tuple[Operator, ...]]:
        """The operators by batch size, as far as they were asked for."""
        return {}

    def _make_operators(self, batch_size: int) -> tuple[Operator, ...]:
        entering = (batch_size, self.in_channels, self.in_size, self.in_size)
        operators = [
            Operator(f"{self.name}.sum{index}", "Add", (entering, entering), (entering,))
            for index in range(1, len(self.inputs))
        ]
        size = self.in_size
        for step in self.layers:
            operators += step.operators(size, batch_size)
            size = step.output_size(size)
        if self.residual:
            shape = (batch_size, self.out_channels, self.out_size, self.out_size)
            operators.append(Operator(f"{self.name}.add", "Add", (shape, shape), (shape,)))
        if self.precision == "float32":
            return tuple(operators)
        return tuple(replace(operator, precision=self.precision) for operator in operators)


def _details(block: Block) -> Iterable[str]:
    """What a key says beyond shapes, kernel, stride and expansion; nothing for plain ReLU6."""
    layers = [step for step in block.layers if isinstance(step, Layer)]
    widest = max((layer.out_channels for layer in layers[:-1]), default=0)
    if block.expansion and widest != block.in_channels * block.expansion:
        yield f"-middle:{widest}"
    if block.expansion == 1 and layers[0].groups < block.in_channels:
        yield "-expanded"  # at expansion 1 the first 1x1 convolution is left out as a rule
    grouped = {layer.groups for layer in layers} - {1, *(layer.in_channels for layer in layers)}
    yield from (f"-groups:{groups}" for groups in sorted(grouped))
    dilations = {layer.dilation for layer in layers} - {1}
    yield from (f"-dilation:{dilation}" for dilation in sorted(dilations))
    yield from (f"-se:{step.reduced}" for step in block.layers if isinstance(step, SqueezeExcite))
    activations = {layer.activation or "" for layer in layers} - {"", "relu6"}
    yield from (f"-activation:{activation}" for activation in sorted(activations))


def _mobilenet_v3_form(block: Block) -> tuple[int, str] | None:
    """What Once-for-All's MobileNetV3 tables say of a block: channels inside, and the key's end.

    None for blocks that the tables have no key for: with ReLU6, groups, dilation, or a gate or
    squeeze-and-excitation of other widths than that code's.
    """
    layers = [step for step in block.layers if isinstance(step, Layer)]
    gates = [step for step in block.layers if isinstance(step, SqueezeExcite)]
    if not block.expansion or len(layers) + len(gates) < len(block.layers):
        return None
    *expands, depthwise, _ = layers
    middle = depthwise.out_channels
    activations = {layer.activation for layer in (*expands, depthwise)}
    same = (
        len(activations) == 1
        and activations <= {"relu", "hswish"}
        and depthwise.groups == middle
        and all(layer.groups == 1 for layer in layers if layer is not depthwise)
        and all(layer.dilation == 1 for layer in layers)
        and bool(expands) == (block.expansion != 1)
        and all(
            (gate.reduced, gate.gate) == (make_divisible(middle // 4), "hsigmoid") for gate in gates
        )
    )
    if not same:
        return None
    return middle, f"-se:{len(gates)}-hs:{int(activations == {'hswish'})}"


@dataclass(frozen=True)
class Place:
    """Where a block stands in a network: what it is called, and the shapes around it."""

    name: str
    position: int | None
    in_channels: int
    out_channels: int
    in_size: int
    stride: int = 1

    @property
    def out_size(self) -> int:
        """Height and width of the output."""
        return -(-self.in_size // self.stride)

    @property
    def keeps_shape(self) -> bool:
        """Whether the output has the input's shape, so that the two can be added."""
        return self.stride == 1 and self.in_channels == self.out_channels

    def block(
        self,
        choice: str,
        layers: tuple[Step, ...],
        *,
        kernel: int = 0,
        expansion: int = 0,
        residual: bool = False,
        inputs: tuple[str, ...] = (),
    ) -> Block:
        """The block of these steps at this place."""
        return Block(
            self.name,
            choice,
            self.position,
            self.in_channels,
            self.out_channels,
            self.in_size,
            self.out_size,
            layers,
            kernel,
            self.stride,
            expansion,
            residual,
            inputs,
        )


@dataclass(frozen=True)
class MobileKind:
    """What mobile inverted blocks differ in between families of networks.

    Parameters
    ----------
    activation : {"relu", "relu6", "hswish"}
        After the first 1x1 and after the depthwise convolution.
    middle : int, optional
        Channels between the 1x1 convolutions; expansion x input unless given.
    groups : int
        Of the 1x1 convolutions; above 1 a channel shuffle follows the first (FBNet).
    reduced : int
        Channels inside squeeze-and-excitation, which follows the depthwise one; 0 for none.
    gate : {"hsigmoid", "sigmoid"}
    always_expand : bool
        Whether the first 1x1 convolution stays at expansion 1.
    skip : bool
        Whether the input is added where the shapes fit.
    residual_gain : float
        Variance that random weights give what is added to the input.
    """

    activation: Activation = "relu6"
    middle: int | None = None
    groups: int = 1
    reduced: int = 0
    gate: Gate = "hsigmoid"
    always_expand: bool = False
    skip: bool = True
    residual_gain: float = 1.0


_PLAIN = MobileKind()


def mobile_inverted_block(
    place: Place, choice: str, *, kernel: int, expansion: int, kind: MobileKind = _PLAIN
) -> Block:
    """MBConv (Sandler et al. 2018): expand 1x1, depthwise, project 1x1, residual where they fit.

    At expansion 1 the first convolution is left out, unless ``kind`` keeps it.
    """
    name, act = place.name, kind.activation
    middle = place.in_channels * expansion if kind.middle is None else kind.middle
    residual = kind.skip and place.keeps_shape
    steps: list[Step] = []
    if expansion != 1 or kind.always_expand:
        expand = f"{name}.expand"
        steps.append(Layer(expand, place.in_channels, middle, 1, 1, kind.groups, act))
    if kind.groups > 1:
        steps.append(Shuffle(f"{name}.shuffle", middle, kind.groups))
    steps.append(Layer(f"{name}.depthwise", middle, middle, kernel, place.stride, middle, act))
    if kind.reduced:
        steps.append(SqueezeExcite(f"{name}.se", middle, kind.reduced, kind.gate))
    gain = kind.residual_gain if residual else None
    project = f"{name}.project"
    steps.append(Layer(project, middle, place.out_channels, 1, 1, kind.groups, None, gain=gain))
    return place.block(choice, tuple(steps), kernel=kernel, expansion=expansion, residual=residual)


def convolution_block(
    place: Place, *, kernel: int, activation: Activation | None = "relu6"
) -> Block:
    """A block of one convolution: a stem, or the 1x1 before the pool."""
    layer = Layer(
        place.name,
        place.in_channels,
        place.out_channels,
        kernel,
        place.stride,
        activation=activation,
    )
    return place.block(f"Conv{kernel}x{kernel}", (layer,), kernel=kernel)


def sum_block(
    name: str, inputs: tuple[str, ...], *, channels: int, size: int, position: int | None = None
) -> Block:
    """The sum of other blocks' outputs; with one input nothing happens."""
    place = Place(name, position, channels, channels, size)
    return place.block("Sum", (), inputs=inputs)


def pool_and_classifier(
    features: int, size: int, num_classes: int, batch_size: int
) -> tuple[Operator, Operator]:
    """Global average pool and linear classifier, as :meth:`SearchSpace.head` lists them."""
    pool = Operator(
        "pool",
        "GlobalAveragePool",
        ((batch_size, features, size, size),),
        ((batch_size, features, 1, 1),),
    )
    classifier = Operator(
        "classifier",
        "Gemm",
        ((batch_size, features),),
        ((batch_size, num_classes),),
        weight_shape=(num_classes, features),
        parameters=num_classes * (features + 1),
    )
    return pool, classifier


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round channels to a multiple of ``divisor``, losing at most a tenth (Sandler et al. 2018)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
