"""The random weights of a network of blocks, the same in ONNX and in torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    from latprof.datasets.models.plans import LearntValues
    from latprof.datasets.models.steps import Layer

Array = NDArray[np.float32]

BATCH_NORM_EPSILON = 1e-5
_POOL_VALUES = 1 << 22
#: What a network's weights may be: an ONNX file holds 2 GiB.
_MOST_VALUES = 1 << 29
_NO_VALUES = np.empty(0, np.float32)


class WeightSource:
    """Random weights that keep the scale of activations (He et al. 2015), the same for one seed.

    Values are consecutive slices of one pool of standard normal numbers that begins again at its
    end; a seed chooses where they start.
    """

    def __init__(self, seed: int) -> None:
        self._pool = _normal_pool()
        self._next = int(np.random.default_rng(seed).integers(_POOL_VALUES))
        self._made = 0

    def normal(self, shape: Sequence[int], scale: float) -> Array:
        """Normal numbers with standard deviation ``scale``.

        Raises InvalidValueError for more in all than an ONNX file holds, before they are made.
        """
        count = math.prod(shape)
        self._made += count
        if min(shape, default=1) < 0 or self._made > _MOST_VALUES:
            raise InvalidValueError(
                "the network has no weights that can be made",
                expected=f"at most {_MOST_VALUES:,} values in all",
                got=f"{self._made:,}, the last of shape {tuple(shape)}",
            )
        pieces = [*self.pieces(count, scale)]
        values = pieces[0] if len(pieces) == 1 else np.concatenate([_NO_VALUES, *pieces])
        return values.reshape(shape)

    def pieces(self, count: int, scale: float) -> Iterator[Array]:
        """The next ``count`` normal numbers in pieces of bounded size, shape (m,) each."""
        while count > 0:
            values = self._pool[self._next : self._next + count]
            self._next = (self._next + len(values)) % _POOL_VALUES
            count -= len(values)
            yield values * np.float32(scale)

    def layer(self, layer: Layer) -> dict[str, Array]:
        """Weight of a convolution, and its bias or what :meth:`normalization` makes."""
        fan_in = layer.in_channels // layer.groups * layer.kernel**2
        deviation = math.sqrt(layer.weight_gain / fan_in)
        weights = {"weight": self.normal(layer.weight_shape, deviation)}
        if layer.bias:
            weights["bias"] = self.normal((layer.out_channels,), 0.1)
        if layer.normalized:
            weights.update(self.normalization(layer.out_channels))
        return weights

    def normalization(self, channels: int) -> dict[str, Array]:
        """Scale, shift, mean and variance of a normalisation."""
        shape = (channels,)
        return {
            "scale": 1.0 + np.clip(self.normal(shape, 0.1), -0.3, 0.3),
            "shift": self.normal(shape, 0.1),
            "mean": self.normal(shape, 0.1),
            "variance": 1.0 + np.clip(self.normal(shape, 0.1), -0.3, 0.3),
        }

    def learnt(self, values: LearntValues) -> Array:
        """A weight of a plan."""
        drawn = self.normal(values.shape, values.deviation)
        return drawn + np.float32(values.mean) if values.mean else drawn

    def linear(self, out_features: int, in_features: int) -> dict[str, Array]:
        """Weight and bias of the classifier."""
        return {
            "weight": self.normal((out_features, in_features), math.sqrt(1.0 / in_features)),
            "bias": self.normal((out_features,), 0.1),
        }


@lru_cache(maxsize=1)
def _normal_pool() -> Array:
    pool = np.random.default_rng(20190220).standard_normal(_POOL_VALUES, dtype=np.float32)
    pool.setflags(write=False)
    return pool


def fold_batch_norm(weights: dict[str, Array]) -> tuple[Array, Array]:
    """Return the weight and bias of the convolution that includes its normalisation."""
    factor = weights["scale"] / np.sqrt(weights["variance"] + np.float32(BATCH_NORM_EPSILON))
    folded = weights["weight"] * factor[:, None, None, None]
    return folded, weights["shift"] - weights["mean"] * factor
