"""Expected latency of independent decisions, differentiable in their probabilities.

``E[LAT] = sum_i sum_j p_ij F(o_ij)`` for a table (ProxylessNAS, Cai, Zhu, Han, ICLR 2019, equation
2); for tables over several decisions the same with the product of their probabilities. Both are
exact. Boosted trees have no such sum that is cheap: they are replaced by the part of them that
single decisions and pairs of decisions explain, computed exactly for uniform choices. What that
leaves out is :func:`surrogate_error`, against sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.errors import CoverageError, InvalidValueError, MissingDependencyError

if TYPE_CHECKING:
    import torch

    from latprof.predictors.base import Predictor, Terms
    from latprof.predictors.fitting.factors import Factor

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

#: Candidates of all decisions up to which pairs of them are held: half a GiB.
_MOST_CANDIDATES = 8192


@dataclass(frozen=True, eq=False)
class Expectation:
    """Expected latency as a polynomial in the probabilities.

    Parameters
    ----------
    intercept_ms : float
    linear_ms : array of shape (decisions, candidates)
        0 where a decision has fewer candidates.
    pairs_ms : array of shape (decisions * candidates, decisions * candidates), or None
        Symmetric, 0 within a decision: half of what each pair of choices adds.
    products : sequence of (decisions, tables)
        Factors of several decisions with tables of the same shape: decisions of shape (factors, k),
        tables of shape (factors, size, ..., size).
    exact : bool
        Whether the predictor is this polynomial, so that nothing is left out.
    """

    intercept_ms: float
    linear_ms: Floats
    pairs_ms: Floats | None
    products: Sequence[tuple[Integers, Floats]]
    exact: bool


def expectation_of(terms: Terms, num_choices: Sequence[int]) -> Expectation:
    """The expectation of a sum of factors and trees.

    Raises CoverageError for entries not known, and InvalidValueError for trees in a space of more
    candidates than pairs of them can be held.
    """
    intercept_ms, trees = terms.intercept_ms, terms.trees
    shape = (len(num_choices), max(num_choices))
    linear = np.zeros(shape)
    products: dict[tuple[int, ...], list[Factor]] = {}
    for factor in terms.factors:
        if np.isnan(factor.table_ms).any():
            gaps = int(np.isnan(factor.table_ms).sum())
            raise CoverageError(
                f"the table lacks {gaps} entries of decisions {factor.decisions}, so an "
                "expectation over them is not known",
                [str(factor.decisions)],
                hint="measure architectures that have them, or use the hybrid predictor",
            )
        if len(factor.decisions) == 1:
            linear[factor.decisions[0], : factor.table_ms.size] += factor.table_ms
        else:
            products.setdefault(factor.table_ms.shape, []).append(factor)
    pairs = None
    if trees is not None and len(trees) and linear.size > _MOST_CANDIDATES:
        raise InvalidValueError(
            "the space has too many candidates for an expectation over pairs of them",
            expected=f"at most {_MOST_CANDIDATES:,}",
            got=f"{linear.size:,}",
            hint="use an additive predictor",
        )
    if trees is not None and (len(trees) or trees.base_ms):
        level, singles, doubles = trees.effects()
        intercept_ms += level
        owners, starts = trees.tables.owners, trees.tables.starts
        slots = owners * shape[1] + np.arange(len(owners)) - starts[owners]
        linear.reshape(-1)[slots] += singles
        pairs = np.zeros((linear.size, linear.size))
        pairs[np.ix_(slots, slots)] = doubles / 2
    grouped = [
        (np.array([f.decisions for f in group]), np.stack([f.table_ms for f in group]))
        for group in products.values()
    ]
    return Expectation(intercept_ms, linear, pairs, grouped, exact=pairs is None)


def check_probabilities(probabilities: object) -> None:
    """Raise InvalidValueError for what is no tensor of floats, and as :func:`torch_module` does."""
    torch = _torch()
    if not isinstance(probabilities, torch.Tensor) or not probabilities.is_floating_point():
        raise InvalidValueError(
            "probabilities are of the wrong kind",
            expected="a torch tensor of floating-point numbers",
            got=str(getattr(probabilities, "dtype", type(probabilities).__name__)),
        )


def outside_inference() -> AbstractContextManager[None]:
    """A context whose tensors can take part in gradients, whatever mode it is entered in."""
    context: AbstractContextManager[None] = _torch().inference_mode(mode=False)
    return context


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise MissingDependencyError("torch", "torch", "a differentiable latency") from None
    return torch


def torch_module(expectation: Expectation) -> torch.nn.Module:
    """A module from probabilities, shape (..., decisions, candidates), to ms, shape (...).

    Single precision; move it to a device or to double precision like any module. It has buffers and
    no parameters. Raises MissingDependencyError where torch is not installed.
    """
    _torch()
    from latprof.predictors.gradients.torch_expectation import ExpectedLatency

    module: torch.nn.Module = ExpectedLatency(expectation)
    return module


def surrogate_error(
    predictor: Predictor, draws: int = 50, samples: int = 2000, seed: int = 0
) -> float:
    """How far the expected latency is from the mean of sampled predictions, in percent of it.

    Root mean square over ``draws`` random distributions, each decision's drawn from a Dirichlet
    distribution of concentration 0.1 to 10, each sampled ``samples`` times. Sampling's own error is
    taken off, so that an exact expectation gives about 0. Raises as
    :meth:`~latprof.predictors.base.Predictor.expected_latency`.
    """
    torch = _torch()
    generator = np.random.default_rng(seed)
    sizes = predictor.space.num_choices
    module = predictor.as_torch().double()
    squared, scale = [], []
    for _ in range(draws):
        concentration = 10.0 ** generator.uniform(-1, 1)
        probabilities = np.zeros((len(sizes), int(sizes.max())))
        choices = np.zeros((samples, len(sizes)), dtype=np.uint8)
        for decision, size in enumerate(sizes.tolist()):
            drawn = generator.dirichlet(np.full(size, concentration))
            probabilities[decision, :size] = drawn
            choices[:, decision] = generator.choice(size, samples, p=drawn)
        sampled = predictor.predict(choices)
        expected = float(module(torch.from_numpy(probabilities)))
        squared.append((expected - sampled.mean()) ** 2 - sampled.var(ddof=1) / samples)
        scale.append(sampled.mean())
    return 100 * float(np.sqrt(max(np.mean(squared), 0.0)) / np.mean(scale))
