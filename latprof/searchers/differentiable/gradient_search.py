"""What searches by gradient share: weights and architecture parameters learn in turn; needs torch.

An epoch goes once over the training images. In its first share of the budget (the warm-up) only
weights learn, under architectures drawn uniformly; then a step of the architecture parameters, on
validation images, follows each step of the weights. Every epoch ends with the network derived from
the probabilities, evaluated with the supernet's weights: that is one step of the trail.
"""

# mypy: disable-error-code="misc"

from __future__ import annotations

import io
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from latprof.common.files import what_is_at, write_atomically
from latprof.common.limits import LARGEST_SEED, NOT_ALL, NOT_NEGATIVE, check_seed, whole
from latprof.common.short_reprs import ShortRepr
from latprof.errors import InputFileError, InvalidValueError
from latprof.predictors.base import Predictor
from latprof.searchers.base import Evaluation, Searcher, SearchProblem, check_budget
from latprof.searchers.differentiable.architecture_parameters import ArchitectureParameters
from latprof.searchers.differentiable.derivation import derive
from latprof.searchers.supernets.supernet import Path as Gates
from latprof.searchers.supernets.supernet import Supernet, evaluate, proxy_space
from latprof.searchers.supernets.weight_training import (
    batches,
    set_rate,
    weight_optimizer,
    weight_step,
)

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Choices, SearchSpace
    from latprof.searchers.base import Floats
    from latprof.searchers.supernets.image_tasks import ImageTask


