"""Torch modules of a search space's architectures, for tests and for training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.errors import MissingDependencyError

if TYPE_CHECKING:
    import torch

    from latprof.datasets.spaces.base import Architecture, SearchSpace


def build_torch(
    space: SearchSpace, architecture: Architecture, *, seed: int = 0
) -> torch.nn.Module:
    """Build an architecture's torch module; see :meth:`SearchSpace.build_torch`."""
    try:
        import torch  # noqa: F401 - asked for here, so that its absence has its own message
    except ImportError:
        raise MissingDependencyError("torch", "torch", "building a torch module") from None
    from latprof.datasets.models.onnx_export import WeightSource
    from latprof.datasets.models.torch_modules import BlockNetwork

    blocks, head = space.blocks(architecture), space.head(architecture)
    module: torch.nn.Module = BlockNetwork(blocks, head, WeightSource(seed))
    return module.eval()
