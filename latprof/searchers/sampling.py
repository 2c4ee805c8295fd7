"""Networks drawn at random, those that keep a limit, and those a decision apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latprof.errors import UnreachableLimitError

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Choices, SearchSpace
    from latprof.searchers.base import SearchProblem

#: Times that random architectures are drawn again because a constraint excludes them.
_REDRAWS = 50
#: Random architectures that are looked at for some that keep a limit.
_DRAWS = 50_000
#: Ways down to a limit that no random architecture keeps.
_DESCENTS = 20


def sample_within(problem: SearchProblem, n: int, generator: np.random.Generator) -> Choices:
    """Draw architectures that keep the limit, shape (1 to ``n``, decisions), repeats included.

    Each decision is drawn uniformly and what exceeds the limit is drawn again, at most 50,000
    times in all. Where none of these keeps it, single changes lead from some of them to faster
    ones. Raises UnreachableLimitError, with the least bound seen, where that does not help either.
    """
    kept: list[Choices] = []
    found, drawn = 0, 0
    while found < n and drawn < _DRAWS:
        size = max(256, 2 * (n - found))
        choices = random_choices(problem.space, size, generator)
        inside = problem.keeps_limit(choices)
        kept.append(choices[inside])
        found, drawn = found + int(inside.sum()), drawn + size
    if not found:
        ends = np.array([_fastest_near(problem, row) for row in choices[: min(n, _DESCENTS)]])
        kept.append(ends[problem.keeps_limit(ends)])
        if not len(kept[-1]):
            raise UnreachableLimitError(
                f"no architecture was found that keeps {problem.limit_ms:g} ms",
                field="limit_ms",
                got=f"{problem.bound_ms(ends).min():.3f} ms at best",
            )
    return np.concatenate(kept)[:n]


def random_choices(space: SearchSpace, n: int, generator: np.random.Generator) -> Choices:
    """Draw ``n`` architectures, shape (n, decisions), each decision uniformly, repeats included.

    What is not allowed is drawn again, and after so many times it is a copy of what is.
    """

    def drawn(size: int) -> Choices:
        uniform = generator.random((size, len(space.num_choices))) * space.num_choices
        return space.canonical(uniform.astype(np.uint8))

    rows = drawn(n)
    outside = ~space.allowed(rows)
    for _ in range(_REDRAWS):
        if not outside.any():
            return rows
        rows[outside] = drawn(int(outside.sum()))
        outside = ~space.allowed(rows)
    inside = rows[~outside]
    if len(inside):
        rows[outside] = inside[generator.integers(len(inside), size=int(outside.sum()))]
    elif (some := space.completed({})) is not None:
        rows[:] = some
    return rows


def neighbours(space: SearchSpace, network: Choices) -> Choices:
    """All allowed networks a decision apart from one, shape (decisions,): (n, decisions)."""
    sizes = space.num_choices.tolist()
    rows = np.repeat(network[None], sum(sizes), axis=0)
    decisions = np.repeat(np.arange(len(sizes)), sizes)
    rows[np.arange(len(rows)), decisions] = np.concatenate([np.arange(size) for size in sizes])
    rows = np.unique(space.canonical(rows), axis=0)
    others: Choices = rows[(rows != network).any(axis=1) & space.allowed(rows)]
    return others


def _fastest_near(problem: SearchProblem, network: Choices) -> Choices:
    """Where single changes to ever faster networks lead, or the first that keeps the limit."""
    bound = float(problem.bound_ms(network[None])[0])
    while bound > problem.limit_ms:
        around = neighbours(problem.space, network)
        bounds = problem.bound_ms(around)
        best = int(np.argmin(bounds)) if len(bounds) else -1
        if best < 0 or bounds[best] >= bound:
            break
        network, bound = around[best], float(bounds[best])
    return network
