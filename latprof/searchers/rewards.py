"""Rewards and losses that put latency into a search's objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: MnasNet's exponents (Tan et al. 2019, section 3): soft constraint (below, above the target)...
SOFT = (-0.07, -0.07)
#: ... and hard constraint.
HARD = (0.0, -1.0)


def mnas_reward(
    accuracy: ArrayLike,
    latency_ms: ArrayLike,
    target_ms: float,
    exponents: tuple[float, float] = SOFT,
) -> NDArray[np.float64]:
    """MnasNet's objective ``ACC * (LAT / T) ** w`` (Tan et al., CVPR 2019, equations 2 and 3).

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
    latency = np.asarray(latency_ms, dtype=np.float64)
    if not target_ms > 0 or not np.all(latency > 0):
        raise InvalidValueError("latencies and their target are above 0 ms")
    below, above = exponents
    exponent = np.where(latency <= target_ms, below, above)
    reward: NDArray[np.float64] = np.asarray(accuracy) * (latency / target_ms) ** exponent
    return reward
