"""Accuracies and latencies that are known for whole architectures, as sources for a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latprof.errors import CoverageError, InvalidValueError

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, SearchSpace

Floats: TypeAlias = NDArray[np.float64]


class ArchitectureTable:
    """One value for each of n architectures; where a network is named twice, their mean.

    Parameters
    ----------
    space : SearchSpace
    architectures : sequence of Architecture, or integer array of shape (n, decisions)
    values : array of shape (n,)
        All finite.

    Raises
    ------
    InvalidValueError
        For lengths that differ, values that are not finite, or architectures of another space.
    """

    def __init__(
        self,
        space: SearchSpace,
        architectures: Sequence[Architecture] | NDArray[Any],
        values: ArrayLike,
    ) -> None:
        self._space = space
        rows = space.canonical(space.choices(architectures))
        numbers = np.asarray(values, dtype=np.float64)
        if numbers.shape == (len(rows),) and not np.all(np.isfinite(numbers)):
            first = int(np.flatnonzero(~np.isfinite(numbers))[0])
            raise InvalidValueError(
                "a value of the table is not finite", got=f"{numbers[first]} in row {first + 1}"
            )
        if numbers.shape != (len(rows),) or not len(rows):
            raise InvalidValueError(
                "a table has one finite value for each architecture",
                expected=f"shape ({len(rows)},), at least one",
                got=f"shape {numbers.shape}",
            )
        self._rows, inverse = np.unique(rows, axis=0, return_inverse=True)
        self._values = np.bincount(inverse.ravel(), numbers) / np.bincount(inverse.ravel())
        self._keys = _keys(self._rows)

    @property
    def space(self) -> SearchSpace:
        """The space of the architectures."""
        return self._space

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def choices(self) -> NDArray[np.uint8]:
        """The architectures it knows, shape (n, decisions), each once."""
        return self._rows

    @property
    def values(self) -> Floats:
        """Their values, shape (n,)."""
        return self._values

    def __call__(self, architectures: Sequence[Architecture] | NDArray[Any]) -> Floats:
        """Values of n architectures, shape (n,): an accuracy source.

        Raises CoverageError for architectures that are not in the table.
        """
        asked = self._space.canonical(self._space.choices(architectures))
        keys = _keys(asked)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        unknown = np.flatnonzero(self._keys[places] != keys)
        if len(unknown):
            names = [str(a) for a in self._space.architectures(asked[unknown[:5]])]
            raise CoverageError(
                f"{len(unknown)} of {len(asked)} architectures are not in the table, "
                f"{names[0]} for one",
                names,
            )
        return self._values[places]


class LatencyTable(ArchitectureTable):
    """Measured latencies in milliseconds as a latency source: what a perfect predictor would say.

    Parameters and errors as of :class:`ArchitectureTable`.
    """

    def predict(
        self,
        architectures: Sequence[Architecture] | NDArray[Any],
        *,
        upper: float | None = None,  # noqa: ARG002 - the contract's; what is known has no bound
    ) -> Floats:
        """The latencies of n architectures in milliseconds, shape (n,); ``upper`` adds nothing."""
        return self(architectures)


def _keys(choices: NDArray[np.uint8]) -> NDArray[Any]:
    """Rows as one value each that sorts as the rows do."""
    packed = np.ascontiguousarray(choices)
    return packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
