"""Networks of searched cells: NASNet-A, AmoebaNet-A, DARTS.

A cell reads two values, the output of the cell before it (state 0) and of the one before that
(state 1). Each pair of operations is summed to a further state; the output is some states side by
side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from latprof.datasets.zoo.entries import ZooNetwork

if TYPE_CHECKING:
    from latprof.datasets.zoo.graph_builder import NetworkValue
    from latprof.datasets.zoo.network_builder import NetworkBuilder

Style = Literal["nasnet", "amoebanet", "darts"]


@dataclass(frozen=True)
class Cell:
    """A cell's pairs of operations such as ``"sep5 0 + sep3 1"``, and the states it returns."""

    pairs: tuple[str, ...]
    returned: tuple[int, ...]


@dataclass(frozen=True)
class CellSpec:
    """A network of cells.

    Parameters
    ----------
    style : {"nasnet", "amoebanet", "darts"}
        How operations, and inputs of another shape, are made.
    normal, reduction : Cell
    cells : tuple of int
        Normal cells of each stage; a reduction cell lies between stages.
    filters : int
        Channels of a state in the first stage; they double from stage to stage.
    stem : int
        Channels of the first convolution.
    """

    style: Style
    normal: Cell
    reduction: Cell
    cells: tuple[int, ...]
    filters: int
    stem: int


