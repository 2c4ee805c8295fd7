"""``latprof devices``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.console import Json, print_json, print_table

if TYPE_CHECKING:
    from latprof.profilers.base import Profiler


def devices(
    modes: Annotated[
        bool, typer.Option("--modes", help="List the words of --mode and the types of --dtype.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List what can be measured here, and what to install for the rest.

    The first column is the short spelling that `collect --target` takes; capitals in it stand for
    an address, as N in cuda:N:torch for the number of a GPU.
    """
    from latprof.profilers.targets import availabilities, profiler_classes

    if modes:
        _print_modes(profiler_classes(), as_json=as_json)
        return
    found = availabilities()
    if as_json:
        print_json(
            [
                {"target": name, "state": a.state, "detail": a.detail, "remedy": a.remedy}
                for name, a in found.items()
            ]
        )
        return
    print_table(
        ("target", "state", "detail"),
        [
            (name, a.state, a.detail + (f"; install with: {a.remedy}" if a.remedy else ""))
            for name, a in found.items()
        ],
        left=3,
    )


def _print_modes(classes: dict[str, type[Profiler]], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {"target": name, "dtypes": list(found.precisions), "modes": dict(found.modes)}
                for name, found in classes.items()
            ]
        )
        return
    rows = []
    for name, found in classes.items():
        rows.append((name, "--dtype", ", ".join(found.precisions)))
        for word, meaning in found.modes.items():
            rows.append(
                ("", f"--mode {word}N" if word.endswith("=") else f"--mode {word}", meaning)
            )
    print_table(("target", "option", "meaning"), rows, left=3)
