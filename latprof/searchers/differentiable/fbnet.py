"""FBNet's differentiable search (Wu et al., CVPR 2019): Gumbel softmax over all paths.

Needs torch.
"""

# mypy: disable-error-code="misc"

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from latprof.common.limits import POSITIVE
from latprof.predictors.gradients.torch_latency import expected_latency
from latprof.searchers.differentiable.architecture_parameters import gumbel_gates
from latprof.searchers.differentiable.gradient_search import DifferentiableSearcher
from latprof.searchers.rewards import latency_regularizer
from latprof.searchers.supernets.supernet import Mixture
from latprof.searchers.supernets.supernet import Path as Gates

if TYPE_CHECKING:
    from latprof.searchers.differentiable.gradient_search import SearchState


@dataclass(eq=False, repr=False)
class FBNetSearch(DifferentiableSearcher):
    """Every candidate runs, weighted by a Gumbel softmax whose temperature falls.

    The loss is ``CE * strength * log(LAT) ** exponent``, LAT in microseconds: it has no target, and
    the limit only says which network is derived. Each step takes the memory of all paths.

    Parameters
    ----------
    task : ImageTask
    strength, exponent : float
        ``alpha`` and ``beta`` of the paper.
    temperature : float
        At the start; at the end it is ``exp(-0.045 * 90)`` of it, the paper's after 90 epochs.
    **options
        As of :class:`~latprof.searchers.differentiable.gradient_search.DifferentiableSearcher`.
    """

    name = "fbnet"
    limits: ClassVar = {**DifferentiableSearcher.limits, "temperature": POSITIVE}
    _: KW_ONLY
    strength: float = 0.2
    exponent: float = 0.6
    temperature: float = 5.0

    def weight_gates(self, state: SearchState) -> list[Gates]:
        with torch.no_grad():
            return self._mixtures(state, self._gates(state))

    def architecture_loss(
        self, state: SearchState, images: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        gates = self._gates(state)
        logits = state.supernet(images, self._mixtures(state, gates))
        loss = torch.nn.functional.cross_entropy(logits, labels)
        expected = expected_latency(state.predictor, gates)
        result: torch.Tensor = latency_regularizer(
            loss,
            expected,
            form="fbnet",
            strength=self.strength,
            exponent=self.exponent,
            unit_ms=1e-3,
        )
        return result

    def _gates(self, state: SearchState) -> torch.Tensor:
        now = self.temperature * torch.tensor(-0.045 * 90 * state.progress).exp().item()
        return gumbel_gates(state.parameters, now, state.generator)

    @staticmethod
    def _mixtures(state: SearchState, gates: torch.Tensor) -> list[Gates]:
        alive = state.parameters.alive
        found: list[Gates] = []
        for row, living in zip(gates, alive, strict=True):
            kept = living.nonzero()[:, 0]
            found.append(Mixture(tuple(kept.tolist()), row[kept]))
        return found
