"""LightNAS (Luo et al. 2022): one search that ends at a given latency; needs torch."""

# mypy: disable-error-code="misc"

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from latprof.common.limits import POSITIVE
from latprof.errors import InvalidValueError
from latprof.predictors.gradients.torch_latency import expected_latency
from latprof.searchers.differentiable.architecture_parameters import gumbel_gates
from latprof.searchers.differentiable.derivation import derive
from latprof.searchers.differentiable.gradient_search import DifferentiableSearcher
from latprof.searchers.rewards import latency_regularizer
from latprof.searchers.supernets.supernet import Mixture
from latprof.searchers.supernets.supernet import Path as Gates

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Choices
    from latprof.searchers.differentiable.gradient_search import SearchState

#: How near to the target the derived network's latency shall be.
_NEAR = 0.03


@dataclass(eq=False, repr=False)
class LightNAS(DifferentiableSearcher):
    """``CE + lambda (LAT / T - 1)``, lambda moved by gradient ascent; one path in memory.

    While the latency is above the target lambda grows, below it shrinks: no constant to tune, and
    the search ends where the latency is T. The forward pass runs the candidate with the largest
    Gumbel-softmax weight, the backward pass is that of the weights (a straight-through estimator).
    The temperature falls, so that the expected latency becomes that of the derived network.

    Parameters
    ----------
    task : ImageTask
    lambda_rate : float
        Step of the ascent.
    temperature, last_temperature : float
        Of the Gumbel softmax at the start and at the end.
    **options
        As of :class:`~latprof.searchers.differentiable.gradient_search.DifferentiableSearcher`.
    """

    name = "lightnas"
    limits: ClassVar = {
        **DifferentiableSearcher.limits,
        **dict.fromkeys(("lambda_rate", "temperature", "last_temperature"), POSITIVE),
    }
    _: KW_ONLY
    lambda_rate: float = 0.1
    temperature: float = 2.0
    last_temperature: float = 0.1

    def weight_gates(self, state: SearchState) -> list[Gates]:
        with torch.no_grad():
            return [int(choice) for choice in self._weights(state).argmax(1)]

    def architecture_loss(
        self, state: SearchState, images: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        target = state.problem.limit_ms
        if math.isinf(target):
            raise InvalidValueError("LightNAS searches for a latency", field="limit_ms")
        weights = self._weights(state)
        chosen = weights.argmax(1)
        weight = weights.gather(1, chosen[:, None])
        gates = 1.0 + (weight - weight.detach())
        paths: list[Gates] = [
            Mixture((int(candidate),), gate)
            for candidate, gate in zip(chosen, gates.unbind(0), strict=True)
        ]
        loss = torch.nn.functional.cross_entropy(state.supernet(images, paths), labels)
        latency = expected_latency(state.predictor, self._probabilities(state))
        strength = state.learned.get("lambda", 0.0)
        result: torch.Tensor = latency_regularizer(
            loss, latency, target, form="lightnas", strength=strength
        )
        excess = float(latency.detach()) / target - 1
        state.learned["lambda"] = strength + self.lambda_rate * excess
        return result

    def derive(self, state: SearchState) -> Choices:
        return derive(state.problem, state.log_probabilities(), near=_NEAR)

    def _now(self, state: SearchState) -> float:
        fall = self.last_temperature / self.temperature
        return float(self.temperature * fall**state.progress)

    def _weights(self, state: SearchState) -> torch.Tensor:
        return gumbel_gates(state.parameters, self._now(state), state.generator)

    def _probabilities(self, state: SearchState) -> torch.Tensor:
        """The probabilities, sharpened as the temperature falls."""
        log_probabilities = state.parameters.log_probabilities()
        return (log_probabilities / min(self._now(state), 1.0)).softmax(-1)