def cell_network(net: NetworkBuilder, spec: CellSpec) -> None:
    """A classifier."""
    filters, x = net.wide(spec.filters, 4), net.image()
    if spec.style == "darts":
        stem = net.wide(spec.stem)
        x = net.conv(x, stem // 2, 3, 2, act="relu", name="stem1")
        before = net.conv(x, stem, 3, 2, name="stem2")
        x = net.conv(net.act(before, "relu"), stem, 3, 2, name="stem3")
    else:
        before = x = net.conv(x, net.wide(spec.stem), 3, 2, padding=0, name="stem")
        for number, part in enumerate((4, 2), start=1):
            with net.scope(f"stem{number}"):
                made = _Making(net, spec.style, filters // part, reduces=True)
                before, x = x, made.cell(spec.reduction, x, before, first=number == 1)
    for stage, cells in enumerate(spec.cells):
        for index in range(cells + 1 if stage else cells):
            with net.scope(f"stage{stage}.cell{index}"):
                reduces = bool(stage) and index == 0
                made = _Making(net, spec.style, filters * 2**stage, reduces)
                cell = spec.reduction if reduces else spec.normal
                before, x = x, made.cell(cell, x, before)
    net.classifier(x if spec.style == "darts" else net.act(x, "relu"))


@dataclass(frozen=True)
class _Making:
    """One cell in the making: its channels, and whether it halves the size."""

    net: NetworkBuilder
    style: Style
    filters: int
    reduces: bool

    def cell(
        self, cell: Cell, x: NetworkValue, before: NetworkValue, *, first: bool = False
    ) -> NetworkValue:
        """The cell's output; the ``first`` one has no cell before the last."""
        size = x.size
        states = [self._projected(x), x if first else self._fitted(before, size)]
        # Ports of NASNet shift what TensorFlow pads on one side only: one row and column more.
        shifted = self.style == "nasnet" and self.reduces and size[0] % 2 == 0
        for number, pair in enumerate(cell.pairs, start=2):
            with self.net.scope(f"state{number}"):
                values = []
                for text in pair.split(" + "):
                    kind, state = text.split()
                    stride = 2 if self.reduces and int(state) < 2 else 1
                    values.append(self._operation(kind, states[int(state)], stride, shifted))
                states.append(self.net.total(values))
        return self.net.concat([states[number] for number in cell.returned])

    def _projected(self, x: NetworkValue) -> NetworkValue:
        return self.net.conv(self.net.act(x, "relu"), self.filters, name="project")

    def _fitted(self, before: NetworkValue, size: tuple[int, int]) -> NetworkValue:
        """The value before the last with this cell's size and channels."""
        if before.size == size:
            return self._projected(before)
        return self._halved(before)

    def _halved(self, x: NetworkValue) -> NetworkValue:
        """Two 1x1 convolutions on every second pixel, one of them shifted by a pixel."""
        net, half = self.net, self.filters // 2
        with net.scope("halve"):
            x = net.act(x, "relu")
            odd = (x.size[0] % 2, x.size[1] % 2)
            after = (1, 1) if self.style != "darts" else odd
            shifted = net.pad(x, (0, 0, *after))
            for axis in (2, 3):
                shifted = net.slice(shifted, 1, shifted.shape[axis], axis)
            parts = []
            for value, channels in ((x, half), (shifted, self.filters - half)):
                if self.style == "darts":
                    part = net.conv(value, channels, 1, 2, norm=False, bias=False, padding=0)
                else:
                    part = net.pool(value, "avg", 1, 2, padding=0)
                    part = net.conv(part, channels, norm=False, bias=False)
                parts.append(part)
            return net.batch_normalize(net.concat(parts))

    def _operation(self, kind: str, x: NetworkValue, stride: int, shifted: bool) -> NetworkValue:  # noqa: FBT001
        _net, size = self.net, int(kind[-1]) if kind[-1].isdigit() else 0
        if kind == "none":
            if stride == 1 and x.channels == self.filters:
                return x
            return self._halved(x) if self.style == "darts" else self._strided(x, stride)
        if kind[:3] in ("max", "avg"):
            return self._pooled(kind, x, stride, shifted=shifted and stride == 2)
        if kind == "1x7":
            return self._flat_and_tall(x, stride)
        if kind == "dil3":
            return self._separable(x, 3, stride, dilation=2)
        x = self._separable(x, size, stride, shifted=shifted and (stride == 2 or kind == "sep3"))
        return self._separable(x, size, 1)

    def _strided(self, x: NetworkValue, stride: int) -> NetworkValue:
        return self.net.conv(self.net.act(x, "relu"), self.filters, 1, stride, padding=0)

    def _separable(
        self, x: NetworkValue, kernel: int, stride: int, *, dilation: int = 1, shifted: bool = False
    ) -> NetworkValue:
        """A depthwise and a 1x1 convolution after an activation."""
        net = self.net
        x = net.act(x, "relu")
        if shifted:
            x = net.pad(x, (0, 0, 0, 0), (0, 0, 1, 1))
        padding = "same" if self.style != "amoebanet" else "ceil"
        x = net.depthwise(
            x, kernel, stride, dilation=dilation, norm=False, bias=False, padding=padding
        )
        return self._unshifted(net.conv(x, self.filters), shifted=shifted)

    def _unshifted(self, x: NetworkValue, *, shifted: bool) -> NetworkValue:
        for axis in (2, 3) if shifted else ():
            x = self.net.slice(x, 1, x.shape[axis], axis)
        return x

    def _pooled(self, kind: str, x: NetworkValue, stride: int, *, shifted: bool) -> NetworkValue:
        net = self.net
        if shifted:
            x = net.pad(x, (0, 0, 0, 0), (0, 0, 1, 1))
        padding: Literal["same", "ceil"] = "same" if self.style != "amoebanet" else "ceil"
        how: Literal["max", "avg"] = "max" if kind.startswith("max") else "avg"
        x = self._unshifted(net.pool(x, how, 3, stride, padding=padding), shifted=shifted)
        return x if x.channels == self.filters else net.conv(x, self.filters)

    def _flat_and_tall(self, x: NetworkValue, stride: int) -> NetworkValue:
        """A 1x7 and a 7x1 convolution on a quarter of the channels."""
        net, narrow = self.net, max(self.filters // 4, 1)
        for kernel, strides in ((1, 1), ((1, 7), (1, stride)), ((7, 1), (stride, 1))):
            x = net.conv(net.act(x, "relu"), narrow, kernel, strides, padding="ceil")
        return net.conv(net.act(x, "relu"), self.filters)


NASNET_NORMAL = Cell(
    (
        "sep5 0 + sep3 1",
        "sep5 1 + sep3 1",
        "avg3 0 + none 1",
        "avg3 1 + avg3 1",
        "sep3 0 + none 0",
    ),
    (1, 2, 3, 4, 5, 6),
)
NASNET_REDUCTION = Cell(
    (
        "sep5 0 + sep7 1",
        "max3 0 + sep7 1",
        "avg3 0 + sep5 1",
        "none 3 + avg3 2",
        "sep3 2 + max3 0",
    ),
    (3, 4, 5, 6),
)
AMOEBANET_NORMAL = Cell(
    (
        "avg3 0 + max3 0",
        "sep3 1 + none 1",
        "none 0 + avg3 1",
        "sep3 0 + sep5 2",
        "avg3 5 + sep3 0",
    ),
    (1, 3, 4, 6),
)
AMOEBANET_REDUCTION = Cell(
    (
        "sep3 1 + avg3 0",
        "max3 0 + sep7 2",
        "max3 1 + max3 0",
        "sep3 4 + 1x7 0",
        "avg3 1 + sep7 0",
    ),
    (2, 3, 4, 5, 6),
)
DARTS_NORMAL = Cell(
    (
        "sep3 1 + sep3 0",
        "sep3 1 + sep3 0",
        "sep3 0 + none 1",
        "none 1 + dil3 2",
    ),
    (2, 3, 4, 5),
)
DARTS_REDUCTION = Cell(
    (
        "max3 1 + max3 0",
        "none 2 + max3 0",
        "max3 1 + none 2",
        "none 2 + max3 0",
    ),
    (2, 3, 4, 5),
)
_NASNET = CellSpec("nasnet", NASNET_NORMAL, NASNET_REDUCTION, (4, 4, 4), 44, 32)
_AMOEBANET = CellSpec("amoebanet", AMOEBANET_NORMAL, AMOEBANET_REDUCTION, (4, 4, 4), 50, 32)
_DARTS = CellSpec("darts", DARTS_NORMAL, DARTS_REDUCTION, (4, 4, 4), 48, 48)

# fmt: off
NETWORKS = (
    ZooNetwork("nasnet-a-mobile", "nasnet", partial(cell_network, spec=_NASNET), 224, 5289978, 568234858, "pytorchcv nasnet_4a1056"),
    ZooNetwork("amoebanet-a-mobile", "amoebanet", partial(cell_network, spec=_AMOEBANET), 224, 5086930, 554687204, "arXiv 1802.01548", ("5.1M", "555M")),
    ZooNetwork("darts", "darts", partial(cell_network, spec=_DARTS), 224, 4718752, 529911552, "pytorchcv darts"),
)
# fmt: on
