"""The ProxylessNAS space for CIFAR-10 (Cai, Zhu, Han, ICLR 2019, section 4.1): trees of paths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from latprof.common.limits import whole_option
from latprof.datasets.models.layers import Block, Place, pool_and_classifier, sum_block
from latprof.datasets.models.steps import Activate, Layer, Normalize, PadChannels, Pool, Step
from latprof.datasets.spaces.base import Architecture, Part, SearchSpace
from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    from latprof.graph.operators import Operator

_STAGES = 3
_FIRST_PLANES = 16
_BOTTLENECK = 4
#: Learnable edges of a cell: from the two nodes below the root to four, and from these to 8 leaves.
_INNER, _LEAVES = 4, 8
_EDGES = _INNER + _LEAVES
#: Kernel and dilation of the separable convolutions; the other candidates are not among them.
_SEPARABLE = {
    "dil_sep_conv_3x3": (3, 2),
    "sep_conv_3x3": (3, 1),
    "sep_conv_5x5": (5, 1),
    "sep_conv_7x7": (7, 1),
}
_CANDIDATES = (
    "dil_sep_conv_3x3",
    "identity",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "avg_pool_3x3",
    "max_pool_3x3",
)
#: Variance of what a block adds to its shortcut under random weights. A cell sums 8 leaves, so this
#: small number keeps 54 blocks in scale, whatever their operations.
_RESIDUAL_GAIN = 1 / 32


@dataclass(frozen=True)
class _Residual:
    """One residual block: its name, what it reads, its shapes, and the width of its cell."""

    name: str
    source: str
    in_channels: int
    planes: int
    in_size: int
    stride: int

    @property
    def out_channels(self) -> int:
        return self.planes * _BOTTLENECK

    @property
    def out_size(self) -> int:
        return self.in_size // self.stride


class ProxylessCifarSpace(SearchSpace):
    """PyramidNet whose 3x3 convolutions are trees of paths: 648 decisions of 7 operations.

    The network is the bottleneck PyramidNet (Han et al., CVPR 2017) of 3 stages of blocks: the
    width of a block's 3x3 convolution grows by the same amount from block to block, and four times
    it is the block's output. Shortcuts are padded with zero channels, behind a 2x2 average pool
    where a stage halves the size. Order inside a block: normalise and 1x1; the cell; normalise,
    ReLU and 1x1, normalise.

    The paper says of a cell: depth 3, two branches at each node but the leaves. That is a tree of
    2 + 4 + 8 edges, of which 12 are learnable (12 x 54 blocks = 648 decisions). As in the authors'
    code and their earlier cells (Cai et al., ICML 2018), the two edges at the root are fixed: 3x3
    convolutions with 2 groups, which have the block's stride. The other 12 are decisions: first the
    four from these two nodes to theirs (edges 0 and 1 from the first), then the eight from those to
    the leaves (edges 4 and 5 from edge 0, and so on). A node hands its input to both branches and
    adds what they return, so the cell's output is the sum of the leaves. Convolutions on edges are
    normalise, ReLU, convolution; separable ones are depthwise, then 1x1.

    Candidates, in the authors' order: dil_sep_conv_3x3, identity, sep_conv_3x3, sep_conv_5x5,
    sep_conv_7x7, avg_pool_3x3, max_pool_3x3.

    Parameters
    ----------
    blocks_per_stage : int
        B in the paper: 18.
    final_channels : int
        F in the paper, 400: output channels of the last block, a multiple of 8 from 64 on.
    num_classes : int
    resolution : int
        Height and width of the image, a multiple of 4.

    Raises
    ------
    InvalidValueError
        For an option out of its range.
    """

    name = "proxyless-cifar"

    def __init__(
        self,
        blocks_per_stage: int = 18,
        final_channels: int = 400,
        num_classes: int = 10,
        resolution: int = 32,
    ) -> None:
        self.blocks_per_stage = whole_option("blocks_per_stage", blocks_per_stage, 1, 100)
        self.final_channels = whole_option("final_channels", final_channels, 64)
        self.num_classes = whole_option("num_classes", num_classes)
        self.resolution = whole_option("resolution", resolution, 8, 4096)
        if self.final_channels % (2 * _BOTTLENECK) or self.resolution % 4:
            raise InvalidValueError(
                "final_channels or resolution is not possible",
                expected="multiples of 8 and of 4",
                got=f"{final_channels}, {resolution}",
            )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (3, self.resolution, self.resolution)

    @property
    def reference_resolution(self) -> int:
        return 14 * self.resolution  # small images, but about 100 ms where a mobile network takes 5

    @cached_property
    def candidates(self) -> tuple[tuple[str, ...], ...]:
        return (_CANDIDATES,) * (_EDGES * len(self._residuals))

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        return tuple(
            Part(_edge_name(residual, edge), (index * _EDGES + edge,))
            for index, residual in enumerate(self._residuals)
            for edge in range(_EDGES)
        )

    # Blocks --------------------------------------------------------------------------------

    @cached_property
    def _residuals(self) -> tuple[_Residual, ...]:
        residuals: list[_Residual] = []
        total = _STAGES * self.blocks_per_stage
        growth = (self.final_channels / _BOTTLENECK - _FIRST_PLANES) / total
        source, channels, size = "stem", _FIRST_PLANES, self.resolution
        for index in range(total):
            stage, block = divmod(index, self.blocks_per_stage)
            planes = round(_FIRST_PLANES + growth * (index + 1))
            planes -= planes % 2  # the convolutions at the root have 2 groups
            stride = 2 if stage and not block else 1
            name = f"stage{stage + 1}.block{block}"
            residual = _Residual(name, source, channels, planes, size, stride)
            residuals.append(residual)
            source, channels, size = name, residual.out_channels, residual.out_size
        return tuple(residuals)

    @cached_property
    def _candidate_blocks(self) -> tuple[tuple[Block, ...], ...]:
        """Every candidate of every edge."""
        return tuple(
            tuple(
                _edge_block(residual, edge, index * _EDGES + edge, label) for label in _CANDIDATES
            )
            for index, residual in enumerate(self._residuals)
            for edge in range(_EDGES)
        )

    @cached_property
    def _fixed_blocks(self) -> tuple[tuple[tuple[Block, ...], tuple[Block, ...]], ...]:
        """What comes before and after the learnable edges of each residual block."""
        return tuple(
            (_blocks_before(residual), _blocks_after(residual)) for residual in self._residuals
        )

    @cached_property
    def _ends(self) -> tuple[Block, Block]:
        """The stem, and what follows the last residual block."""
        last = self._residuals[-1]
        stem = Place("stem", None, 3, _FIRST_PLANES, self.resolution)
        end = Place("last", None, last.out_channels, last.out_channels, last.out_size)
        steps = (Normalize("last.norm", last.out_channels), Activate("last", last.out_channels))
        return (
            stem.block("Conv3x3", (Layer("stem", 3, _FIRST_PLANES, 3, activation=None),), kernel=3),
            end.block("BatchNormReLU", steps),
        )

    def blocks(self, architecture: Architecture) -> tuple[Block, ...]:
        choices = self.choices([architecture])[0].tolist()
        rows = zip(self._candidate_blocks, choices, strict=True)
        chosen = [row[choice] for row, choice in rows]
        stem, last = self._ends
        blocks = [stem]
        for index, (before, after) in enumerate(self._fixed_blocks):
            edges = chosen[index * _EDGES : (index + 1) * _EDGES]
            blocks += (*before, *edges, *after)
        return (*blocks, last)

    def part_blocks(self, part: int, local_choices: tuple[int, ...]) -> tuple[Block, ...]:
        self.check_part(part, local_choices)
        return (self._candidate_blocks[part][local_choices[0]],)

    def head(
        self,
        architecture: Architecture,  # noqa: ARG002 - the head is the same for all here
        batch_size: int = 1,
    ) -> tuple[Operator, ...]:
        last = self._ends[-1]
        return pool_and_classifier(last.out_channels, last.out_size, self.num_classes, batch_size)


def _edge_name(residual: _Residual, edge: int) -> str:
    return f"{residual.name}.edge{edge}"


def _edge_block(residual: _Residual, edge: int, position: int, label: str) -> Block:
    if edge < _INNER:
        source = f"{residual.name}.root{edge // 2}"
    else:
        source = _edge_name(residual, (edge - _INNER) // 2)
    channels = residual.planes
    place = Place(_edge_name(residual, edge), position, channels, channels, residual.out_size)
    kernel = 0
    steps: tuple[Step, ...] = ()
    if label in _SEPARABLE:
        kernel, dilation = _SEPARABLE[label]
        steps = _separable(place.name, channels, kernel, dilation)
    elif label != "identity":
        kernel = 3
        steps = (Pool(place.name, channels, "avg" if label == "avg_pool_3x3" else "max"),)
    return place.block(label, steps, kernel=kernel, inputs=(source,))


def _separable(name: str, channels: int, kernel: int, dilation: int) -> tuple[Step, ...]:
    """Normalisation, ReLU, depthwise and 1x1 convolution, which share the scale of one."""
    depthwise = Layer(
        f"{name}.depthwise",
        channels,
        channels,
        kernel,
        groups=channels,
        activation=None,
        normalized=False,
        dilation=dilation,
        gain=2.0,
    )
    return (
        Normalize(f"{name}.before", channels),
        Activate(name, channels),
        depthwise,
        Layer(f"{name}.pointwise", channels, channels, 1, activation=None, normalized=False),
    )


def _blocks_before(residual: _Residual) -> tuple[Block, ...]:
    """The shortcut, the first 1x1 convolution and the two edges at the root."""
    name, size, stride = residual.name, residual.in_size, residual.stride
    channels, planes, out_channels = residual.in_channels, residual.planes, residual.out_channels
    shortcut: list[Step] = []
    if stride > 1:
        shortcut.append(Pool(f"{name}.pool", channels, "avg", kernel=stride, stride=stride))
    if out_channels > channels:
        shortcut.append(PadChannels(f"{name}.pad", channels, out_channels))
    reduce = (
        Normalize(f"{name}.reduce.before", channels),
        Layer(f"{name}.reduce", channels, planes, 1, activation=None, normalized=False),
    )
    beside = Place(f"{name}.shortcut", None, channels, out_channels, size, stride)
    first = Place(f"{name}.reduce", None, channels, planes, size)
    return (
        beside.block("Shortcut", tuple(shortcut), inputs=(residual.source,)),
        first.block("BatchNormConv1x1", reduce, kernel=1, inputs=(residual.source,)),
        *(_root_block(residual, branch, first.name) for branch in range(2)),
    )


def _root_block(residual: _Residual, branch: int, source: str) -> Block:
    """A fixed edge at the root of the cell."""
    planes, stride = residual.planes, residual.stride
    place = Place(f"{residual.name}.root{branch}", None, planes, planes, residual.in_size, stride)
    layer = Layer(
        place.name,
        planes,
        planes,
        3,
        stride,
        groups=2,
        activation=None,
        normalized=False,
        gain=2.0,
    )
    steps = (Normalize(f"{place.name}.before", planes), Activate(place.name, planes), layer)
    return place.block("BatchNormReLUConv3x3", steps, kernel=3, inputs=(source,))


def _blocks_after(residual: _Residual) -> tuple[Block, ...]:
    """The sum of the leaves with the last 1x1 convolution, and the sum with the shortcut."""
    name, planes, out_channels = residual.name, residual.planes, residual.out_channels
    place = Place(f"{name}.expand", None, planes, out_channels, residual.out_size)
    layer = Layer(place.name, planes, out_channels, 1, activation=None, gain=_RESIDUAL_GAIN)
    steps = (Normalize(f"{place.name}.before", planes), Activate(place.name, planes), layer)
    leaves = tuple(_edge_name(residual, edge) for edge in range(_INNER, _EDGES))
    return (
        place.block("BatchNormReLUConv1x1", steps, kernel=1, inputs=leaves),
        sum_block(
            name, (f"{name}.shortcut", place.name), channels=out_channels, size=residual.out_size
        ),
    )
