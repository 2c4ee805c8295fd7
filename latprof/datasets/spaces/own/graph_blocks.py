"""Blocks made of operators that were read from graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from latprof.datasets.models.layers import Block

if TYPE_CHECKING:
    from latprof.graph.operators import Operator, Shape


@dataclass(frozen=True)
class GraphBlock(Block):
    """A block that is known by its operators alone; without any it is not in the network.

    Models are not built of it: the space has the function that builds them. ``graph_operators`` are
    those of one image.
    """

    graph_operators: tuple[Operator, ...] = ()

    @classmethod
    def of_operators(
        cls, name: str, position: int | None, operators: Sequence[Operator]
    ) -> GraphBlock:
        """The block of these operators, in the order they run; their kinds are what it is."""
        first = operators[0].input_shapes or operators[0].output_shapes
        entering, leaving = _sides(first[0]), _sides(operators[-1].output_shapes[0])
        return cls(
            name,
            "+".join(operator.kind for operator in operators),
            position,
            in_channels=entering[0],
            out_channels=leaving[0],
            in_size=entering[1],
            out_size=leaving[1],
            layers=(),
            kernel=max(operator.kernel for operator in operators),
            stride=max(max(operator.strides, default=1) for operator in operators),
            graph_operators=tuple(operators),
        )

    @property
    def key(self) -> str:
        """The key of a lookup table: the kinds of its operators, and what their costs follow from.

        ``conv3x3-input:32x32x16-output:16x16x24-stride:2-relu``, with ``+`` between operators.
        """
        return "+".join(map(graph_key, self.graph_operators))

    def operators(self, batch_size: int = 1) -> tuple[Operator, ...]:
        if batch_size == 1:
            return self.graph_operators
        return tuple(_batched(each, batch_size) for each in self.graph_operators)


def _sides(shape: Shape) -> tuple[int, int]:
    """Channels and height of a batch; 1 where it has none."""
    return (shape[1] if len(shape) > 1 else 1), (shape[2] if len(shape) > 2 else 1)


def graph_key(operator: Operator) -> str:
    """The key of one operator: its kind, and what its cost follows from."""
    reads, writes = (
        ",".join("x".join(map(str, (*shape[2:], *shape[1:2]))) for shape in shapes)
        for shapes in (operator.input_shapes, operator.output_shapes)
    )
    details = [
        f"-{name}:{value}"
        for name, value, usual in (
            ("stride", max(operator.strides, default=1), 1),
            ("dilation", max(operator.dilations, default=1), 1),
            ("groups", operator.groups, 1),
        )
        if value != usual
    ]
    activation = f"-{operator.activation.lower()}" if operator.activation else ""
    return f"{operator.kind}-input:{reads}-output:{writes}{''.join(details)}{activation}"


def _batched(operator: Operator, batch_size: int) -> Operator:
    """The operator of so many images; the first dimension of what it reads and writes is theirs."""
    inputs, outputs = (
        tuple((batch_size * shape[0], *shape[1:]) if shape else shape for shape in shapes)
        for shapes in (operator.input_shapes, operator.output_shapes)
    )
    macs = operator.counted_macs
    return replace(
        operator,
        input_shapes=inputs,
        output_shapes=outputs,
        counted_macs=None if macs is None else batch_size * macs,
    )
