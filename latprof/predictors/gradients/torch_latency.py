"""The expected latency of a fitted predictor as torch takes it, with gradients."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from latprof.common.extras import require
from latprof.errors import InvalidValueError
from latprof.predictors.gradients.expectation import predictor_expectation

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from latprof.predictors.base import Predictor

#: Modules of predictors by device and dtype, beside the calibration that each fit makes anew.
_MODULES: WeakKeyDictionary[Predictor, tuple[object, dict[object, Module]]]
_MODULES = WeakKeyDictionary()


def expected_latency(predictor: Predictor, probabilities: Tensor | Sequence[Tensor]) -> Tensor:
    """Expected latency in ms of independent decisions, differentiable.

    ``E[LAT] = sum_i sum_j p_ij F(o_ij)`` (ProxylessNAS, equation 2) for additive predictors,
    exact; so are tables over several decisions. For boosted trees it is a surrogate: what single
    decisions and pairs of them explain (:func:`surrogate_error` gives its error).

    Parameters
    ----------
    predictor : Predictor
        Fitted.
    probabilities : Tensor of shape (..., decisions, most candidates), or a sequence
        Each decision's probabilities sum to 1. Where a decision has fewer candidates than another
        the rest is padding: it has no influence, and its gradient is 0. One tensor of shape
        (..., candidates) for each decision is accepted too, as search codes hold them.

    Returns
    -------
    torch.Tensor of shape (...)

    Raises
    ------
    InvalidValueError
        For another shape, what is no tensor of floating-point numbers, or a predictor that is not
        fitted.
    CoverageError
        Where the predictor does not know a candidate.
    MissingDependencyError
        Where torch is not installed.
    """
    predictor.check_fitted()
    torch = _torch()
    if isinstance(probabilities, Sequence) and all(
        isinstance(each, torch.Tensor) for each in probabilities
    ):
        probabilities = _padded(predictor, probabilities)
    if not isinstance(probabilities, torch.Tensor) or not probabilities.is_floating_point():
        raise InvalidValueError(
            "probabilities are of the wrong kind",
            expected="a torch tensor of floating-point numbers",
            got=str(getattr(probabilities, "dtype", type(probabilities).__name__)),
        )
    kept = _MODULES.get(predictor)
    if kept is None or kept[0] is not predictor.calibration_:  # never asked, or fitted again
        kept = _MODULES[predictor] = predictor.calibration_, {}
    modules = kept[1]
    where = (probabilities.device, probabilities.dtype)
    if where not in modules:
        # Kept for later calls, which may want gradients where this one does not.
        outside_inference: AbstractContextManager[None] = torch.inference_mode(mode=False)
        with outside_inference:
            modules[where] = as_torch(predictor).to(*where)
    latency: Tensor = modules[where](probabilities)
    return latency


def as_torch(predictor: Predictor) -> Module:
    """A module that computes :func:`expected_latency`: buffers, no parameters.

    Single precision; move it to a device or to double precision like any module. Raises as
    :func:`expected_latency`.
    """
    _torch()
    from latprof.predictors.gradients.torch_expectation import ExpectedLatency

    module: Module = ExpectedLatency(predictor_expectation(predictor))
    return module


def surrogate_error(
    predictor: Predictor, draws: int = 50, samples: int = 2000, seed: int = 0
) -> float:
    """How far the expected latency is from the mean of sampled predictions, in percent of it.

    Root mean square over ``draws`` random distributions, each decision's drawn from a Dirichlet
    distribution of concentration 0.1 to 10, each sampled ``samples`` times. Sampling's own error is
    taken off, so that an exact expectation gives about 0. Raises as :func:`expected_latency`.
    """
    torch = _torch()
    generator = np.random.default_rng(seed)
    sizes = predictor.space.num_choices
    module = as_torch(predictor).double()
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


def _torch() -> Any:
    require("torch", "a differentiable latency")
    import torch

    return torch


def _padded(predictor: Predictor, rows: Sequence[Tensor]) -> Tensor:
    """One tensor of the probabilities of all decisions, zeros behind the shorter ones."""
    torch = _torch()
    sizes = predictor.space.num_choices.tolist()
    got = [tuple(row.shape)[-1:] for row in rows]
    if got != [(size,) for size in sizes]:
        raise InvalidValueError(
            "probabilities do not fit the space's decisions",
            expected=f"{len(sizes)} tensors of {', '.join(map(str, sizes))}",
            got=", ".join(str(size[0]) if size else "scalar" for size in got)[:200],
        )
    most = max(sizes)
    pad = torch.nn.functional.pad
    stacked: Tensor = torch.stack([pad(row, (0, most - row.shape[-1])) for row in rows], dim=-2)
    return stacked
