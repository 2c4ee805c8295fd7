"""How the weights of networks and supernets learn; needs torch."""

# mypy: disable-error-code="misc"

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

if TYPE_CHECKING:
    from latprof.searchers.supernets.image_tasks import ImageTask


def train(
    module: torch.nn.Module,
    forward: Callable[[torch.Tensor], torch.Tensor],
    task: ImageTask,
    *,
    epochs: int,
    seed: int = 0,
    batch_size: int = 64,
    rate: float = 0.05,
    weight_decay: float = 4e-5,
    on_epoch: Callable[[int, float], None] | None = None,
) -> None:
    """Train weights in place: SGD with Nesterov's momentum, the rate falling along a cosine.

    Parameters
    ----------
    module : torch.nn.Module
        Whose weights learn.
    forward : callable
        From images, shape (n, channels, height, width), to logits, shape (n, classes).
    task : ImageTask
        Its training images are used.
    epochs, seed, batch_size, rate, weight_decay
    on_epoch : callable, optional
        Called after each epoch with its number, from 1, and its mean loss.
    """
    optimizer = weight_optimizer(module, rate, weight_decay)
    generator = torch.Generator().manual_seed(seed)
    module.train()
    for epoch in range(epochs):
        set_rate(optimizer, rate, epoch / epochs)
        losses = [
            weight_step(module, optimizer, forward, images, labels)
            for images, labels in batches(task.train, batch_size, generator)
        ]
        if on_epoch is not None:
            on_epoch(epoch + 1, float(torch.stack(losses).mean()))


def weight_optimizer(
    module: torch.nn.Module, rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """What moves weights, here and in the searches by gradient."""
    return torch.optim.SGD(
        module.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=weight_decay
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float, done: float) -> None:
    """Set the learning rate for a share of the training that is done: a cosine down to 0."""
    for group in optimizer.param_groups:
        group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * done))


def weight_step(
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    forward: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    labels: torch.Tensor,
) -> torch.Tensor:
    """One step of the weights; returns the loss before it."""
    loss = torch.nn.functional.cross_entropy(forward(images), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
    optimizer.step()
    return loss.detach()


def batches(dataset: Any, batch_size: int, generator: torch.Generator) -> Iterator[Any]:
    """Whole batches of (images, labels) in an order that the generator draws."""
    loader = DataLoader(
        dataset,
        batch_size=min(batch_size, len(dataset)),
        shuffle=True,
        drop_last=True,
        generator=generator,
    )
    return iter(loader)
