"""Torch modules of blocks, for tests and for training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from latprof.common.extras import require

if TYPE_CHECKING:
    import torch

    from latprof.datasets.models.layers import Block
    from latprof.graph.operators import Operator


def build_torch(
    blocks: Sequence[Block], head: Sequence[Operator], *, seed: int = 0
) -> torch.nn.Module:
    """Build the torch module of blocks and the head after them, in eval mode.

    Raises MissingDependencyError where torch is not installed.
    """
    require("torch", "building a torch module")
    from latprof.datasets.models.torch_modules import BlockNetwork
    from latprof.datasets.models.weights import WeightSource

    module: torch.nn.Module = BlockNetwork(blocks, head, WeightSource(seed))
    return module.eval()