@dataclass(eq=False, repr=False)
class DifferentiableSearcher(ShortRepr, Searcher):
    """Base of the searches by gradient; each says how gates are drawn and what the loss is.

    The problem's ``accuracy`` is not asked: accuracies are the supernet's on the task's validation
    images, in percent. Its ``latency`` must be a fitted predictor (it needs gradients), its limit
    is the target T. The budget counts epochs.

    Parameters
    ----------
    task : ImageTask
    supernet_space : SearchSpace, optional
        What the supernet is made of: the same decisions as the problem's space. Unless given, the
        problem's space for the task's images
        (:func:`~latprof.searchers.supernets.supernet.proxy_space`).
    batch_size : int
    weight_rate : float
        Of the weights: SGD with Nesterov's momentum 0.9, falling to 0 along a cosine.
    weight_decay : float
        ``lambda1`` of ``lambda1 ||w||^2``, over 2 as the optimiser has it.
    architecture_rate : float
        Of the architecture parameters: Adam. ProxylessNAS takes 0.001 on ImageNet, with a hundred
        times the steps of a small task.
    warmup : float
        Share of the epochs in which only weights learn.
    prune : float
        Above 0: after each later epoch, candidates that are at least as slow as another one and
        less probable than this share of it are dropped, whole layers too where the zero operation
        is left (PruNet).
    checkpoint : path, optional
        Where the state is kept after each epoch; a search that finds it there resumes from it.

    Raises
    ------
    InvalidValueError
        For options out of their range.
    """

    gradient = True

    limits: ClassVar = {
        **dict.fromkeys(("weight_rate", "architecture_rate", "weight_decay"), NOT_NEGATIVE),
        **dict.fromkeys(("warmup", "prune"), NOT_ALL),
        "batch_size": whole(2, 1 << 20),
    }
    task: ImageTask
    _: KW_ONLY
    supernet_space: SearchSpace | None = None
    batch_size: int = 64
    weight_rate: float = 0.05
    weight_decay: float = 4e-5
    architecture_rate: float = 0.05
    warmup: float = 0.25
    prune: float = 0.0
    checkpoint: str | os.PathLike[str] | None = None
    #: Epochs that were complete already when ``search`` was last called.
    resumed_: int = field(default=0, init=False, repr=False)

    def search(
        self,
        problem: SearchProblem,
        budget: int,
        *,
        seed: int = 0,
        trail: Iterable[Evaluation] = (),
    ) -> Iterator[Evaluation]:
        """Yield one evaluation an epoch.

        A trail of all epochs is yielded as it is. One of fewer is made again: a search resumes from
        its checkpoint.
        """
        check_budget(budget)
        check_seed(seed)
        done = tuple(trail)
        if len(done) >= budget:
            self.resumed_ = budget
            yield from done[:budget]
            return
        state = SearchState(self, problem, budget, seed)
        if self.checkpoint is not None:
            state.load(self.checkpoint)
        self.resumed_ = len(state.steps)
        yield from state.steps
        while state.epoch < budget:
            state.run_epoch()
            if self.checkpoint is not None:
                state.save(self.checkpoint)
            yield state.steps[-1]

    def answer(self, problem: SearchProblem, trail: Iterable[Evaluation]) -> Evaluation | None:
        """The network derived last; earlier ones were on the way to it."""
        last = next(reversed(tuple(trail)), None)
        return last if last is not None and last.bound_ms <= problem.limit_ms else None

    # What a method says --------------------------------------------------------------------

    def weight_gates(self, state: SearchState) -> list[Gates]:
        """Gates of a step of the weights; here one path drawn from the probabilities."""
        return [int(choice) for choice in state.parameters.sample(state.generator)]

    @abstractmethod
    def architecture_loss(
        self, state: SearchState, images: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """The loss whose gradients move the architecture parameters."""

    def after_architecture_step(self, state: SearchState, before: torch.Tensor) -> None:
        """What follows a step of the parameters, whose logits were ``before``."""

    def derive(self, state: SearchState) -> Choices:
        """The network of the present probabilities."""
        return derive(state.problem, state.log_probabilities())


class SearchState:
    """A running search: supernet, architecture parameters, optimisers, and the steps so far.

    Parameters
    ----------
    searcher : DifferentiableSearcher
    problem : SearchProblem
    budget : int
        Epochs.
    seed : int
    """

    def __init__(
        self, searcher: DifferentiableSearcher, problem: SearchProblem, budget: int, seed: int
    ) -> None:
        task = searcher.task
        space = searcher.supernet_space
        if space is None:
            space = proxy_space(problem.space, task.image_shape, task.num_classes)
        if space.candidates != problem.space.candidates:
            raise InvalidValueError(
                "the supernet's space has other decisions than the predictor's",
                field="supernet_space",
                expected=problem.space.description,
                got=space.description,
            )
        if not isinstance(problem.latency, Predictor):
            raise InvalidValueError(
                "a search by gradient needs a predictor that has an expected latency",
                hint="fit one to the table: latprof.HybridPredictor(space).fit(...)",
            )
        self.searcher = searcher
        self.problem = problem
        self.budget = budget
        self.seed = seed
        self.epoch = 0
        self.steps: list[Evaluation] = []
        self.generator = torch.Generator().manual_seed(seed)
        self.supernet = Supernet(space, seed)
        self.parameters = ArchitectureParameters(space)
        self.weight_optimizer = weight_optimizer(
            self.supernet, searcher.weight_rate, searcher.weight_decay
        )
        self.architecture_optimizer = torch.optim.Adam(
            [self.parameters.logits], lr=searcher.architecture_rate, betas=(0.0, 0.999)
        )
        #: Numbers that a method learns beside the probabilities, kept with a checkpoint.
        self.learned: dict[str, float] = {}
        self._validation: Iterator[Any] = iter(())

    @property
    def predictor(self) -> Predictor:
        """The latency source, which has gradients."""
        assert isinstance(self.problem.latency, Predictor)
        return self.problem.latency

    @property
    def warmup_epochs(self) -> int:
        """Epochs at the start in which only weights learn."""
        return int(self.searcher.warmup * self.budget)

    @property
    def progress(self) -> float:
        """Share of the epochs after the warm-up that are done, from 0 to 1."""
        left = max(self.budget - self.warmup_epochs, 1)
        return min(max(self.epoch - self.warmup_epochs, 0) / left, 1.0)

    def log_probabilities(self) -> Floats:
        """Logarithms of the probabilities, shape (decisions, most candidates)."""
        with torch.no_grad():
            values: Floats = self.parameters.log_probabilities().double().numpy()
        return values

    # Learning ------------------------------------------------------------------------------

    def run_epoch(self) -> None:
        """Go once over the training images, then evaluate the derived network."""
        set_rate(self.weight_optimizer, self.searcher.weight_rate, self.epoch / self.budget)
        self.generator.manual_seed((self.seed * 100_003 + self.epoch) % (LARGEST_SEED + 1))
        self._validation = iter(())
        for images, labels in self._batches(self.searcher.task.train):
            self.weight_step(images, labels)
            if self.epoch >= self.warmup_epochs:
                self.architecture_step(*self._validation_batch())
        if self.searcher.prune and self.epoch >= self.warmup_epochs:
            self.parameters.prune(self._latencies_around(), self.searcher.prune)
        self.epoch += 1
        self.steps.append(self._evaluation())

    def weight_step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One step of the weights; returns its loss."""
        self.supernet.freeze(False)
        self.supernet.train()
        gates = self.searcher.weight_gates(self)
        return weight_step(
            self.supernet,
            self.weight_optimizer,
            lambda batch: self.supernet(batch, gates),
            images,
            labels,
        )

    def architecture_step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One step of the architecture parameters; returns its loss."""
        self.supernet.freeze(True)
        loss = self.searcher.architecture_loss(self, images, labels)
        self.architecture_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        before = self.parameters.logits.detach().clone()
        self.architecture_optimizer.step()
        self.searcher.after_architecture_step(self, before)
        self.supernet.freeze(False)
        return loss.detach()

    def accuracy(self, choices: Choices) -> float:
        """Validation accuracy in percent of one network, shape (decisions,), with these weights."""
        return evaluate(self.supernet, self.searcher.task.validation, choices, self._batch_size())

    def _evaluation(self) -> Evaluation:
        choices = self.searcher.derive(self)
        batch = choices[None]
        return Evaluation(
            self.problem.space.architectures(batch)[0],
            self.accuracy(choices),
            float(self.problem.latency_ms(batch)[0]),
            float(self.problem.bound_ms(batch)[0]),
        )

    def _latencies_around(self) -> torch.Tensor:
        """Latency with each candidate in place of the most probable network's, padding endless."""
        network = self.parameters.most_probable()
        shape = tuple(self.parameters.logits.shape)
        latencies = torch.full(shape, torch.inf)
        for decision, size in enumerate(self.problem.space.num_choices.tolist()):
            rows = np.repeat(network[None], size, axis=0)
            rows[:, decision] = np.arange(size)
            latencies[decision, :size] = torch.from_numpy(self.problem.latency_ms(rows)).float()
        return latencies

    def _batch_size(self) -> int:
        return self.searcher.batch_size

    def _batches(self, dataset: Any) -> Iterator[Any]:
        return batches(dataset, self._batch_size(), self.generator)

    def _validation_batch(self) -> Any:
        try:
            return next(self._validation)
        except StopIteration:
            self._validation = self._batches(self.searcher.task.validation)
            return next(self._validation)

    # Resuming ------------------------------------------------------------------------------

    def _identity(self) -> str:
        """What a checkpoint must agree in: method, options, sources, target, budget, seed."""
        options = {
            name: value
            for name, value in vars(self.searcher).items()
            if isinstance(value, bool | int | float | str | tuple)
            and name not in {"checkpoint", "resumed_"}
        }
        some = self.problem.latency_ms(self.problem.space.sample_choices(16)).round(9).tolist()
        problem = (self.problem.limit_ms, self.problem.upper, self.problem.space.description, some)
        task = (self.searcher.task.name, self.searcher.task.fingerprint)
        space = self.supernet.space.description
        name = self.searcher.name
        return repr((name, sorted(options.items()), problem, task, space, self.budget, self.seed))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Keep the state, whole or not at all."""
        buffer = io.BytesIO()
        steps = [
            (list(s.architecture.choices), s.accuracy, s.latency_ms, s.bound_ms) for s in self.steps
        ]
        torch.save(
            {
                "identity": self._identity(),
                "epoch": self.epoch,
                "steps": steps,
                "learned": self.learned,
                "supernet": self.supernet.state_dict(),
                "parameters": self.parameters.state_dict(),
                "weight_optimizer": self.weight_optimizer.state_dict(),
                "architecture_optimizer": self.architecture_optimizer.state_dict(),
            },
            buffer,
        )
        write_atomically(Path(path), buffer.getvalue())

    def load(self, path: str | os.PathLike[str]) -> None:
        """Resume from a checkpoint, if there is one; raises InputFileError for another search's."""
        found = what_is_at(Path(path))
        if found is None:
            return
        try:
            state = torch.load(path, weights_only=True) if found == "file" else {}
            identity = state["identity"]
        except Exception:  # noqa: BLE001 - torch raises whatever its unpickler meets in a hostile file
            raise InputFileError(f"{path} is no checkpoint of a search") from None
        if identity != self._identity():
            raise InputFileError(
                f"{path} is the checkpoint of another search",
                hint="give another file, or the arguments of that search",
            )
        space = self.problem.space
        try:
            self.epoch = state["epoch"]
            self.learned = state["learned"]
            self.steps = [
                Evaluation(space.architectures(np.array([choices]))[0], *numbers)
                for choices, *numbers in state["steps"]
            ]
            for name in ("supernet", "parameters", "weight_optimizer", "architecture_optimizer"):
                getattr(self, name).load_state_dict(state[name])
        except (AttributeError, LookupError, TypeError, ValueError, RuntimeError):
            raise InputFileError(f"{path} is a damaged checkpoint", hint="delete it") from None
