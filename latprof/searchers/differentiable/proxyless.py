"""ProxylessNAS (Cai, Zhu, Han, ICLR 2019): binarised paths, by gradient or by REINFORCE.

Needs torch.
"""

# mypy: disable-error-code="misc"

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from latprof.common.limits import NOT_ALL, whole
from latprof.predictors.gradients.torch_latency import expected_latency
from latprof.searchers.differentiable.architecture_parameters import rescale_pairs, two_path_gates
from latprof.searchers.differentiable.gradient_search import DifferentiableSearcher
from latprof.searchers.rewards import SOFT, Form, latency_regularizer, mnas_reward

if TYPE_CHECKING:
    from latprof.searchers.differentiable.gradient_search import SearchState
    from latprof.searchers.supernets.supernet import Mixture


@dataclass(eq=False, repr=False)
class ProxylessG(DifferentiableSearcher):
    """Gradient-based search: one path a weight step, two in an architecture step.

    The architecture loss is :func:`~latprof.searchers.rewards.latency_regularizer` of the
    cross-entropy and the expected latency. After each step the two drawn candidates' logits are
    shifted so that all others keep their probability.

    Parameters
    ----------
    task : ImageTask
    form : str
        ``"add#plain"`` (the paper's), ``"add#linear"`` or ``"mul#log"`` (the authors' code); forms
        with a target take the problem's limit.
    strength, exponent : float, optional
        Constants of the form, the usual ones unless given; strength 0 is no latency term.
    **options
        As of :class:`~latprof.searchers.differentiable.gradient_search.DifferentiableSearcher`.
    """

    name = "proxyless-g"
    _: KW_ONLY
    form: Form = "add#linear"
    strength: float | None = None
    exponent: float | None = None
    _paths: list[Mixture] = field(default_factory=list, init=False, repr=False)

    def architecture_loss(
        self, state: SearchState, images: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        self._paths, probabilities = two_path_gates(state.parameters, state.generator)
        logits = state.supernet(images, self._paths)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        if self.strength == 0:
            return loss
        expected = expected_latency(state.predictor, probabilities)
        limit = state.problem.limit_ms
        result: torch.Tensor = latency_regularizer(
            loss,
            expected,
            None if math.isinf(limit) else limit,
            form=self.form,
            strength=self.strength,
            exponent=self.exponent,
            unit_ms=1e-3,  # the logarithm of microseconds is above 0 for every network
        )
        return result

    def after_architecture_step(self, state: SearchState, before: torch.Tensor) -> None:
        rescale_pairs(state.parameters, self._paths, before)


@dataclass(eq=False, repr=False)
class ProxylessR(DifferentiableSearcher):
    """The same supernet with REINFORCE: ``R = ACC * (LAT / T) ** w`` and a moving baseline.

    Parameters
    ----------
    task : ImageTask
    exponents : (float, float)
        ``w`` up to the limit and above it.
    samples : int
        Architectures drawn for one step.
    baseline_kept : float
        Share of the old baseline that a step leaves.
    **options
        As of :class:`~latprof.searchers.differentiable.gradient_search.DifferentiableSearcher`.
    """

    name = "proxyless-r"
    limits: ClassVar = {
        **DifferentiableSearcher.limits,
        "samples": whole(1, 10_000),
        "baseline_kept": NOT_ALL,
    }
    _: KW_ONLY
    exponents: tuple[float, float] = SOFT
    samples: int = 8
    baseline_kept: float = 0.9

    def architecture_loss(
        self, state: SearchState, images: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        drawn = torch.stack([state.parameters.sample(state.generator) for _ in range(self.samples)])
        rewards = self._rewards(state, drawn, images, labels)
        baseline = state.learned.get("baseline", float(rewards.mean()))
        loss = reinforce_loss(state.parameters.log_probabilities(), drawn, rewards - baseline)
        kept = self.baseline_kept
        state.learned["baseline"] = kept * baseline + (1 - kept) * float(rewards.mean())
        return loss

    def _rewards(
        self, state: SearchState, drawn: torch.Tensor, images: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Rewards of the drawn architectures, shape (samples,)."""
        accuracy = []
        with torch.no_grad():
            for paths in drawn.tolist():
                logits = state.supernet(images, paths)
                accuracy.append(float((logits.argmax(1) == labels).float().mean()))
        if math.isinf(state.problem.limit_ms):
            return torch.tensor(accuracy)
        latency = state.problem.latency_ms(drawn.numpy().astype("uint8"))
        reward = mnas_reward(accuracy, latency, state.problem.limit_ms, self.exponents)
        return torch.from_numpy(reward).float()


def reinforce_loss(
    log_probabilities: torch.Tensor, drawn: torch.Tensor, advantages: torch.Tensor
) -> torch.Tensor:
    """The loss whose gradient is ``-E[(R - b) grad log p]``, from n draws.

    Parameters
    ----------
    log_probabilities : torch.Tensor of shape (decisions, most candidates)
    drawn : torch.Tensor of shape (n, decisions)
    advantages : torch.Tensor of shape (n,)
    """
    rows = torch.arange(drawn.shape[1])
    of_drawn = log_probabilities[rows, drawn].sum(1)
    return -(advantages * of_drawn).mean()
