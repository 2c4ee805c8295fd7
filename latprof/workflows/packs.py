"""The packs on this computer: those that come with latprof, and files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.common.files import what_is_at
from latprof.errors import PackError, UsageError, did_you_mean
from latprof.workflows.arguments import PathLike, paths_of
from latprof.workflows.formatting import short_device, short_devices

if TYPE_CHECKING:
    from latprof.measurement.records import Target
    from latprof.predictors.pack.manifest import PackFacts

_MOST_FILES = 10_000


def packs(
    paths: Sequence[PathLike] = (), *, on: str | None = None
) -> tuple[tuple[PackFacts, ...], tuple[PackError, ...]]:
    """List the packs that come with latprof, those in the working folder, and further ones.

    Parameters
    ----------
    paths : sequence of path
        Packs, and folders in which every file that ends in ``.pack`` is one.
    on : str, optional
        Only packs of a device with these letters and digits in its name: ``"pixel1"`` finds the
        Pixel 1.

    Returns
    -------
    tuple of PackFacts
        latprof's own first, then those of measurements that others published, then files.
    tuple of PackError
        For files that are no packs.

    Raises
    ------
    PackError
        For a path where there is nothing.
    UsageError
        Where there is no pack of such a device; it lists those that there are.
    """
    from latprof.predictors.pack.saving import read_facts
    from latprof.predictors.pack.shipped import pack_names, published_pack_names

    found, failed = [], []
    for name in (
        *pack_names(),
        *published_pack_names(),
        *_files([Path(), *paths_of(paths, "paths")]),
    ):
        try:
            found.append(read_facts(name))
        except PackError as error:
            failed.append(error)
    if on is None:
        return tuple(found), tuple(failed)
    chosen = _on(found, on)
    if not chosen and not failed:
        raise no_pack(on, found)
    return chosen, tuple(failed)


def no_pack(device: str | None, others: Iterable[PackFacts]) -> UsageError:
    """The error where there is no pack of a device, or of a target; it lists devices that have."""
    names = sorted(set(_short(others).values()))
    guess = did_you_mean(device, names) if device else None
    named = "this target" if device is None else device or "a device without a name"
    return UsageError(
        f"there is no pack of {named}",
        field="target" if device is None else "on",
        expected=f"one of {', '.join(names)}",
        hint=f"{guess or ''} `latprof packs` lists them; collect and train make one",
    )


def _files(paths: Sequence[Path]) -> Iterator[str]:
    seen = set()
    for path in paths:
        found = what_is_at(path)
        if found is None:
            raise PackError(f"there is no {path}", expected="a pack, or a folder of packs")
        names = sorted(path.glob("*.pack"))[:_MOST_FILES] if found == "directory" else [path]
        for name in names:
            if (whole := name.resolve()) not in seen:
                seen.add(whole)
                yield os.fspath(name)


def _short(packs: Iterable[PackFacts]) -> dict[str, str]:
    return short_devices(each.target.device_name for each in packs if each.target)


def _on(packs: Sequence[PackFacts], device: str) -> tuple[PackFacts, ...]:
    """Those whose device's name holds the one that is asked for, as it is or as tables show it."""
    asked, short = _letters(device), _short(packs)

    def is_on(target: Target) -> bool:
        name = target.device_name
        names = (f"{name} {target.device}", short_device(name), short[name])
        return any(asked in _letters(each) for each in names)

    return tuple(each for each in packs if asked and each.target and is_on(each.target))


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
