"""The probabilities that differentiable searches learn, and how gates are drawn; needs torch."""

# mypy: disable-error-code="misc"

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from latprof.searchers.supernets.supernet import Mixture

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Choices, SearchSpace


class ArchitectureParameters(nn.Module):
    """One logit for each candidate of each decision; softmax makes them probabilities.

    Candidates can be pruned: they have probability 0 from then on.

    Parameters
    ----------
    space : SearchSpace
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        sizes = torch.tensor(space.num_choices)
        most = int(sizes.max())
        self.logits = nn.Parameter(torch.zeros(len(sizes), most))
        exist = torch.arange(most) < sizes[:, None]
        self.register_buffer("exist", exist, persistent=False)
        self.register_buffer("alive", exist.clone())

    def living_logits(self) -> torch.Tensor:
        """The logits, shape (decisions, most candidates); padding and pruned ones are far below."""
        masked: torch.Tensor = self.logits.masked_fill(~self.alive, -1e9)
        return masked

    def log_probabilities(self) -> torch.Tensor:
        """Logarithms of the probabilities, shape (decisions, most candidates)."""
        return self.living_logits().log_softmax(-1)

    def probabilities(self) -> torch.Tensor:
        """Probabilities, shape (decisions, most candidates); padding and pruned ones are 0."""
        return self.log_probabilities().exp()

    def sample(self, generator: torch.Generator) -> torch.Tensor:
        """Draw one candidate of each decision, shape (decisions,)."""
        with torch.no_grad():
            return torch.multinomial(self.probabilities(), 1, generator=generator)[:, 0]

    def most_probable(self) -> Choices:
        """The most probable candidate of each decision, shape (decisions,)."""
        with torch.no_grad():
            best: Choices = self.log_probabilities().argmax(-1).numpy().astype(np.uint8)
        return best

    def prune(self, latency_ms: torch.Tensor, ratio: float) -> int:
        """Drop dominated candidates: another is at least as fast and ``1 / ratio`` as probable.

        Parameters
        ----------
        latency_ms : torch.Tensor of shape (decisions, most candidates)
            Of the network with this candidate in place of the present one.
        ratio : float

        Returns
        -------
        int
            How many were dropped.
        """
        with torch.no_grad():
            p = self.probabilities()
            faster = latency_ms[:, None, :] <= latency_ms[:, :, None]
            likelier = ratio * p[:, None, :] > p[:, :, None]
            dominated = (faster & likelier & self.alive[:, None, :]).any(-1) & self.alive
            self.alive &= ~dominated
        return int(dominated.sum())


def two_path_gates(
    parameters: ArchitectureParameters, generator: torch.Generator
) -> tuple[list[Mixture], torch.Tensor]:
    """Draw two candidates of each decision and one of these as active (ProxylessNAS, section 3.2).

    Forward the gates are binary; backward ``dL/dalpha_i = sum_j dL/dg_j p_j (delta_ij - p_i)`` over
    the two, whose probabilities are scaled to sum to 1.

    Returns
    -------
    list of Mixture
        One a decision.
    torch.Tensor of shape (decisions, most candidates)
        The probabilities with gradients only between the two: what an expected latency is made of.
    """
    p = parameters.probabilities()
    # Where one candidate is left the second is any other, with probability 0.
    drawable = p.detach() + 1e-12 * parameters.alive
    pairs = torch.multinomial(drawable + 1e-30 * parameters.exist, 2, generator=generator)
    rows = torch.arange(len(pairs))[:, None]
    # Of the logits, so that other candidates' gradients are 0 and no remainder that Adam enlarges.
    within = parameters.living_logits()[rows, pairs].softmax(-1)
    active = torch.multinomial(within.detach() + 1e-30, 1, generator=generator)
    binary = torch.zeros_like(within).scatter(1, active, 1.0)
    gates = binary + (within - within.detach())  # the difference is exactly 0
    shared = p.detach().clone()
    shared = shared.scatter(1, pairs, p.detach()[rows, pairs].sum(1, keepdim=True) * within)
    paths = [
        Mixture((int(pair[0]), int(pair[1])), gate)
        for pair, gate in zip(pairs, gates.unbind(0), strict=True)
    ]
    return paths, shared


def rescale_pairs(
    parameters: ArchitectureParameters, paths: list[Mixture], before: torch.Tensor
) -> None:
    """Shift the logits of each updated pair so that all other candidates keep their probability.

    Parameters
    ----------
    parameters, paths
        After the update; the pairs of :func:`two_path_gates`.
    before : torch.Tensor
        The logits before the update.
    """
    pairs = torch.tensor([path.candidates for path in paths])
    rows = torch.arange(len(pairs))[:, None]
    with torch.no_grad():
        change = before[rows, pairs].logsumexp(1) - parameters.logits[rows, pairs].logsumexp(1)
        parameters.logits[rows, pairs] += change[:, None]


def gumbel_gates(
    parameters: ArchitectureParameters, temperature: float, generator: torch.Generator
) -> torch.Tensor:
    """Draw Gumbel-softmax weights, shape (decisions, most candidates) (FBNet, equation 5)."""
    uniform = torch.rand(parameters.logits.shape, generator=generator).clamp(1e-9, 1 - 1e-9)
    noise = -(-uniform.log()).log()
    noisy: torch.Tensor = (parameters.log_probabilities() + noise) / temperature
    return noisy.masked_fill(~parameters.alive, -1e9).softmax(-1)
