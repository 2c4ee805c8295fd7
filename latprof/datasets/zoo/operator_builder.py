"""Operators without weights, each a few nodes of a graph: activations, arithmetic and layout."""

from __future__ import annotations

import math
from collections.abc import Sequence

from latprof.datasets.zoo.graph_builder import GraphBuilder, NetworkValue, Shape


class OperatorBuilder(GraphBuilder):
    """A graph made of operators that hold no weights; parameters as of :class:`GraphBuilder`.

    Activations are written as exporters of training frameworks write them: GELU as an error
    function.
    """

    def act(  # noqa: PLR0911 - one case an activation
        self, x: NetworkValue, kind: str, name: str = "act"
    ) -> NetworkValue:
        """An activation; none for the empty string."""
        if not kind:
            return x
        name = f"{name}.{kind}"
        match kind:
            case "relu" | "sigmoid" | "tanh":
                return self.node(kind.capitalize(), [x], x.shape, name)
            case "relu6":
                bounds = [self.constant(0.0), self.constant(6.0)]
                return self.node("Clip", [x, *bounds], x.shape, name)
            case "hswish":
                return self.node("HardSwish", [x], x.shape, name)
            case "hsigmoid":
                return self.node("HardSigmoid", [x], x.shape, name, alpha=1 / 6, beta=0.5)
            case "leaky_relu":
                return self.node("LeakyRelu", [x], x.shape, name, alpha=0.1)
            case "swish":
                return self.mul(x, self.act(x, "sigmoid", name), name)
            case "gelu":
                scaled = self.node("Div", [x, self.constant(math.sqrt(2.0))], x.shape, name)
                erf = self.node("Erf", [scaled], x.shape, f"{name}.erf")
                one = self.add(erf, self.constant(1.0), f"{name}.add")
                return self.mul(self.mul(x, one, name), self.constant(0.5), f"{name}.half")
            case "gelu_tanh":
                cube = self.node("Pow", [x, self.constant(3.0)], x.shape, f"{name}.cube")
                inner = self.add(x, self.mul(cube, self.constant(0.044715), name), name)
                inner = self.mul(inner, self.constant(math.sqrt(2.0 / math.pi)), name)
                one = self.add(self.act(inner, "tanh", name), self.constant(1.0), name)
                return self.mul(self.mul(x, self.constant(0.5), name), one, name)
        raise ValueError(f"no activation {kind!r}")

    def softmax(self, x: NetworkValue, name: str = "softmax") -> NetworkValue:
        """Over the last dimension."""
        return self.node("Softmax", [x], x.shape, name, axis=-1)

    def add(self, x: NetworkValue, y: NetworkValue, name: str = "add") -> NetworkValue:
        """The sum; a smaller value is broadcast."""
        return self.node("Add", [x, y], broadcast(x.shape, y.shape), name)

    def mul(self, x: NetworkValue, y: NetworkValue, name: str = "mul") -> NetworkValue:
        """The product; a smaller value is broadcast."""
        return self.node("Mul", [x, y], broadcast(x.shape, y.shape), name)

    def total(self, values: Sequence[NetworkValue], name: str = "add") -> NetworkValue:
        """The sum of values, one addition after the other."""
        first, *rest = values
        for value in rest:
            first = self.add(first, value, name)
        return first

    def concat(
        self, values: Sequence[NetworkValue], axis: int = 1, name: str = "concat"
    ) -> NetworkValue:
        """Values side by side."""
        if len(values) == 1:
            return values[0]
        shape = [*values[0].shape]
        shape[axis] = sum(value.shape[axis] for value in values)
        return self.node("Concat", values, tuple(shape), name, axis=axis)

    def split(
        self, x: NetworkValue, sizes: Sequence[int], axis: int = 1, name: str = "split"
    ) -> list[NetworkValue]:
        """The opposite of :meth:`concat`."""
        shapes = []
        for size in sizes:
            shape = [*x.shape]
            shape[axis] = size
            shapes.append(tuple(shape))
        return self.nodes("Split", [x, self.constant(sizes)], shapes, name, axis=axis)

    def slice(
        self, x: NetworkValue, start: int, end: int, axis: int, step: int = 1, name: str = "slice"
    ) -> NetworkValue:
        """Every ``step``-th entry of a stretch of one dimension."""
        shape = [*x.shape]
        shape[axis] = len(range(*slice(start, end, step).indices(x.shape[axis])))
        bounds = [self.constant([number]) for number in (start, end, axis, step)]
        return self.node("Slice", [x, *bounds], tuple(shape), name)

    def reshape(self, x: NetworkValue, shape: Shape, name: str = "reshape") -> NetworkValue:
        """The same values in another shape."""
        if x.shape == shape:
            return x
        return self.node("Reshape", [x, self.constant(shape)], shape, name)

    def transpose(
        self, x: NetworkValue, order: Sequence[int], name: str = "transpose"
    ) -> NetworkValue:
        """Dimensions in another order."""
        shape = tuple(x.shape[axis] for axis in order)
        return self.node("Transpose", [x], shape, name, perm=list(order))

    def flatten(self, x: NetworkValue, name: str = "flatten") -> NetworkValue:
        """All but the batch in one dimension."""
        return self.node("Flatten", [x], (x.shape[0], math.prod(x.shape[1:])), name)

    def shuffle(self, x: NetworkValue, groups: int, name: str = "shuffle") -> NetworkValue:
        """Channel i of group g becomes channel g of group i (Zhang et al. 2018)."""
        batch, channels, *size = x.shape
        value = self.reshape(x, (batch, groups, channels // groups, *size), f"{name}.split")
        value = self.transpose(value, (0, 2, 1, 3, 4), f"{name}.transpose")
        return self.reshape(value, x.shape, f"{name}.join")

    def pad(
        self, x: NetworkValue, after: Sequence[int], before: Sequence[int] = (), name: str = "pad"
    ) -> NetworkValue:
        """Zeros behind (and before) each dimension; nothing happens where there are none."""
        before = before or [0] * len(after)
        if not any((*before, *after)):
            return x
        shape = tuple(map(sum, zip(x.shape, before, after, strict=True)))
        return self.node("Pad", [x, self.constant([*before, *after])], shape, name)

    def heads(self, x: NetworkValue, heads: int, name: str = "heads") -> NetworkValue:
        """Tokens (batch, tokens, features) as (batch, heads, tokens, features of one)."""
        batch, tokens, features = x.shape
        value = self.reshape(x, (batch, tokens, heads, features // heads), f"{name}.split")
        return self.transpose(value, (0, 2, 1, 3), name)

    def joined(self, x: NetworkValue, name: str = "join") -> NetworkValue:
        """The opposite of :meth:`heads`."""
        batch, heads, tokens, features = x.shape
        value = self.transpose(x, (0, 2, 1, 3), name)
        return self.reshape(value, (batch, tokens, heads * features), f"{name}.reshape")

    def tokens(self, x: NetworkValue, name: str = "tokens") -> NetworkValue:
        """A feature map as tokens."""
        batch, channels, height, width = x.shape
        return self.transpose(
            self.reshape(x, (batch, channels, height * width), f"{name}.flat"), (0, 2, 1), name
        )

    def feature_map(
        self, x: NetworkValue, size: tuple[int, int], name: str = "map"
    ) -> NetworkValue:
        """Tokens as a feature map: the opposite of :meth:`tokens`."""
        batch, _, channels = x.shape
        return self.reshape(
            self.transpose(x, (0, 2, 1), name), (batch, channels, *size), f"{name}.shape"
        )


def broadcast(one: Shape, other: Shape) -> Shape:
    """The shape of what two shapes come to together, as NumPy broadcasts."""
    length = max(len(one), len(other))
    padded = ((1,) * (length - len(each)) + each for each in (one, other))
    return tuple(max(a, b) for a, b in zip(*padded, strict=True))
