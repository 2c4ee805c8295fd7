"""``latprof report``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.console import StoredTargetName, note
from latprof.errors import UsageError

if TYPE_CHECKING:
    from latprof.reports.rendering.content import Report


def report(
    stores: Annotated[
        list[str],
        typer.Argument(
            metavar="STORE", help="A store: a file or a database URL; several with --side-by-side."
        ),
    ],
    pack: Annotated[
        Path | None,
        typer.Option("--pack", metavar="PACK", help="A pack made by train, to show how it does."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")
    ] = Path("report.html"),
    png: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write every plot as a picture.")
    ] = None,
    target: StoredTargetName = None,
    side_by_side: Annotated[
        bool,
        typer.Option(
            "--side-by-side", help="Compare all targets of the stores on the networks they share."
        ),
    ] = False,
) -> None:
    """Write one page that shows the measurements, the predictions, and how far to trust them.

    The page is a single file, needs no network and follows the reader's light or dark setting.
    """
    from latprof.reports.rendering.page import write_pictures, write_report

    if side_by_side:
        if pack is not None or target is not None:
            raise UsageError("--side-by-side shows all targets, and no predictions")
        content = _all_targets(stores)
    elif len(stores) > 1:
        raise UsageError("several stores are for --side-by-side", got=" ".join(stores))
    else:
        content = _one_target(stores[0], target, pack)
    write_report(content, output)
    note(f"report written to {output}")
    if png is not None:
        for path in write_pictures(content, png):
            typer.echo(path)


def _one_target(store: str, target: str | None, pack: Path | None) -> Report:
    from latprof.measurement.store.store import Store
    from latprof.predictors.pack.pack import load_pack
    from latprof.reports.gathering import report_data
    from latprof.reports.report import build_report

    loaded = None if pack is None else load_pack(pack)
    with Store.open(store) as opened:
        return build_report(report_data(opened, opened.only_target(target), loaded))


def _all_targets(stores: list[str]) -> Report:
    from latprof.measurement.side_by_side import side_by_side
    from latprof.measurement.store.store import Store
    from latprof.reports.side_by_side_report import build_side_by_side_report

    with ExitStack() as stack:
        opened = [stack.enter_context(Store.open(name)) for name in stores]
        sources = [
            (store, stored) for store in opened for stored in store.targets() if stored.measurements
        ]
        if len(sources) < 2:
            raise UsageError(
                "one target has nothing to stand beside",
                got=", ".join(stored.target.describe() for _, stored in sources) or "no target",
                hint="collect the same networks for another target, into this store or another",
            )
        return build_side_by_side_report(side_by_side(sources))
