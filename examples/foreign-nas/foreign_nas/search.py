"""The training loop, and how a network is derived under a limit."""

import sys

import numpy as np
import torch
from torch.nn import functional

from foreign_nas.images import CLASSES, gratings
from foreign_nas.supernet import Supernet
from latprof import Predictor
from latprof.searchers import expected_latency, latency_regularizer

BATCH = 32


def train(predictor: Predictor, limit_ms: float, *, steps: int) -> Supernet:
    """Train weights and decisions in turn; decisions rest for the first third of the steps.

    What this loop gains from latprof are two calls: the expected latency of the probabilities, and
    the loss with it. The limit is met from both sides: left alone, a search this short prefers
    shallow networks, which learn sooner.
    """
    net = Supernet(predictor.space.candidates, CLASSES)
    decisions = list(net.alphas)
    weights = [p for name, p in net.named_parameters() if not name.startswith("alphas")]
    by_weights = torch.optim.SGD(weights, lr=0.1, momentum=0.9, weight_decay=4e-5)
    by_decisions = torch.optim.Adam(decisions, lr=0.1, betas=(0.5, 0.999))
    for step in range(steps):
        images, labels = gratings(BATCH, seed=2 * step)
        loss = functional.cross_entropy(net.sampled(images), labels)
        by_weights.zero_grad()
        loss.backward(inputs=weights)
        by_weights.step()

        expected_ms = expected_latency(predictor, net.probabilities())
        if step % 20 == 0 or step == steps - 1:
            line = f"step {step:4}  loss {loss.item():.3f}  E[LAT] {expected_ms.item():.3f} ms"
            print(line, file=sys.stderr)
        if 3 * step < steps:
            continue
        images, labels = gratings(BATCH, seed=2 * step + 1)
        loss = functional.cross_entropy(net.sampled(images), labels)
        missed_ms = limit_ms + (expected_ms - limit_ms).abs()
        loss = latency_regularizer(loss, missed_ms, limit_ms, form="add#linear", strength=2.0)
        by_decisions.zero_grad()
        loss.backward(inputs=decisions)
        by_decisions.step()
    return net


@torch.no_grad()
def derive(net: Supernet, predictor: Predictor, limit_ms: float) -> np.ndarray:
    """Choices of the most probable drawn network that keeps the limit 95 times in 100.

    Shape (decisions,). Raises SystemExit where no drawn network keeps the limit.
    """
    probabilities = net.probabilities()
    drawn = torch.stack([p.multinomial(4096, replacement=True) for p in probabilities], 1)
    drawn[0] = torch.stack([p.argmax() for p in probabilities])
    bound_ms = predictor.predict(drawn.numpy(), upper=0.95)
    if bound_ms.min() > limit_ms:
        raise SystemExit(
            f"no network keeps {limit_ms:g} ms; the least bound is {bound_ms.min():.3f}"
        )
    scores = sum(p.log()[drawn[:, d]] for d, p in enumerate(probabilities)).numpy()
    return drawn[np.where(bound_ms <= limit_ms, scores, -np.inf).argmax()].numpy()


@torch.no_grad()
def accuracy(net: Supernet, choices: np.ndarray) -> float:
    """Share of fresh images that the chosen network tells apart, with the supernet's weights."""
    images, labels = gratings(512, seed=10**6)
    return float((net(images, choices.tolist()).argmax(-1) == labels).float().mean())
