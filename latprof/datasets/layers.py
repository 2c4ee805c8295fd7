"""The vocabulary of convolutional search spaces: layers and blocks, before any framework.

A search space describes an architecture as blocks of :class:`Layer`; ONNX models, torch modules,
lookup-table keys, costs and features are all derived from that one description.
"""

from __future__ import annotations

from dataclasses import dataclass

from latprof.graph.operators import Operator, Shape


@dataclass(frozen=True)
class Layer:
    """A convolution with batch normalisation, and ReLU6 where ``activation`` is set.

    ``name`` is unique in its network; padding keeps the size at stride 1 (``kernel // 2``).
    """

    name: str
    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    activation: bool = True

    @property
    def weight_shape(self) -> Shape:
        """Shape of the convolution's weight: (out, in / groups, kernel, kernel)."""
        return (self.out_channels, self.in_channels // self.groups, self.kernel, self.kernel)

    def output_size(self, size: int) -> int:
        """Height (and width) of the output for an input of ``size``."""
        return (size + 2 * (self.kernel // 2) - self.kernel) // self.stride + 1

    def operator(self, size: int, batch_size: int = 1) -> Operator:
        """The layer as one fused operator on a square input of ``size``.

        Parameters are counted as in training: the weight, and scale and shift of the normalisation.
        """
        out = self.output_size(size)
        weights = self.out_channels * (self.in_channels // self.groups) * self.kernel**2
        return Operator(
            name=self.name,
            op_type="Conv",
            input_shapes=((batch_size, self.in_channels, size, size),),
            output_shapes=((batch_size, self.out_channels, out, out),),
            weight_shape=self.weight_shape,
            parameters=weights + 2 * self.out_channels,
            kernel=self.kernel,
            stride=self.stride,
            groups=self.groups,
        )


@dataclass(frozen=True)
class Block:
    """One block of an architecture on square feature maps; without layers it is the zero operation.

    ``position`` counts the searchable blocks from 0 and is None for fixed ones; ``choice`` is the
    candidate's name. ``residual`` adds the block's input to its output.
    """

    name: str
    choice: str
    position: int | None
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    layers: tuple[Layer, ...]
    kernel: int = 0
    stride: int = 1
    expansion: int = 0
    residual: bool = False

    @property
    def key(self) -> str:
        """The key of a lookup table, in the format of the ProxylessNAS authors' tables."""
        if not self.layers:
            return f"zero-input:{self.in_size}x{self.in_size}x{self.in_channels}"
        shapes = (
            f"input:{self.in_size}x{self.in_size}x{self.in_channels}"
            f"-output:{self.out_size}x{self.out_size}x{self.out_channels}"
        )
        if not self.expansion:
            return f"{self.choice}-{shapes}"
        return (
            f"expanded_conv-{shapes}-expand:{self.expansion}-kernel:{self.kernel}"
            f"-stride:{self.stride}-idskip:{int(self.residual)}"
        )

    def operators(self, batch_size: int = 1) -> tuple[Operator, ...]:
        """The block's operators as a runtime fuses them: convolutions, then the addition."""
        operators, size = [], self.in_size
        for layer in self.layers:
            operators.append(layer.operator(size, batch_size))
            size = layer.output_size(size)
        if self.residual:
            shape = (batch_size, self.out_channels, self.out_size, self.out_size)
            operators.append(Operator(f"{self.name}.add", "Add", (shape, shape), (shape,)))
        return tuple(operators)


def mobile_inverted_block(
    name: str,
    *,
    position: int | None,
    in_channels: int,
    out_channels: int,
    in_size: int,
    kernel: int,
    stride: int,
    expansion: int,
    choice: str,
) -> Block:
    """MBConv (Sandler et al. 2018): expand 1x1, depthwise, project 1x1, residual where they fit.

    At expansion 1 the first convolution is left out.
    """
    middle = in_channels * expansion
    layers = [
        Layer(f"{name}.depthwise", middle, middle, kernel, stride, groups=middle),
        Layer(f"{name}.project", middle, out_channels, 1, activation=False),
    ]
    if expansion != 1:
        layers.insert(0, Layer(f"{name}.expand", in_channels, middle, 1))
    return Block(
        name=name,
        choice=choice,
        position=position,
        in_channels=in_channels,
        out_channels=out_channels,
        in_size=in_size,
        out_size=-(-in_size // stride),
        layers=tuple(layers),
        kernel=kernel,
        stride=stride,
        expansion=expansion,
        residual=stride == 1 and in_channels == out_channels,
    )


def convolution_block(
    name: str, *, in_channels: int, out_channels: int, in_size: int, kernel: int, stride: int
) -> Block:
    """A fixed block of one convolution: a stem, or the 1x1 before the pool."""
    layer = Layer(name, in_channels, out_channels, kernel, stride)
    return Block(
        name=name,
        choice=f"Conv{kernel}x{kernel}",
        position=None,
        in_channels=in_channels,
        out_channels=out_channels,
        in_size=in_size,
        out_size=layer.output_size(in_size),
        layers=(layer,),
        kernel=kernel,
        stride=stride,
    )
