"""A network with every candidate of a space in it, of which each step runs a few; needs torch."""

# mypy: disable-error-code="misc"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import nn
from torch.utils.data import DataLoader

from latprof.datasets.models.layers import Block, Layer
from latprof.datasets.models.torch_modules import BlockModule
from latprof.datasets.models.weights import WeightSource
from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Choices, SearchSpace
    from latprof.graph.operators import Operator


@dataclass(frozen=True, eq=False)
class Mixture:
    """Some candidates of a decision and their weights, shape (k,): the output is the weighted sum.

    A weight of exactly 0 says that the candidate runs only for the weight's own gradient, without a
    graph of its own (ProxylessNAS: an inactive path).
    """

    candidates: tuple[int, ...]
    weights: torch.Tensor


#: What a decision's block computes: one candidate, or several of them weighted.
Path: TypeAlias = int | Mixture


class Supernet(nn.Module):
    """All candidates of a chain of blocks, and the fixed blocks between them.

    The architecture parameters are the searcher's; a supernet has weights only. Candidates that a
    step does not run are not touched: they take no memory and get no gradient. Batch normalisation
    always uses the batch's own statistics, for running ones would be those of many architectures.

    Two things make weights that thousands of architectures share learn in minutes; a derived
    network that is trained on its own has neither. A candidate begins as nothing beside the input
    that is added to it: the scale of its last normalisation starts at 0 (Goyal et al. 2017). And
    where no input can be added, because the shape changes, a 1x1 convolution that all candidates
    of the decision share stands in its place (He et al. 2016). Without it, six such decisions of
    six candidates, as ProxylessNAS has them, hand 46,656 unrelated features to what follows.

    Parameters
    ----------
    space : SearchSpace
        One whose parts have one decision each and stand in a row, before a pool and a classifier: a
        :class:`~latprof.datasets.spaces.chain.ChainSpace` is one, whoever wrote it.
    seed : int
        Of the weights.

    Raises
    ------
    InvalidValueError
        For a space that is no such chain.
    """

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        super().__init__()
        self.space = space
        source = WeightSource(seed)
        first = space.architectures(_zeros(space))[0]
        self.stages = nn.ModuleList()
        self.shortcuts = nn.ModuleDict()
        #: The decision of each stage, None for a fixed block.
        self.decisions: list[int | None] = []
        _check_chain(space, space.blocks(first), space.head(first))
        for block in space.blocks(first):
            if block.position is None:
                self.stages.append(BlockModule(block, source))
                self.decisions.append(None)
                continue
            decision = space.parts[block.position].decisions[0]
            self.stages.append(
                nn.ModuleList(
                    _candidate(space.part_blocks(block.position, (choice,)), source)
                    for choice in range(int(space.num_choices[decision]))
                )
            )
            if _changes_shape(block):
                self.shortcuts[str(decision)] = BlockModule(_shortcut(block), source)
            self.decisions.append(decision)
        classifier = space.head(first)[-1]
        assert classifier.weight_shape is not None
        features, classes = classifier.weight_shape[1], classifier.weight_shape[0]
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes)
        )
        for name, array in source.linear(classes, features).items():
            getattr(self.head[-1], name).data = torch.from_numpy(array)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats = False
                module.running_mean = module.running_var = module.num_batches_tracked = None
        # On a CPU depthwise convolutions are much faster with the channels last in memory.
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor, paths: Sequence[Path]) -> torch.Tensor:
        """Logits, shape (n, classes), of images under one path for each decision of the space."""
        value = images.contiguous(memory_format=torch.channels_last)
        for decision, stage in zip(self.decisions, self.stages, strict=True):
            if decision is None:
                value = stage(value)
                continue
            output = _run(stage, value, paths[decision])
            name = str(decision)
            value = output + self.shortcuts[name](value) if name in self.shortcuts else output
        logits: torch.Tensor = self.head(value)
        return logits

    def freeze(self, frozen: bool) -> None:  # noqa: FBT001 - what it is about
        """Say whether the weights shall get gradients."""
        self.requires_grad_(not frozen)


def evaluate(supernet: Supernet, dataset: Any, choices: Choices, batch_size: int) -> float:
    """Accuracy in percent of one architecture, shape (decisions,), with a supernet's weights."""
    supernet.eval()
    right = seen = 0
    paths = choices.tolist()
    with torch.no_grad():
        for images, labels in DataLoader(dataset, batch_size=max(batch_size, 128)):
            if len(labels) < 2:  # its own statistics are all there is to normalise with
                continue
            right += int((supernet(images, paths).argmax(1) == labels).sum())
            seen += len(labels)
    return 100.0 * right / max(seen, 1)


