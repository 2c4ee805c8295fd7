"""The networks that a collection measures, where they are chosen or may be of no use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from latprof.workflows.arguments import OnNote, PackLike, name_of, source_packs

if TYPE_CHECKING:
    from pathlib import Path

    from latprof.datasets.spaces.base import SearchSpace
    from latprof.errors import LatprofError
    from latprof.profilers.campaign.collection import Collection

#: Lines about files that cannot be used; more are one.
_MOST_LINES = 2


def usable_models(
    paths: Sequence[Path], rest: dict[str, Any], on_note: OnNote | None, *, all_of_them: bool
) -> tuple[Collection, dict[str, str]]:
    """The networks in files; of several those that can be used, and why the others cannot."""
    from latprof.profilers.campaign.collection import Collection

    failed: list[tuple[Path, LatprofError]] = []

    def on_error(path: Path, error: LatprofError) -> None:
        failed.append((path, error))
        if all_of_them or len(failed) == len(paths):
            raise failed[0][1]

    found = Collection.of_models(paths, on_error=on_error, **rest)
    said = {str(path): f"{error} [{error.code}]" for path, error in failed}
    lines = [f"{path}: {why}" for path, why in said.items()]
    if len(lines) > _MOST_LINES:
        lines = [f"{len(lines)} models cannot be used: {'; '.join(lines)}"]
    if on_note is not None:
        for line in lines:
            on_note(line)
    return found, said


def most_informative(
    packs: Sequence[PackLike], own: SearchSpace | None, n: int, seed: int, rest: dict[str, Any]
) -> Collection:
    """The architectures that say most about a new device, given packs of others."""
    from latprof.predictors.models.transfer_predictor import choose_for_transfer
    from latprof.profilers.campaign.collection import Collection

    loaded = source_packs(packs, own)
    space = loaded[0].space
    chosen = choose_for_transfer(space, [pack.predictor for pack in loaded], n, seed=seed)
    source = {"n": n, "seed": seed, "plan": "transfer", "from": [name_of(p) for p in packs]}
    return Collection.of_architectures(space, space.architectures(chosen), source, **rest)
