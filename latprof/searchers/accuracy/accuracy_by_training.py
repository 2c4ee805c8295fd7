"""Accuracies by training: each network on its own, or all with the weights of one supernet.

Both are accuracy sources: called with n architectures they return n accuracies in percent. Needs
torch.
"""

# mypy: disable-error-code="misc"

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from latprof.searchers.base import check_budget
from latprof.searchers.differentiable.supernet import Supernet, evaluate, proxy_space

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, SearchSpace
    from latprof.searchers.accuracy.image_tasks import ImageTask
    from latprof.searchers.base import Floats


class _OnTask:
    """What accuracies by training have in common: a space for the task's images, and how to train.

    Parameters and errors as of the classes below.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: ImageTask,
        *,
        epochs: int,
        seed: int = 0,
        batch_size: int = 64,
        rate: float = 0.05,
    ) -> None:
        check_budget(epochs)
        self.space = proxy_space(space, task.image_shape, task.num_classes)
        self.task = task
        self.epochs = epochs
        self.seed = seed
        self.batch_size = batch_size
        self.rate = rate


class TrainedAccuracy(_OnTask):
    """Trains each network from its own random weights; slow and sure.

    Parameters
    ----------
    space : SearchSpace
        Of the architectures; networks are built for the task's images
        (:func:`~latprof.searchers.differentiable.supernet.proxy_space`).
    task : ImageTask
    epochs : int
    seed : int
        Of the weights and of the order of the images.
    batch_size : int
    rate : float
        Learning rate at the start.
    test : bool
        Tell the accuracy on the test images, on which nothing is chosen, in place of the
        validation images.

    Raises
    ------
    InvalidValueError
        For fewer than 1 epoch, or images that the space has no variant for.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: ImageTask,
        *,
        epochs: int = 20,
        test: bool = False,
        **training: Any,
    ) -> None:
        super().__init__(space, task, epochs=epochs, **training)
        self.test = test

    def __call__(self, architectures: Sequence[Architecture]) -> Floats:
        """Accuracies of n architectures in percent, shape (n,)."""
        choices = self.space.choices(architectures)
        return np.array([self._one(a) for a in self.space.architectures(choices)])

    def _one(self, architecture: Architecture) -> float:
        network = self.space.build_torch(architecture, seed=self.seed)
        network.to(memory_format=torch.channels_last)  # faster on a CPU
        train(
            network,
            lambda images: network(images.contiguous(memory_format=torch.channels_last)),
            self.task,
            epochs=self.epochs,
            seed=self.seed,
            batch_size=self.batch_size,
            rate=self.rate,
        )
        network.eval()
        part: Any = self.task.test if self.test else self.task.validation
        right = 0
        with torch.no_grad():
            for images, labels in DataLoader(part, batch_size=256):
                right += int((network(images).argmax(1) == labels).sum())
        return 100.0 * right / len(part)


class SupernetAccuracy(_OnTask):
    """Tells accuracies with the weights of one supernet (single-path one-shot, Guo et al. 2020).

    The supernet is trained once, when the first accuracy is asked for: each step one path drawn
    uniformly. What it tells ranks networks; trained on their own they reach more.

    Parameters
    ----------
    space, task, epochs, seed, batch_size, rate
        As of :class:`TrainedAccuracy`.
    on_epoch : callable, optional
        Called after each epoch with its number, from 1, and its mean loss.

    Raises
    ------
    InvalidValueError
        As of :class:`TrainedAccuracy`, and for a space that is no chain of blocks.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: ImageTask,
        *,
        epochs: int = 40,
        on_epoch: Callable[[int, float], None] | None = None,
        **training: Any,
    ) -> None:
        super().__init__(space, task, epochs=epochs, **training)
        self.on_epoch = on_epoch
        self.supernet = Supernet(self.space, self.seed)
        self._trained = False

    def __call__(self, architectures: Sequence[Architecture]) -> Floats:
        """Accuracies of n architectures on the validation images in percent, shape (n,)."""
        if not self._trained:
            self._train()
        rows = self.space.choices(architectures)
        return np.array(
            [evaluate(self.supernet, self.task.validation, row, self.batch_size) for row in rows]
        )

    def _train(self) -> None:
        generator = np.random.default_rng(self.seed)
        sizes = self.space.num_choices

        def forward(images: torch.Tensor) -> torch.Tensor:
            paths = (generator.random(len(sizes)) * sizes).astype(int)
            logits: torch.Tensor = self.supernet(images, paths.tolist())
            return logits

        train(
            self.supernet,
            forward,
            self.task,
            epochs=self.epochs,
            seed=self.seed,
            batch_size=self.batch_size,
            rate=self.rate,
            on_epoch=self.on_epoch,
        )
        self._trained = True


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
        As of :class:`SupernetAccuracy`.
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
