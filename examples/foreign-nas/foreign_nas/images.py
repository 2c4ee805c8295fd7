"""Made-up images, so that nothing is downloaded: gratings whose direction is the class."""

import math

import torch

CLASSES = 8


def gratings(n: int, seed: int, size: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """``n`` noisy images, float32 of shape (n, 3, size, size), and their classes, shape (n,)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (n,), generator=generator)
    angle = math.pi * labels[:, None, None] / CLASSES
    period = 3 + 2 * torch.rand(n, 1, 1, generator=generator)
    phase = 2 * math.pi * torch.rand(n, 1, 1, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    waves = torch.sin(2 * math.pi * (rows * angle.sin() + columns * angle.cos()) / period + phase)
    noise = torch.randn(n, 3, size, size, generator=generator)
    return waves[:, None] + noise, labels
