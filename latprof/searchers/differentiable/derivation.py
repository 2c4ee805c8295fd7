"""From probabilities to one network that keeps the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latprof.errors import InvalidValueError
from latprof.searchers.sampling import neighbours

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Choices
    from latprof.searchers.base import Floats, SearchProblem


def derive(problem: SearchProblem, log_probabilities: Floats, *, near: float = 0.0) -> Choices:
    """The most probable network that keeps the limit, as single changes find it; (decisions,).

    From the most probable network of all, the change that costs least probability for the latency
    that it saves, until the limit holds; then changes that raise the probability while it holds.

    Parameters
    ----------
    problem : SearchProblem
    log_probabilities : array of shape (decisions, most candidates)
    near : float
        Above 0: the network shall also take at least ``1 - near`` of the limit, where changes lead
        there.

    Raises
    ------
    InvalidValueError
        Where changes lead to no network within the limit.
    """
    rows = np.arange(len(log_probabilities))
    network: Choices = log_probabilities.argmax(axis=1).astype(np.uint8)

    def score(choices: Choices) -> Floats:
        total: Floats = log_probabilities[rows, choices].sum(axis=-1)
        return total

    bound = float(problem.bound_ms(network[None])[0])
    while bound > problem.limit_ms:
        around = neighbours(problem.space, network)
        bounds = problem.bound_ms(around)
        faster = bounds < bound
        if not faster.any():
            raise InvalidValueError(
                f"no network within {problem.limit_ms:g} ms is near the one that was found",
                field="limit_ms",
                got=f"{bound:.3f} ms",
            )
        around, bounds = around[faster], bounds[faster]
        # No more is saved than what is asked for.
        saved = bound - np.maximum(bounds, problem.limit_ms)
        cost = np.maximum(score(network) - score(around), 1e-9)
        best = int(np.argmin(cost / saved))
        network, bound = around[best], float(bounds[best])
    network = _improved(problem, network, score)
    if near and np.isfinite(problem.limit_ms):
        network = _fill(problem, network, score, near)
    return network


def _improved(problem: SearchProblem, network: Choices, score: object) -> Choices:
    """Climb to more probable networks within the limit."""
    assert callable(score)
    while True:
        around = neighbours(problem.space, network)
        inside = around[problem.keeps_limit(around)]
        if not len(inside):
            return network
        best = inside[int(np.argmax(score(inside)))]
        if score(best) <= score(network):
            return network
        network = best


def _fill(problem: SearchProblem, network: Choices, score: object, near: float) -> Choices:
    """Add latency where it costs least probability, until the limit is nearly used up."""
    assert callable(score)
    least = (1 - near) * problem.limit_ms
    latency = float(problem.latency_ms(network[None])[0])
    while latency < least:
        around = neighbours(problem.space, network)
        latencies, bounds = problem.latency_ms(around), problem.bound_ms(around)
        useful = (latencies > latency) & (bounds <= problem.limit_ms)
        if not useful.any():
            return _exchanged(problem, network, score, least)
        around, latencies = around[useful], latencies[useful]
        gain = np.minimum(latencies, least) - latency
        cost = np.maximum(score(network) - score(around), 1e-9)
        best = int(np.argmin(cost / gain))
        network, latency = around[best], float(latencies[best])
    return network


def _exchanged(problem: SearchProblem, network: Choices, score: object, least: float) -> Choices:
    """Two changes at once that use the limit up, the most probable; or the network as it is."""
    assert callable(score)
    once = neighbours(problem.space, network)
    twice = np.unique(np.concatenate([neighbours(problem.space, row) for row in once]), axis=0)
    inside = (problem.latency_ms(twice) >= least) & problem.keeps_limit(twice)
    if not inside.any():
        return network
    fitting = twice[inside]
    best: Choices = fitting[int(np.argmax(score(fitting)))]
    return best