def proxy_space(space: SearchSpace, image_shape: tuple[int, int, int], classes: int) -> SearchSpace:
    """The space for a task's images, with the same decisions: what a small supernet is made of.

    The space itself where it fits. ProxylessNAS's is narrowed to an eighth for images of less than
    half its own, as searches on proxy tasks do; latencies stay those of the full space.

    Raises InvalidValueError where the images are not square with three channels, or the space has
    no such variant.
    """
    channels, height, width = image_shape
    if channels != 3 or height != width:
        raise InvalidValueError(
            "a supernet takes square images of three channels", got=f"{channels}x{height}x{width}"
        )
    options = dict(space.options)
    wanted = {"resolution": height, "num_classes": classes}
    if not set(wanted) <= set(options):
        raise InvalidValueError(
            f"space {space.name} has no variant for other images",
            expected="arguments `resolution` and `num_classes`",
        )
    if options["resolution"] > 2 * height and "widths" in options:
        options["widths"] = _narrowed(options["widths"])
    return type(space)(**options | wanted)


def _narrowed(widths: Sequence[int]) -> tuple[int, ...]:
    """An eighth of each width, at least 8; equal neighbours stay so, and no others are."""
    found: list[int] = []
    for index, width in enumerate(widths):
        narrow = max(8, -(-width // 32) * 4)
        if index and width == widths[index - 1]:
            narrow = found[-1]
        elif index and narrow == found[-1]:
            narrow += 4
        found.append(narrow)
    return tuple(found)


def _changes_shape(block: Block) -> bool:
    return (block.in_size, block.in_channels) != (block.out_size, block.out_channels)


def _candidate(blocks: Sequence[Block], source: WeightSource) -> nn.Sequential:
    """A candidate whose output is 0 beside the input that is added to it."""
    modules = [BlockModule(block, source) for block in blocks]
    norms = [m for m in modules[-1].modules() if isinstance(m, nn.BatchNorm2d)]
    if norms and (blocks[-1].residual or _changes_shape(blocks[-1])):
        nn.init.zeros_(norms[-1].weight)
        nn.init.zeros_(norms[-1].bias)
    return nn.Sequential(*modules)


def _shortcut(block: Block) -> Block:
    """A 1x1 convolution between a block's shapes."""
    convolve = Layer(
        "shortcut",
        block.in_channels,
        block.out_channels,
        kernel=1,
        stride=block.stride,
        activation=None,
    )
    return Block(
        f"{block.name}.shortcut",
        "Shortcut",
        None,
        block.in_channels,
        block.out_channels,
        block.in_size,
        block.out_size,
        (convolve,),
        kernel=1,
        stride=block.stride,
    )


def _zeros(space: SearchSpace) -> Choices:
    import numpy as np

    return np.zeros((1, len(space.num_choices)), dtype=np.uint8)


def _check_chain(space: SearchSpace, blocks: Sequence[Block], head: Sequence[Operator]) -> None:
    positions = [block.position for block in blocks if block.position is not None]
    decisions = [part.decisions for part in space.parts]
    wrong = {
        "blocks that are joined by name": any(block.inputs for block in blocks),
        "parts with several decisions": any(len(owned) != 1 for owned in decisions),
        "parts that are not one block each, in order": positions != list(range(len(decisions))),
        "no classifier at its end": not head or len(head[-1].weight_shape) != 2,
    }
    if any(wrong.values()):
        raise InvalidValueError(
            f"space {space.name} is no chain of blocks with one decision each",
            expected="a subclass of latprof.datasets.ChainSpace, or a space built like one",
            got=", ".join(what for what, so in wrong.items() if so),
        )


def _run(candidates: nn.ModuleList, value: torch.Tensor, path: Path) -> torch.Tensor:
    """Run one block."""
    if isinstance(path, int):
        output: torch.Tensor = candidates[path](value)
        return output
    total: torch.Tensor | None = None
    for index, weight in zip(path.candidates, path.weights, strict=True):
        if weight.detach() == 0:
            with torch.no_grad():  # exact: what it would pass back is multiplied by 0
                output = candidates[index](value)
        else:
            output = candidates[index](value)
        total = weight * output if total is None else total + weight * output
    assert total is not None
    return total
