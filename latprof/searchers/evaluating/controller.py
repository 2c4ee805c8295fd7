"""The recurrent controller of a search by reinforcement; needs torch."""

# mypy: disable-error-code="misc"

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.datasets.spaces.base import Choices, SearchSpace

#: Of proximal policy optimisation: clipped ratio, and passes over one batch.
_CLIP = 0.2
_PASSES = 5
#: Share of the old baseline that a batch leaves.
_BASELINE_KEPT = 0.9


class Controller:
    """An LSTM with one softmax a decision, which sees the choice made before (NASNet's, MnasNet's).

    Decisions that do not matter in an architecture have no part in its probability.

    Parameters
    ----------
    space : SearchSpace
    hidden : int
    learning_rate, entropy : float
    seed : int
    """

    def __init__(
        self, space: SearchSpace, *, hidden: int, learning_rate: float, entropy: float, seed: int
    ) -> None:
        self._space = space
        self._entropy = entropy
        self._generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.policy = Policy(space.num_choices.tolist(), hidden)
        self._optimizer = torch.optim.Adam(self.policy.parameters(), lr=learning_rate)
        self._baseline: float | None = None
        self._scale = 1.0

    def sample(self, n: int) -> Choices:
        """Draw ``n`` architectures, shape (n, decisions)."""
        with torch.no_grad():
            choices = self.policy.sample(n, self._generator)
        return self._space.canonical(choices.numpy().astype(np.uint8))

    def learn(self, choices: Choices, rewards: NDArray[np.float64]) -> None:
        """Make architectures likelier by how far their rewards, shape (n,), are above the usual."""
        advantage = torch.from_numpy(self._advantages(rewards)).float()
        taken = torch.from_numpy(choices.astype(np.int64))
        matters = torch.from_numpy(self._space.active(choices)).float()
        with torch.no_grad():
            before = (self.policy(taken)[0] * matters).sum(1)
        for _ in range(_PASSES):
            log_probability, entropy = self.policy(taken)
            ratio = ((log_probability * matters).sum(1) - before).exp()
            clipped = ratio.clamp(1 - _CLIP, 1 + _CLIP)
            gain = torch.minimum(ratio * advantage, clipped * advantage).mean()
            curiosity = (entropy * matters).sum(1).mean()
            self._optimizer.zero_grad()
            (-gain - self._entropy * curiosity).backward()
            nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
            self._optimizer.step()

    def _advantages(self, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rewards above the moving baseline, in units of their moving spread."""
        mean, spread = float(rewards.mean()), float(rewards.std())
        if self._baseline is None:
            self._baseline, self._scale = mean, spread
        advantages = (rewards - self._baseline) / max(self._scale, 1e-6 * abs(mean), 1e-12)
        kept = _BASELINE_KEPT
        self._baseline = kept * self._baseline + (1 - kept) * mean
        self._scale = kept * self._scale + (1 - kept) * spread
        return np.clip(advantages, -5.0, 5.0)


class Policy(nn.Module):
    """Probabilities of decisions, one after the other.

    Parameters
    ----------
    sizes : list of int
        Candidates of each decision.
    hidden : int
    """

    def __init__(self, sizes: list[int], hidden: int) -> None:
        super().__init__()
        most = max(sizes)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.start = nn.Parameter(0.1 * torch.randn(hidden))
        self.embeddings = nn.Parameter(torch.randn(len(sizes), most, hidden))
        # Uniform at first; where a decision has fewer candidates the rest is never drawn.
        self.heads = nn.Parameter(torch.zeros(len(sizes), hidden, most))
        padding = torch.arange(most) >= torch.tensor(sizes)[:, None]
        self.register_buffer("bias", torch.zeros(padding.shape).masked_fill(padding, -1e9))

    def forward(self, choices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of choices, and entropies, shape (n, decisions) both."""
        before = self.embeddings[torch.arange(choices.shape[1] - 1), choices[:, :-1]]
        inputs = torch.cat([self.start.expand(len(choices), 1, -1), before], dim=1)
        outputs, _ = self.lstm(inputs)
        logits = torch.einsum("ndh,dhc->ndc", outputs, self.heads) + self.bias
        logits = logits.log_softmax(-1)
        entropy = -(logits.exp() * logits).sum(-1)
        return logits.gather(2, choices[:, :, None])[:, :, 0], entropy

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Draw choices, shape (n, decisions)."""
        drawn: list[torch.Tensor] = []
        state, value = None, self.start.expand(n, 1, -1)
        for head, bias, embeddings in zip(self.heads, self.bias, self.embeddings, strict=True):
            output, state = self.lstm(value, state)
            logits = output[:, 0] @ head + bias
            drawn.append(torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0])
            value = embeddings[drawn[-1]][:, None]
        return torch.stack(drawn, 1)
