"""The supernet: 21 decisions, each between the candidates of its position."""

import re
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

WIDTH = 8


def _norm(width: int) -> nn.BatchNorm2d:
    """Use the batch's own statistics: running ones would be those of many paths."""
    return nn.BatchNorm2d(width, track_running_stats=False)


class Bottleneck(nn.Module):
    """Expand, filter each channel, project, and add the input."""

    def __init__(self, kernel: int, expansion: int) -> None:
        super().__init__()
        inner = WIDTH * expansion
        self.body = nn.Sequential(
            *(nn.Conv2d(WIDTH, inner, 1, bias=False), _norm(inner), nn.ReLU6()),
            nn.Conv2d(inner, inner, kernel, padding=kernel // 2, groups=inner, bias=False),
            *(_norm(inner), nn.ReLU6()),
            *(nn.Conv2d(inner, WIDTH, 1, bias=False), _norm(WIDTH)),
        )
        nn.init.zeros_(self.body[-1].weight)  # a deep random path starts as a shallow one

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + self.body(images)


def candidate(name: str) -> nn.Module:
    """Build a candidate from latprof's name for it: ``3x3_MBConv6``, or ``Zero``."""
    if name == "Zero":
        return nn.Identity()
    if (found := re.fullmatch(r"(\d)x\1_MBConv(\d)", name)) is None:
        raise SystemExit(f"this supernet has no {name}: take a pack of the space proxyless")
    return Bottleneck(int(found[1]), int(found[2]))


class Supernet(nn.Module):
    """All candidates of all decisions; a path of one candidate each runs.

    It is narrower than the network that will run on the device, and its images are smaller: what
    is shared with latprof are the decisions, not the sizes.
    """

    def __init__(self, candidates: Sequence[Sequence[str]], classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTH, 3, 2, 1, bias=False), _norm(WIDTH))
        self.layers = nn.ModuleList(nn.ModuleList(map(candidate, names)) for names in candidates)
        self.classify = nn.Linear(WIDTH, classes)
        self.alphas = nn.ParameterList(torch.zeros(len(names)) for names in candidates)

    def probabilities(self) -> list[torch.Tensor]:
        """One tensor of shape (candidates,) for each decision."""
        return [alpha.softmax(-1) for alpha in self.alphas]

    def sampled(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a path drawn at random; its gates pass gradients on to the decisions."""
        gates = [functional.gumbel_softmax(alpha, hard=True) for alpha in self.alphas]
        result = self.stem(images)
        for layer, gate in zip(self.layers, gates, strict=True):
            choice = int(gate.argmax())
            result = layer[choice](result) * gate[choice]
        return self.classify(result.mean((2, 3)))

    def forward(self, images: torch.Tensor, choices: Sequence[int]) -> torch.Tensor:
        """Logits of the network of these choices."""
        result = self.stem(images)
        for layer, choice in zip(self.layers, choices, strict=True):
            result = layer[choice](result)
        return self.classify(result.mean((2, 3)))
