"""``latprof packs``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.console import Json, note, print_table
from latprof.cli.formats import Form, Format, form_of, print_as
from latprof.errors import EXIT_PARTIAL
from latprof.workflows.formatting import short_devices

if TYPE_CHECKING:
    from latprof.predictors.pack.manifest import PackFacts


def packs(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PACK|FOLDER]...",
            help="Further packs, and folders of them.",
            show_default=False,
        ),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="DEVICE", help="Only packs of such a device, as pixel1."),
    ] = None,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """List the packs that come with latprof, and those in this folder.

    `latprof predict --pack NAME` takes each. The error is that on networks held out of the fit: the
    RMSE over the mean latency, for packs of kernels the mean absolute percentage error (of single
    kernels, marked so, where no network was measured). The packs
    of measurements that others published say in `--json` whose they are, under which conditions
    and with which licence.
    """
    from latprof.workflows.packs import packs as listed

    form = form_of(form, as_json=as_json)
    found, failed = listed(paths or (), on=on)
    header = ("pack", "device", "runtime", "dtype", "batch", "threads", "space", "error", "date")
    print_as(
        form,
        [each.to_dict() for each in found],
        lambda: print_table(header, _rows(found), left=4),
    )
    for error in failed:
        note(f"latprof: {error} [{error.code}]")
    if failed:
        raise typer.Exit(EXIT_PARTIAL if found else failed[0].exit_status)


def _rows(found: Sequence[PackFacts]) -> list[tuple[str, ...]]:
    short = short_devices(each.target.device_name for each in found if each.target)
    return [_row(each, short) for each in found]


def _row(facts: PackFacts, short: Mapping[str, str]) -> tuple[str, ...]:
    from latprof.workflows.predict_on import ANY_SPACE

    target = facts.target
    error = "-"
    if facts.metrics is not None:
        # Networks of any size are compared relatively: the largest would be all of an RMSE.
        of_any = facts.space == ANY_SPACE
        percent = facts.metrics.mape_percent if of_any else facts.metrics.rmse_percent
        error = f"{percent:.2f} %"
    elif facts.kernel_metrics is not None:
        error = f"{facts.kernel_metrics.mape_percent:.2f} % a kernel"
    where = ("unknown", "-", "-", "-", "-")
    if target is not None:
        device, threads = short[target.device_name], str(target.threads or "-")
        runtime = " ".join(filter(None, (target.runtime, target.mode)))
        where = (device, runtime, target.precision, str(target.batch_size), threads)
    return (facts.path, *where, facts.space, error, facts.created_at[:10])
