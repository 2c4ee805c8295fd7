"""Sums of table entries: what all additive predictors predict with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from latprof.predictors.features import SpaceTables
    from latprof.predictors.plain_data import Fields

Floats: TypeAlias = NDArray[np.float64]
Choices: TypeAlias = NDArray[np.uint8]

#: Architectures that are summed at once: their indices stay in the cache.
_CHUNK = 8192
#: Entries of a table joined over neighbouring positions, at most.
_JOINED_ENTRIES = 4096


@dataclass(frozen=True, eq=False)
class AdditiveTable:
    """Latency as ``intercept_ms + sum over positions of entries[position, choice]``.

    Parameters
    ----------
    intercept_ms : float
    entries_ms : array of shape (positions, candidates)
        NaN where there is no such candidate, or nothing is known of it.
    """

    intercept_ms: float
    entries_ms: Floats

    @cached_property
    def _joined(self) -> list[tuple[int, int, Floats]]:
        """Neighbouring positions joined into one table each: first and last position, entries.

        The index of an entry counts as a number whose digits are the choices. A gather from one
        table of 7 x 7 x 7 x 7 is far cheaper than four from tables of 7.
        """
        base = self.entries_ms.shape[1]
        joined: list[tuple[int, int, Floats]] = []
        start, total = 0, np.zeros(1)
        for position, entries in enumerate(self.entries_ms):
            if len(total) > 1 and len(total) * base > _JOINED_ENTRIES:
                joined.append((start, position, total))
                start, total = position, np.zeros(1)
            total = (total[:, None] + entries).ravel()
        joined.append((start, len(self.entries_ms), total))
        return joined

    def predict(self, choices: Choices) -> Floats:
        """Sum the entries of n architectures, shape (n,), in ms; NaN where one is not known."""
        base = self.entries_ms.shape[1]
        latency = np.full(len(choices), self.intercept_ms)
        for begin in range(0, len(choices), _CHUNK):
            columns = choices[begin : begin + _CHUNK].T.astype(np.intp, order="C")
            total = latency[begin : begin + _CHUNK]
            for start, stop, entries in self._joined:
                index = columns[start]
                for position in range(start + 1, stop):
                    index *= base
                    index += columns[position]
                total += entries.take(index)
        return latency

    def to_fields(self) -> dict[str, object]:
        """Return the table as plain values for JSON; NaN becomes null."""
        return {"intercept_ms": self.intercept_ms, "entries_ms": self.entries_ms}

    @classmethod
    def from_fields(
        cls, fields: Fields, tables: SpaceTables, *, whole: bool = True
    ) -> AdditiveTable:
        """Rebuild a table of a space; ``whole`` refuses one with entries missing.

        Raises PackError for another shape, or entries where the space has no candidate.
        """
        shape = (len(tables.num_choices), int(tables.num_choices.max()))
        entries = fields.array("entries_ms", shape, nullable=True)
        exists = np.isfinite(tables.padded(np.zeros(len(tables.positions))))
        known = np.isfinite(entries)
        if np.any(known & ~exists) or (whole and np.any(exists & ~known)):
            fields.wrong("entries_ms", "a number for each candidate of the space")
        if np.any(np.abs(entries[known]) > 1e12):
            fields.wrong("entries_ms", "milliseconds")
        return cls(fields.number("intercept_ms", -1e12, 1e12), entries)
