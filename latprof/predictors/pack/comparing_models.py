"""What a model and a pack differ in: images a run, number format, shape of the input."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latprof.common.short_reprs import ShortRepr

if TYPE_CHECKING:
    from latprof.graph.operators import Network
    from latprof.predictors.pack.pack import Pack


@dataclass(frozen=True, repr=False)
class ComparedModel(ShortRepr):
    """A network as the pack's target would run it, and what differs, in words.

    Parameters
    ----------
    network : Network
        Operators in the target's own number format are ``"float32"``, as those of a search space.
    elsewhere : tuple of str
        Differences that the pack's measurements say nothing of.
    shape : tuple of str
        Another shape of the input: no network of the pack's space, though of known operators.
    format : tuple of str
        Another number format in the file than on the target, which changes it as it loads a model.
    """

    network: Network
    elsewhere: tuple[str, ...] = ()
    shape: tuple[str, ...] = ()
    format: tuple[str, ...] = ()

    @property
    def said(self) -> tuple[str, ...]:
        """All differences."""
        return (*self.elsewhere, *self.shape, *self.format)


def compared(pack: Pack, network: Network) -> ComparedModel:
    """Compare a network with what a pack was measured with; nothing differs from no target."""
    target = pack.target
    own = "float32" if target is None else target.precision
    formats = {operator.precision for operator in network.operators}
    others = sorted(formats - {own, "float32", "int8"})
    elsewhere = [f"number format {each}, the pack's is {own}" for each in others]
    loaded = own != "float32" and "float32" in formats
    said = (f"number format float32 in the file, the pack's target computes in {own}",)
    if own != "float32" and own in formats:
        plain = (
            dataclasses.replace(each, precision="float32") if each.precision == own else each
            for each in network.operators
        )
        network = dataclasses.replace(network, operators=tuple(plain))
    if target is None:
        return ComparedModel(network, tuple(elsewhere))
    shapes = [shape for _, shape in network.inputs]
    batch_size = batch_size_of(network)
    if batch_size not in (None, target.batch_size):
        elsewhere.append(f"batch {batch_size}, the pack's is {target.batch_size}")
    shape: tuple[str, ...] = ()
    more = pack.predictor.space.more_input_shapes
    own_shapes = [target.input_shape, *((target.batch_size, *each) for each in more)]
    if target.input_shape is not None and shapes != own_shapes:
        shape = (f"input {_spelled(*shapes)}, the pack's is {_spelled(target.input_shape)}",)
    return ComparedModel(network, tuple(elsewhere), shape, said if loaded else ())


def batch_size_of(network: Network) -> int | None:
    """Images a run, by the inputs; None where they do not tell.

    Of three dimensions (sequences) either of two may be the batch; one is no batch at all.
    """
    batches = {shape[0] for _, shape in network.inputs if len(shape) not in (0, 1, 3)}
    return batches.pop() if len(batches) == 1 else None


def _spelled(*shapes: tuple[int, ...]) -> str:
    return " and ".join("x".join(map(str, shape)) or "scalar" for shape in shapes) or "none"
