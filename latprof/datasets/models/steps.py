"""The steps that blocks are made of, before any framework: convolutions and what goes with them.

Each step knows its output size and lists itself as operators the way runtimes fuse them
(:mod:`latprof.graph.fusion`); the ONNX and torch writers interpret it. Names are unique in a
network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from latprof.datasets.models.plans import GELU_GAIN, INPUT, StepPlan
from latprof.datasets.models.token_steps import AttentionPool, TokenLayer
from latprof.graph.operators import Operator, Shape

Activation: TypeAlias = Literal["relu", "relu6", "hswish", "gelu"]
Gate: TypeAlias = Literal["sigmoid", "hsigmoid"]

#: Variance that random weights give a convolution's output, over that of its input, so that the
#: second moment is the same after the activation: He et al. (2015) for ReLU; hard swish, by
#: numerical integration for inputs of second moment 1.
_GAINS: dict[Activation | None, float] = {
    None: 1.0, "relu": 2.0, "relu6": 2.0, "hswish": 2.46, "gelu": GELU_GAIN}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A convolution, its batch normalisation and activation; the size stays at stride 1.

    Parameters
    ----------
    name : str
    in_channels, out_channels, kernel, stride, groups, dilation : int
    activation : {"relu", "relu6", "hswish", "gelu"}, optional
        Applied last; ReLU6 unless said otherwise.
    normalized : bool
        Whether batch normalisation follows the convolution.
    bias : bool
        Whether the convolution has a bias of its own; not together with ``normalized``.
    gain : float, optional
        Variance of the output over that of the input under random weights; the activation's own
        unless given. It changes no cost.
    """

    name: str
    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    activation: Activation | None = "relu6"
    normalized: bool = True
    bias: bool = False
    dilation: int = 1
    gain: float | None = None

    @property
    def weight_shape(self) -> Shape:
        """Shape of the convolution's weight: (out, in / groups, kernel, kernel)."""
        return (self.out_channels, self.in_channels // self.groups, self.kernel, self.kernel)

    @property
    def padding(self) -> int:
        """Zeros on each side."""
        return self.dilation * (self.kernel // 2)

    @property
    def weight_gain(self) -> float:
        """The gain that random weights are made with."""
        return _GAINS[self.activation] if self.gain is None else self.gain

    def output_size(self, size: int) -> int:
        """Height (and width) of the output for an input of ``size``."""
        reach = self.dilation * (self.kernel - 1) + 1
        return (size + 2 * self.padding - reach) // self.stride + 1

    def operators(self, size: int, batch_size: int = 1) -> tuple[Operator, ...]:
        """One fused operator on a square input of ``size``; hard swish and GELU stay apart.

        Parameters are counted as in training: the weight, and scale and shift of the normalisation.
        """
        out = self.output_size(size)
        output = (batch_size, self.out_channels, out, out)
        weights = self.out_channels * (self.in_channels // self.groups) * self.kernel**2
        convolution = Operator(
            name=self.name,
            op_type="Conv",
            input_shapes=((batch_size, self.in_channels, size, size),),
            output_shapes=(output,),
            weight_shape=self.weight_shape,
            parameters=weights + (2 * self.normalized + self.bias) * self.out_channels,
            kernel=self.kernel,
            stride=self.stride,
            groups=self.groups,
            dilation=self.dilation,
            activation="" if self.activation in (None, "hswish", "gelu") else str(self.activation),
        )
        if self.activation == "gelu":
            return (convolution, *gelu_plan(self.name, output).operators())
        if self.activation != "hswish":
            return (convolution,)
        return (
            convolution,
            Operator(f"{self.name}.hswish", "HardSwish", (output,), (output,)),
        )


@dataclass(frozen=True)
class Activate:
    """An activation on its own, before a convolution or after a normalisation."""

    name: str
    channels: int
    activation: Activation = "relu"

    def output_size(self, size: int) -> int:
        """The size stays."""
        return size

    def operators(self, size: int, batch_size: int = 1) -> tuple[Operator, ...]:
        """One element-wise operator."""
        if self.activation == "gelu":
            return gelu_plan(self.name, (batch_size, self.channels, size, size)).operators()
        op_type = {"relu": "Relu", "relu6": "Clip", "hswish": "HardSwish"}[self.activation]
        return _elementwise(
            f"{self.name}.{self.activation}", op_type, self.channels, size, batch_size
        )


@dataclass(frozen=True)
class Normalize:
    """Batch normalisation on its own: nothing before it takes it in."""

    name: str
    channels: int

    def output_size(self, size: int) -> int:
        """The size stays."""
        return size

    def operators(self, size: int, batch_size: int = 1) -> tuple[Operator, ...]:
        """One operator with a scale and a shift for each channel."""
        shape = (batch_size, self.channels, size, size)
        return (
            Operator(
                self.name,
                "BatchNormalization",
                (shape,),
                (shape,),
                weight_shape=(self.channels,),
                parameters=2 * self.channels,
            ),
        )


@dataclass(frozen=True)
class Pool:
    """Average (of what lies inside the image) or maximum over a window; odd kernels are padded."""

    name: str
    channels: int
    kind: Literal["avg", "max"]
    kernel: int = 3
    stride: int = 1

    @property
    def padding(self) -> int:
        """Rows and columns on each side that count as outside the image."""
        return self.kernel // 2 if self.kernel % 2 else 0

    def output_size(self, size: int) -> int:
        """Height (and width) of the output for an input of ``size``."""
        return (size + 2 * self.padding - self.kernel) // self.stride + 1

    def operators(self, size: int, batch_size: int = 1) -> tuple[Operator, ...]:
        """One pool."""
        out = self.output_size(size)
        return (
            Operator(
                self.name,
                "AveragePool" if self.kind == "avg" else "MaxPool",
                ((batch_size, self.channels, size, size),),
                ((batch_size, self.channels, out, out),),
                kernel=self.kernel,
                stride=self.stride,
            ),
        )


@dataclass(frozen=True)
class GlobalPool:
    """Average over the whole feature map: the output has size 1."""

    name: str
    channels: int

    def output_size(self, size: int) -> int:  # noqa: ARG002 - the same for all
        """Always 1."""
        return 1

    def operators(self, size: int, batch_size: int = 1) -> tuple[Operator, ...]:
        """One pool."""
        inside, outside = ((batch_size, self.channels, side, side) for side in (size, 1))
        return (Operator(self.name, "GlobalAveragePool", (inside,), (outside,)),)


@dataclass(frozen=True)
class SqueezeExcite:
    """Squeeze-and-excitation (Hu et al. 2018): each channel times a gate computed from all means.

    ``reduced`` channels with ReLU lie between the two 1x1 convolutions, which have biases.
    """

    name: str
    channels: int
    reduced: int
    gate: Gate = "hsigmoid"

    @property
    def squeeze(self) -> Layer:
        """From the channel means to the reduced channels."""
        return Layer(
            f"{self.name}.squeeze",
            self.channels,
            self.reduced,
            1,
            activation="relu",
            normalized=False,
            bias=True,
        )

    @property
    def excite(self) -> Layer:
        """From the reduced channels to the gate's argument."""
        return Layer(
            f"{self.name}.excite",
            self.reduced,
            self.channels,
            1,
            activation=None,
            normalized=False,
            bias=True,
        )

    def output_size(self, size: int) -> int:
        """The size stays."""
        return size

    def operators(self, size: int, batch_size: int = 1) -> tuple[Operator, ...]:
        """Pool, the two convolutions with activation and gate fused, product."""
        shape = (batch_size, self.channels, size, size)
        gate = (batch_size, self.channels, 1, 1)
        return (
            *GlobalPool(f"{self.name}.pool", self.channels).operators(size, batch_size),
            *self.squeeze.operators(1, batch_size),
            *self.excite.operators(1, batch_size),
            Operator(f"{self.name}.scale", "Mul", (shape, gate), (shape,)),
        )


@dataclass(frozen=True)
class Shuffle:
    """Channel shuffle (Zhang et al. 2018): channel i of group g becomes channel g of group i."""

    name: str
    channels: int
    groups: int

    def output_size(self, size: int) -> int:
        """The size stays."""
        return size

    def grouped_shape(self, size: int, batch_size: int) -> Shape:
        """The shape whose second and third dimension are exchanged."""
        return (batch_size, self.groups, self.channels // self.groups, size, size)

    def operators(self, size: int, batch_size: int = 1) -> tuple[Operator, ...]:
        """One transposition; the reshapes around it copy nothing."""
        n, groups, inside, *sides = self.grouped_shape(size, batch_size)
        return (
            Operator(
                f"{self.name}.transpose",
                "Transpose",
                ((n, groups, inside, *sides),),
                ((n, inside, groups, *sides),),
            ),
        )


@dataclass(frozen=True)
class Zeroize:
    """The input times 0: an operation that runs, and removes its path."""

    name: str
    channels: int

    def output_size(self, size: int) -> int:
        """The size stays."""
        return size

    def operators(self, size: int, batch_size: int = 1) -> tuple[Operator, ...]:
        """One element-wise operator."""
        return _elementwise(self.name, "Mul", self.channels, size, batch_size)


@dataclass(frozen=True)
class PadChannels:
    """Zero channels behind the input's, as on the shortcuts of PyramidNet (Han et al. 2017)."""

    name: str
    in_channels: int
    out_channels: int

    def output_size(self, size: int) -> int:
        """The size stays."""
        return size

    def operators(self, size: int, batch_size: int = 1) -> tuple[Operator, ...]:
        """One pad."""
        before, after = (
            (batch_size, channels, size, size) for channels in (self.in_channels, self.out_channels)
        )
        return (Operator(self.name, "Pad", (before,), (after,)),)


Step: TypeAlias = (
    Layer
    | Activate
    | Normalize
    | Pool
    | GlobalPool
    | SqueezeExcite
    | Shuffle
    | Zeroize
    | PadChannels
    | TokenLayer
    | AttentionPool
)


def gelu_plan(name: str, shape: Shape) -> StepPlan:
    """GELU after the step of that name, on a value of this shape."""
    plan = StepPlan(f"{name}.gelu", shape)
    plan.gelu(INPUT)
    return plan


def _elementwise(
    name: str, op_type: str, channels: int, size: int, batch_size: int
) -> tuple[Operator, ...]:
    shape = (batch_size, channels, size, size)
    return (Operator(name, op_type, (shape,), (shape,)),)
