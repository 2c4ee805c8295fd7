"""Packs on disk.

A pack is a zip file of ``manifest.json``, its digest ``manifest.sha256``, the predictor's files
under ``predictor/``, the held-out predictions, and further files, the operator costs among them,
under ``extra/``. Everything is plain data: no pickle, nothing that runs.
"""

from __future__ import annotations

import dataclasses
import os
from functools import cache
from typing import TYPE_CHECKING

from latprof.common.files import path_text
from latprof.errors import TargetMismatchError
from latprof.predictors.pack.archive import read_archive, write_archive
from latprof.predictors.pack.manifest import (
    PackFacts,
    facts_from_files,
    pack_from_files,
    pack_to_files,
)
from latprof.predictors.pack.pack import Pack
from latprof.predictors.pack.shipped import resolve

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.measurement.records import Target
    from latprof.predictors.base import Predictor


def save_pack(
    fitted: Pack | Predictor, path: str | os.PathLike[str], *, target: Target | None = None
) -> None:
    """Write a pack in one step; ``path`` holds the old file or the new one, never a part.

    Parameters
    ----------
    fitted : Pack or Predictor
        A predictor is made a pack by :meth:`Pack.of`, so that it answers as others do.
    path : path
    target : Target, optional
        Where the milliseconds hold, where the pack does not say so already.

    Raises
    ------
    InvalidValueError
        For a predictor that is not fitted, or a name of an extra file that is none.
    TargetMismatchError
        Where the pack states another target.
    OutputPathError, DiskFullError
        Where the file cannot be written.
    """
    if not isinstance(fitted, Pack):
        pack = Pack.of(fitted, target)
    elif target is None or target == fitted.target:
        pack = fitted
    elif fitted.target is None:
        pack = dataclasses.replace(fitted, target=target)
    else:
        raise TargetMismatchError(
            "the pack holds for another target",
            expected=fitted.target.describe(),
            got=target.describe(),
        )
    write_archive(path, *pack_to_files(pack))


def load_pack(path: str | os.PathLike[str], space: SearchSpace | None = None) -> Pack:
    """Read a pack.

    Parameters
    ----------
    path : path
        Of a file, or one of :func:`latprof.predictors.pack.shipped.pack_names`.
    space : SearchSpace, optional
        The space, where it is not one of :func:`latprof.datasets.spaces.named.get_space`; it must
        have the description that the pack states, else PackSpaceError.

    Raises
    ------
    PackError
        For a file that is missing, empty, truncated, no pack, or malformed in any way.
    PackAlteredError
        Where a file of the pack, or the manifest, is not what was written.
    PackVersionError
        For the format of a newer version.
    """
    name = resolve(path_text(path, "pack"))
    return pack_from_files(name, read_archive(name), space)


def read_facts(path: str | os.PathLike[str]) -> PackFacts:
    """Read what a pack states, but not its predictor; paths and errors as ``load_pack``.

    Packs that come with latprof are read once: which of them answers asks them all.
    """
    given = path_text(path, "pack")
    file = resolve(given)
    return _facts(given, file) if file == given else _bundled_facts(given, file)


def _facts(path: str, file: str) -> PackFacts:
    return facts_from_files(path, read_archive(file))


_bundled_facts = cache(_facts)
