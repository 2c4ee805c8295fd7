"""Rewards and losses that put latency into a search's objective."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from latprof.common.limits import ABOVE_0
from latprof.errors import InvalidValueError, UnknownNameError
from latprof.predictors.gradients.torch_latency import expected_latency

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["HARD", "SOFT", "expected_latency", "latency_regularizer", "mnas_reward"]

Form: TypeAlias = Literal["add#plain", "add#linear", "mul#log", "fbnet", "lightnas"]

#: MnasNet's exponents (Tan et al. 2019, section 3): soft constraint (below, above the target)...
SOFT = (-0.07, -0.07)
#: ... and hard constraint.
HARD = (0.0, -1.0)

#: Strength and exponent of each form of :func:`latency_regularizer`; None where there is no usual
#: one. ProxylessNAS's are those of its authors' code, FBNet's of its section 3.2.
_CONSTANTS: dict[str, tuple[float | None, float]] = {
    "add#plain": (None, 1.0),
    "add#linear": (0.1, 1.0),
    "mul#log": (0.2, 0.3),
    "fbnet": (0.2, 0.6),
    "lightnas": (None, 1.0),
}


def mnas_reward(
    accuracy: ArrayLike,
    latency_ms: ArrayLike,
    target_ms: float,
    exponents: tuple[float, float] = SOFT,
) -> NDArray[np.float64]:
    """MnasNet's objective ``ACC * (LAT / T) ** w`` (Tan et al., CVPR 2019, equations 2 and 3).

    An accuracy below 0, such as the negative of a loss, is divided by the power of the latency, not
    multiplied: what is slower is never better.

    Parameters
    ----------
    accuracy, latency_ms : array of shape (n,)
        Latency in milliseconds.
    target_ms : float
        The latency target T, in milliseconds.
    exponents : (float, float)
        ``w`` where the latency is at most T, and where it is above: :data:`SOFT` or :data:`HARD`.

    Returns
    -------
    array of shape (n,)
        The reward; larger is better.

    Raises
    ------
    InvalidValueError
        For latencies or a target not above 0.
    """
    # A reward teaches without gradients of its own: those of tensors are left behind.
    accuracy, latency_ms = (
        value.detach().cpu().numpy() if hasattr(value, "detach") else value
        for value in (accuracy, latency_ms)
    )
    latency = np.asarray(latency_ms, dtype=np.float64)
    if not 0 < target_ms < math.inf or not np.all((latency > 0) & np.isfinite(latency)):
        raise InvalidValueError("latencies and their target are above 0 ms")
    below, above = exponents
    exponent = np.where(latency <= target_ms, below, above)
    accuracies = np.asarray(accuracy, dtype=np.float64)
    factor = (latency / target_ms) ** exponent
    reward: NDArray[np.float64] = np.where(accuracies < 0, accuracies / factor, accuracies * factor)
    return reward


def latency_regularizer(
    loss: Any,
    latency_ms: Any,
    target_ms: float | None = None,
    *,
    form: Form = "mul#log",
    strength: Any = None,
    exponent: float | None = None,
    unit_ms: float = 1.0,
) -> Any:
    """Put an expected latency into a training loss; differentiable where the arguments are.

    ==============  ===================================================  =======================
    form            result                                               source; usual constants
    ==============  ===================================================  =======================
    ``add#plain``   ``loss + strength * LAT``                            ProxylessNAS, eq. 3
    ``add#linear``  ``loss + strength * (LAT - T) / T``                  its code; 0.1
    ``mul#log``     ``loss * strength * (log LAT / log T) ** exponent``  its code; 0.2, 0.3
    ``fbnet``       ``loss * strength * log(LAT) ** exponent``           FBNet, eq. 2; 0.2, 0.6
    ``lightnas``    ``loss + strength * (LAT / T - 1)``                  LightNAS
    ==============  ===================================================  =======================

    Weight decay (``lambda1 ||w||^2``) is the optimiser's.

    Parameters
    ----------
    loss : scalar, array or torch.Tensor
        The cross-entropy, say.
    latency_ms : the same
        The expected latency in milliseconds, as of :func:`expected_latency`.
    target_ms : float, optional
        T in milliseconds, for the forms that have one.
    form : str
        One of the table.
    strength, exponent : float, optional
        The constants; ``add#plain`` and ``lightnas`` have no default. Under ``lightnas`` the
        strength is a parameter that gradient *ascent* moves.
    unit_ms : float
        What LAT and T are counted in under a logarithm. Both must be above one unit: networks of
        less than a millisecond take a smaller one, 0.001 for microseconds.

    Returns
    -------
    scalar, array or torch.Tensor
        As ``loss + latency_ms`` would be.

    Raises
    ------
    InvalidValueError
        For an unknown form, a missing or impossible target or constant, and latencies whose
        logarithm is not above 0.
    """
    if form not in _CONSTANTS:
        raise UnknownNameError("form of the latency term", str(form), _CONSTANTS)
    default_strength, default_exponent = _CONSTANTS[form]
    strength = default_strength if strength is None else strength
    exponent = default_exponent if exponent is None else exponent
    if strength is None:
        raise InvalidValueError(f"{form} has no usual strength", field="strength")
    ABOVE_0.check("unit_ms", unit_ms)
    if form in {"add#linear", "mul#log", "lightnas"} and not (
        target_ms is not None and 0 < target_ms < math.inf
    ):
        raise InvalidValueError(
            f"{form} needs a target", field="target_ms", expected="milliseconds above 0"
        )
    if form == "add#plain":
        return loss + strength * latency_ms
    if form in {"add#linear", "lightnas"}:
        return loss + strength * (latency_ms - target_ms) / target_ms
    of_target = math.inf if target_ms is None or form == "fbnet" else target_ms
    least = min(_least(latency_ms), of_target)
    if not least > unit_ms:
        raise InvalidValueError(
            f"{form} takes the logarithm of a latency that is not above its unit",
            field="unit_ms",
            expected=f"above {unit_ms:g} ms",
            got=f"{least:g} ms",
            hint="count in a smaller unit: unit_ms=0.001 for microseconds",
        )
    logarithm = _log(latency_ms / unit_ms)
    if form == "mul#log":
        logarithm = logarithm / math.log(of_target / unit_ms)
    return loss * strength * logarithm**exponent


def _least(latency_ms: Any) -> float:
    """The least of a number, an array or a tensor, outside of any gradient."""
    values = latency_ms.detach().cpu().numpy() if hasattr(latency_ms, "detach") else latency_ms
    return float(np.min(values))


def _log(value: Any) -> Any:
    return value.log() if hasattr(value, "log") else np.log(value)
