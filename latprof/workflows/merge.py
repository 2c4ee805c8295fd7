"""Joining the stores of several hosts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.extras import needs
from latprof.common.files import path_text
from latprof.common.short_reprs import ShortRepr
from latprof.errors import UsageError

if TYPE_CHECKING:
    from latprof.workflows.arguments import PathLike


@dataclass(frozen=True, repr=False)
class MergeResult(ShortRepr):
    """A store that was made of others.

    Parameters
    ----------
    path : Path
    stores : int
        How many were joined.
    targets, networks, visits : int
        In the new store; visits with those that failed or were disturbed.
    visits_in_several : int
        Visits that more than one store held; each is there once.
    notes : tuple of str
        Constants in which the stores differ.
    """

    path: Path
    stores: int
    targets: int
    networks: int
    visits: int
    visits_in_several: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**vars(self), "path": str(self.path), "notes": list(self.notes)}


@needs("collect", "sqlalchemy")
def merge(stores: Sequence[PathLike], output: PathLike) -> MergeResult:
    """Write what several stores hold into a new one, each visit once.

    Parameters
    ----------
    stores : sequence of path or URL
        At least two; they are only read.
    output : path
        A new file.

    Raises
    ------
    UsageError
        For fewer than two stores.
    OutputPathError
        Where ``output`` is there already, or cannot be written.
    StoreError
        For a store that is none, or is damaged (``latprof doctor STORE`` says where); nothing is
        written then.
    TargetMismatchError
        Where two stores have one target with different reference networks.
    """
    from latprof.measurement.store.merging import merge_stores

    stores = [stores] if isinstance(stores, str | os.PathLike) else list(stores)
    if len(stores) < 2:
        raise UsageError("at least two stores are joined", field="stores", got=str(len(stores)))
    to = Path(path_text(output, "output"))
    counts = merge_stores([path_text(store, "stores") for store in stores], to)
    return MergeResult(
        path=to,
        stores=len(stores),
        targets=counts.added.get("targets", 0),
        networks=counts.added.get("subjects", 0),
        visits=counts.added.get("measurements", 0),
        visits_in_several=counts.known.get("measurements", 0),
        notes=tuple(dict.fromkeys(counts.constants)),
    )
