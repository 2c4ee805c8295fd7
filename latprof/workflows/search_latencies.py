"""Where a search's latencies come from: a pack, or a table of measurements."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.common.files import digest
from latprof.common.short_reprs import ShortRepr
from latprof.errors import (
    DataSetError,
    InvalidValueError,
    PackSpaceError,
    UnknownNameError,
    UsageError,
)
from latprof.workflows.arguments import (
    PackLike,
    PathLike,
    SpaceLike,
    name_of,
    open_pack,
    space_of,
)

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.measurement.records import Target
    from latprof.predictors.pack.pack import Pack
    from latprof.searchers.base import LatencySource


@dataclass(frozen=True, eq=False, repr=False)
class Latencies(ShortRepr):
    """A latency source with its name; ``pack`` is None for a table of measurements."""

    source: LatencySource
    name: str
    digest: str
    target: Target | None
    pack: Pack | None = None

    @property
    def space(self) -> SearchSpace:
        """The space that is searched."""
        return self.source.space


def open_latencies(
    pack: PackLike | None = None, table: PathLike | None = None, space: SpaceLike | None = None
) -> Latencies:
    """Latencies of a pack, or of a data set that holds every network that is asked about.

    Parameters
    ----------
    pack : Pack, path or str, optional
        A file, or a pack that comes with latprof. Where neither is given: the one that comes with
        latprof for ``space``.
    table : str or path, optional
        A data set's name or its ``.parquet`` file.
    space : SearchSpace or str, optional
        The space that it must be of, or its name; one of your own is needed to open it.

    Raises
    ------
    UsageError
        For a pack and a table, and where no pack that comes with latprof is of the space.
    PackSpaceError
        For a pack or a table of another space.
    """
    from latprof.datasets.spaces.named import space_names

    own = space_of(space) if not isinstance(space, str) or ":" in space else None
    if own is None and space is not None and space not in space_names():
        raise UnknownNameError("search space", str(space), space_names())
    name = own.name if own is not None else space if isinstance(space, str) else None
    if pack is not None and table is not None:
        raise UsageError("latencies come from `pack` or from `latency`, not from both")
    if table is not None:
        found = _table(os.fspath(table), own)
    else:
        found = of_pack(pack if pack is not None else _shipped_pack(name), own)
    if name is not None and name != found.space.name:
        raise PackSpaceError(
            f"{found.name} is of another search space", expected=name, got=found.space.name
        )
    return found


def of_pack(pack: PackLike, space: SearchSpace | None = None) -> Latencies:
    """Latencies that a pack predicts; ``space`` is its own, where that is not found by its name."""
    from latprof.predictors.pack.manifest import pack_to_files
    from latprof.predictors.pack.shipped import resolve

    loaded = open_pack(pack, space)
    if isinstance(pack, str | os.PathLike):
        identity, name = digest(resolve(os.fspath(pack))), Path(pack).name
    else:
        manifest, _ = pack_to_files(loaded)
        identity, name = hashlib.sha256(repr(manifest).encode()).hexdigest()[:16], name_of(pack)
    return Latencies(loaded.predictor, name, identity, loaded.target, loaded)


def _shipped_pack(space: str | None) -> str:
    from latprof.predictors.pack.saving import load_pack
    from latprof.predictors.pack.shipped import space_pack_names

    names = space_pack_names()
    for name in names if space is not None else names[:1]:
        if space is None or load_pack(name).space.name == space:
            return name
    raise UsageError(
        f"no pack of the space {space} comes with latprof", field="pack", expected="`pack`"
    )


def _table(name: str, own: SearchSpace | None) -> Latencies:
    from latprof.datasets.published.loading import load
    from latprof.datasets.spaces.named import space_from_description
    from latprof.measurement.records import Target
    from latprof.searchers.accuracy.tables import LatencyTable

    frame = load(name)
    try:
        description = frame.attrs["space"]
        space = own or space_from_description(description)
        if difference := space.difference_from(description):
            raise PackSpaceError(f"{name} is of another search space: {difference}")
        rows = [space.parse(text) for text in frame["architecture"]]
        target = Target.from_dict(frame.attrs["target"])
        table = LatencyTable(space, rows, frame["latency_ms"].to_numpy())
    except (InvalidValueError, KeyError) as error:
        raise DataSetError(f"{name} is no table for a search: {error}") from None
    if len(table) < space.num_architectures:
        raise DataSetError(
            f"{name} does not hold every network that a search may ask about",
            expected=f"{space.num_architectures:,} networks",
            got=f"{len(table):,}",
            hint="train a predictor on it and give it as `pack`",
        )
    return Latencies(table, Path(name).name, digest(name), target)
