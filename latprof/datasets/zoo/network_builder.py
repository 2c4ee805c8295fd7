"""The layers that networks of the zoo are made of, each a few nodes of a graph.

Feature maps are (batch, channels, height, width), tokens (batch, tokens, features). Layers are
written as exporters of training frameworks write them: attention as two matrix products and a
softmax.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from latprof.datasets.models.layers import make_divisible
from latprof.datasets.zoo.operator_builder import OperatorBuilder, broadcast
from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import BatchNorm, NetworkValue

Sides = int | tuple[int, int]
#: Zeros on each side: ``"same"`` is half of the kernel, ``"ceil"`` as TensorFlow's SAME.
Padding = Literal["same", "ceil"] | Sides

#: Variance of weights over the input, so that activations keep their scale (He et al. 2015).
_GAINS = {"": 1.0, "relu": 2.0, "relu6": 2.0, "hswish": 2.4, "swish": 2.5, "gelu": 2.2}


class NetworkBuilder(OperatorBuilder):
    """A graph made of layers.

    Parameters
    ----------
    name : str
    resolution : int
        Height and width of the image; tokens of a text.
    width : float
        Factor of every number of channels.
    batch_size, batch_norm
        As of :class:`GraphBuilder`.
    """

    def __init__(
        self,
        name: str,
        *,
        resolution: int,
        width: float = 1.0,
        batch_size: int = 1,
        batch_norm: BatchNorm = "folded",
    ) -> None:
        super().__init__(name, batch_size, batch_norm)
        self.resolution = resolution
        self.width = width

    def image(self, channels: int = 3) -> NetworkValue:
        """The input image."""
        return self.input("input", (self.batch_size, channels, self.resolution, self.resolution))

    def wide(self, channels: float, divisor: int = 8) -> int:
        """Channels at the network's width: a multiple of ``divisor`` unless the width is 1."""
        if self.width == 1.0:
            return int(channels)
        return make_divisible(channels * self.width, divisor)

    # Convolutions --------------------------------------------------------------------------

    def conv(
        self,
        x: NetworkValue,
        out: int,
        kernel: Sides = 1,
        stride: Sides = 1,
        *,
        groups: int = 1,
        dilation: int = 1,
        act: str = "",
        norm: bool = True,
        bias: bool | None = None,
        padding: Padding = "same",
        gain: float | None = None,
        shared: dict[str, NetworkValue] | None = None,
        name: str = "conv",
    ) -> NetworkValue:
        """A convolution, its batch normalisation (or bias) and activation.

        Convolutions that are given the same ``shared`` have the same weight, and the same bias
        where it is no normalisation's.
        """
        sides, strides = _both(kernel), _both(stride)
        pads, size = _window(x.size, sides, strides, padding, dilation)
        self._check_size(size, name)
        fan_in = x.channels // groups * math.prod(sides)
        deviation = math.sqrt((_GAINS.get(act, 1.0) if gain is None else gain) / fan_in)
        kept = {} if shared is None else shared
        if name not in kept:
            shape = (out, x.channels // groups, *sides)
            kept[name] = self.weight(f"{name}.weight", shape, deviation)
        inputs = [x, kept[name]]
        folded = norm and self.batch_norm == "folded"
        biased = not norm if bias is None else bias
        if biased or folded:
            if norm or f"{name}.bias" not in kept:
                kept[f"{name}.bias"] = self.weight(f"{name}.bias", (out,))
            inputs.append(kept[f"{name}.bias"])
        if folded:  # scale and shift are learnt; folded, they and the bias are one bias
            self.parameters += 2 * out if biased else out
        dilated = {"dilations": [dilation] * 2} if dilation > 1 else {}
        value = self.node(
            "Conv",
            inputs,
            (x.shape[0], out, *size),
            name,
            kernel_shape=list(sides),
            strides=list(strides),
            pads=pads,
            group=groups,
            **dilated,
        )
        if norm and not folded:
            value = self.batch_normalize(value, name=f"{name}.norm")
        return self.act(value, act, name)

    def depthwise(
        self,
        x: NetworkValue,
        kernel: Sides,
        stride: Sides = 1,
        *,
        name: str = "depthwise",
        **rest: object,
    ) -> NetworkValue:
        """A convolution of each channel by itself; ``rest`` as of :meth:`conv`."""
        return self.conv(x, x.channels, kernel, stride, groups=x.channels, name=name, **rest)  # type: ignore[arg-type]

    def deconv(self, x: NetworkValue, out: int, kernel: int, stride: int) -> NetworkValue:
        """A transposed convolution with a bias that multiplies the size by its stride."""
        deviation = math.sqrt(1.0 / x.channels)
        weight = self.weight("up.weight", (x.channels, out, kernel, kernel), deviation)
        bias = self.weight("up.bias", (out,))
        pads = [(kernel - stride) // 2] * 4
        size = tuple(side * stride for side in x.size)
        return self.node(
            "ConvTranspose",
            [x, weight, bias],
            (x.shape[0], out, *size),
            "up",
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=pads,
        )

    # Normalisation ---------------------------------------------------------------------------

    def batch_normalize(self, x: NetworkValue, act: str = "", name: str = "norm") -> NetworkValue:
        """A batch normalisation that no convolution before it takes in."""
        shape = (x.channels,)
        parameters = [
            self.ones(f"{name}.scale", shape),
            self.weight(f"{name}.shift", shape),
            self.untrained(f"{name}.mean", shape, 0.0),
            self.untrained(f"{name}.variance", shape, 1.0),
        ]
        value = self.node("BatchNormalization", [x, *parameters], x.shape, name, epsilon=1e-5)
        return self.act(value, act, name)

    def layer_normalize(
        self, x: NetworkValue, name: str = "norm", epsilon: float = 1e-6
    ) -> NetworkValue:
        """Normalise the last dimension."""
        shape = (x.shape[-1],)
        parameters = [self.ones(f"{name}.scale", shape), self.weight(f"{name}.shift", shape)]
        return self.node(
            "LayerNormalization", [x, *parameters], x.shape, name, axis=-1, epsilon=epsilon
        )

    def layer_normalize_map(self, x: NetworkValue, name: str = "norm") -> NetworkValue:
        """Normalise the channels of a feature map."""
        x = self.transpose(x, (0, 2, 3, 1), f"{name}.last")
        return self.transpose(self.layer_normalize(x, name), (0, 3, 1, 2), f"{name}.first")

    def scaled(self, x: NetworkValue, axis: int = -1, name: str = "scale") -> NetworkValue:
        """Each channel times a learnt number; ``axis`` is the channels' dimension."""
        after = len(x.shape) - 1 - axis if axis >= 0 else 0
        return self.mul(x, self.ones(f"{name}.factor", (x.shape[axis], *[1] * after)), name)

    def rms_normalize(self, x: NetworkValue, name: str = "norm") -> NetworkValue:
        """Divide by the root of the mean square of the last dimension (Zhang et al. 2019)."""
        mean_shape = (*x.shape[:-1], 1)
        square = self.node("Mul", [x, x], x.shape, f"{name}.square")
        mean = self.node("ReduceMean", [square], mean_shape, f"{name}.mean", axes=[-1])
        mean = self.node("Add", [mean, self.constant(1e-5)], mean_shape, f"{name}.epsilon")
        root = self.node("Sqrt", [mean], mean_shape, f"{name}.root")
        value = self.node("Div", [x, root], x.shape, f"{name}.divide")
        return self.scaled(value, name=f"{name}.scale")

    def squeeze_excite(
        self,
        x: NetworkValue,
        reduced: int,
        *,
        act: str = "relu",
        gate: str = "sigmoid",
    ) -> NetworkValue:
        """Each channel times a gate computed from all means (Hu et al. 2018)."""
        with self.scope("se"):
            mean = self.global_pool(x)
            mean = self.conv(mean, reduced, act=act, norm=False, name="squeeze")
            mean = self.conv(mean, x.channels, act=gate, norm=False, name="excite")
            return self.mul(x, mean, "scale")

    # Pools and sizes -----------------------------------------------------------------------

    def pool(
        self,
        x: NetworkValue,
        kind: Literal["max", "avg"],
        kernel: Sides,
        stride: Sides = 1,
        *,
        padding: Padding = "same",
        ceil: bool = False,
        name: str = "pool",
    ) -> NetworkValue:
        """A pool; averages leave the padding out."""
        sides, strides = _both(kernel), _both(stride)
        pads, size = _window(x.size, sides, strides, padding, 1, ceil=ceil)
        self._check_size(size, name)
        return self.node(
            "MaxPool" if kind == "max" else "AveragePool",
            [x],
            (*x.shape[:2], *size),
            name,
            kernel_shape=list(sides),
            strides=list(strides),
            pads=pads,
            ceil_mode=int(ceil),
        )

    def global_pool(self, x: NetworkValue, name: str = "pool") -> NetworkValue:
        """Means over the whole feature map: its size becomes 1."""
        return self.node("GlobalAveragePool", [x], (*x.shape[:2], 1, 1), name)

    def adaptive_pool(self, x: NetworkValue, side: int) -> NetworkValue:
        """Means over windows so that about ``side`` x ``side`` are left."""
        stride = tuple(max(s // side, 1) for s in x.size)
        kernel = tuple(max(s - (side - 1) * t, 1) for s, t in zip(x.size, stride, strict=True))
        return self.pool(x, "avg", kernel, stride, padding=0)  # type: ignore[arg-type]

    def resize(
        self,
        x: NetworkValue,
        size: tuple[int, int],
        mode: Literal["nearest", "linear"] = "nearest",
        name: str = "resize",
    ) -> NetworkValue:
        """Another height and width; nothing happens where it is the same."""
        if x.size == size:
            return x
        shape = (*x.shape[:2], *size)
        how = (
            {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            if mode == "nearest"
            else {"coordinate_transformation_mode": "half_pixel"}
        )
        return self.node(
            "Resize", [x, None, None, self.constant(shape)], shape, name, mode=mode, **how
        )

    # Matrix products -----------------------------------------------------------------------

    def linear(
        self, x: NetworkValue, out: int, *, bias: bool = True, act: str = "", name: str = "linear"
    ) -> NetworkValue:
        """A dense layer over the last dimension."""
        features = x.shape[-1]
        deviation = math.sqrt(_GAINS.get(act, 1.0) / features)
        shape = (*x.shape[:-1], out)
        if len(x.shape) == 2:
            inputs = [x, self.weight(f"{name}.weight", (out, features), deviation)]
            if bias:
                inputs.append(self.weight(f"{name}.bias", (out,)))
            value = self.node("Gemm", inputs, shape, name, transB=1)
        else:
            weight = self.weight(f"{name}.weight", (features, out), deviation)
            value = self.node("MatMul", [x, weight], shape, name)
            if bias:
                value = self.add(self.weight(f"{name}.bias", (out,)), value, f"{name}.add")
        return self.act(value, act, name)

    def matmul(self, x: NetworkValue, y: NetworkValue, name: str = "matmul") -> NetworkValue:
        """A product of two values of the network."""
        shape = (*broadcast(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1])
        return self.node("MatMul", [x, y], shape, name)

    def attend(
        self,
        q: NetworkValue,
        k: NetworkValue,
        v: NetworkValue,
        *,
        bias: NetworkValue | None = None,
    ) -> NetworkValue:
        """Attention of queries, keys and values, (batch, heads, tokens, features) each."""
        scale = 1.0 / math.sqrt(q.shape[-1])
        keys = self.transpose(k, (0, 1, 3, 2), "keys")
        scores = self.matmul(self.mul(q, self.constant(scale), "scale"), keys, "scores")
        if bias is not None:
            scores = self.add(scores, bias, "bias")
        return self.matmul(self.softmax(scores), v, "mix")

    def self_attention(
        self, x: NetworkValue, heads: int, *, bias: NetworkValue | None = None
    ) -> NetworkValue:
        """Multi-head self-attention of tokens, one product for queries, keys and values."""
        batch, tokens, features = x.shape
        qkv = self.linear(x, 3 * features, name="qkv")
        qkv = self.reshape(qkv, (batch, tokens, 3, heads, features // heads), "qkv.split")
        qkv = self.transpose(qkv, (2, 0, 3, 1, 4), "qkv.transpose")
        one = (batch, heads, tokens, features // heads)
        q, k, v = (
            self.reshape(part, one, "part") for part in self.split(qkv, (1, 1, 1), 0, "qkv.parts")
        )
        return self.linear(self.joined(self.attend(q, k, v, bias=bias)), features, name="project")

    def mlp(self, x: NetworkValue, hidden: int, act: str = "gelu") -> NetworkValue:
        """Two dense layers with an activation between them."""
        return self.linear(self.linear(x, hidden, act=act, name="mlp1"), x.shape[-1], name="mlp2")

    def classifier(self, x: NetworkValue, classes: int = 1000) -> None:
        """Pool a feature map, a dense layer, and the output."""
        value = self.flatten(self.global_pool(x)) if len(x.shape) == 4 else x
        self.output(self.linear(value, classes, name="classifier"))

    def _check_size(self, size: tuple[int, int], name: str) -> None:
        if min(size) < 1:
            raise InvalidValueError(
                f"{self.name} needs larger images: nothing is left at {name}",
                field="resolution",
                got=str(self.resolution),
            )


def _both(sides: Sides) -> tuple[int, int]:
    return sides if isinstance(sides, tuple) else (sides, sides)


def _window(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: Padding,
    dilation: int,
    *,
    ceil: bool = False,
) -> tuple[list[int], tuple[int, int]]:
    """ONNX's pads, and the output's size."""
    before, after, out = [], [], []
    for side, k, step, zeros in zip(
        size,
        kernel,
        stride,
        _both(padding) if not isinstance(padding, str) else (0, 0),
        strict=True,
    ):
        reach = dilation * (k - 1) + 1
        if padding == "ceil":
            whole = max((-(-side // step) - 1) * step + reach - side, 0)
            first, last = whole // 2, whole - whole // 2
        else:
            first = last = dilation * (k // 2) if padding == "same" else zeros
        room = side + first + last - reach
        number = (-(-room // step) if ceil else room // step) + 1
        if ceil and (number - 1) * step >= side + first:
            number -= 1  # a window may not begin in the padding behind
        before.append(first)
        after.append(last)
        out.append(number)
    height, width = out
    return [*before, *after], (height, width)
