"""``latprof devices``."""

from __future__ import annotations

from latprof.cli.console import Json, print_json, print_table


def devices(as_json: Json = False) -> None:
    """List what can be measured here, and what to install for the rest.

    The first column is the short spelling that `collect --target` takes.
    """
    from latprof.profilers.registry import profiler_class, target_spellings

    found = {name: profiler_class(name).availability() for name in target_spellings()}
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
