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
from latprof.workflows.formatting import short_device

if TYPE_CHECKING:
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

    found, failed, others = [], [], []
    for name in (
        *pack_names(),
        *published_pack_names(),
        *_files([Path(), *paths_of(paths, "paths")]),
    ):
        try:
            facts = read_facts(name)
        except PackError as error:
            failed.append(error)
            continue
        if on is None or _is_on(facts, on):
            found.append(facts)
        else:
            others.append(facts)
    if on is not None and not found and not failed:
        raise no_pack(on, others)
    return tuple(found), tuple(failed)


def no_pack(device: str | None, others: Iterable[PackFacts]) -> UsageError:
    """The error where there is no pack of a device, or of a target; it lists devices that have."""
    names = sorted({short_device(each.target.device_name) for each in others if each.target})
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


def _is_on(facts: PackFacts, device: str) -> bool:
    """Whether the device's name holds the one that is asked for, spelling aside."""
    if facts.target is None:
        return False
    words = f"{facts.target.device_name} {facts.target.device}"
    asked = _letters(device)
    return bool(asked) and asked in _letters(words)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
