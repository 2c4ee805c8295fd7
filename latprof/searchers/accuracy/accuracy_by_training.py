"""Accuracies by training: each network on its own, or all with the weights of one supernet.

Both are accuracy sources: called with n architectures they return n accuracies in percent. Needs
torch.
"""

# mypy: disable-error-code="misc"

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from latprof.searchers.base import check_budget
from latprof.searchers.supernets.supernet import Supernet, evaluate, proxy_space
from latprof.searchers.supernets.weight_training import train

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, SearchSpace
    from latprof.searchers.base import Floats
    from latprof.searchers.supernets.image_tasks import ImageTask


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
        (:func:`~latprof.searchers.supernets.supernet.proxy_space`).
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
