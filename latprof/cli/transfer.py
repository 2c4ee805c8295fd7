"""``latprof transfer``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.console import (
    Json,
    OwnSpace,
    StoredTargetName,
    complete_pack,
    note,
    print_table,
)
from latprof.cli.formats import Form, Format, form_of, print_as

if TYPE_CHECKING:
    from latprof.predictors.models.transfer_predictor import TransferPredictor
    from latprof.predictors.pack.pack import Pack


def transfer(
    store: Annotated[
        str,
        typer.Argument(metavar="STORE", help="The new device's: a file or a database URL."),
    ],
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="PACK...",
            help="Packs of other devices, for the same search space.",
            autocompletion=complete_pack,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PACK", help="Where to save the predictor."),
    ] = None,
    space: OwnSpace = None,
    target: StoredTargetName = None,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Learn a new device from a few measurements and the packs of other devices.

    Ten well chosen networks are a good number:

    `latprof collect --plan transfer --from a.pack b.pack -n 10 --store new.db`

    `latprof transfer --from a.pack b.pack new.db -o new.pack`

    With `--ops` in the first command the times of their kernels help a lot.
    """
    from latprof.predictors.models.transfer_predictor import TransferPredictor
    from latprof.workflows.transfer import transfer as run
    from latprof.workflows.transfer import transfer_values

    form = form_of(form, as_json=as_json)
    pack = run(sources or (), store, output, space=space, target=target)
    predictor = pack.predictor
    assert isinstance(predictor, TransferPredictor)
    values = transfer_values(pack, sources or [], output)
    print_as(form, values, lambda: _print(pack, predictor, sources or []))
    note("not saved: --output says where to" if output is None else f"saved as {output}")


def _print(
    pack: Pack,
    predictor: TransferPredictor,
    packs: list[str],
) -> None:
    metrics = pack.metrics
    assert metrics is not None
    if pack.target is not None:
        typer.echo(f"target       {pack.target.describe()}")
    typer.echo(f"rows         {pack.training_rows}")
    typer.echo(
        f"held out     RMSE {metrics.rmse_ms:.4f} ms, {metrics.rmse_percent:.2f}% of the mean, "
        f"Spearman {metrics.spearman:.4f}: each network predicted without itself"
    )
    half = f"+-{pack.interval_relative:.2%}"
    typer.echo(f"interval     {pack.interval_coverage:.0%} within {half}, typically\n")
    described = [(name, _device_of(name)) for name in packs]
    weights = predictor.weights_.tolist()
    if len(weights) > len(described):
        described.append(("kernels", "a table of this device's, from the times in the store"))
    print_table(
        ("source", "device", "weight"),
        [(*words, f"{weight:.4f}") for words, weight in zip(described, weights, strict=True)],
        left=2,
    )


def _device_of(name: str) -> str:
    from latprof.predictors.pack.saving import load_pack

    target = load_pack(name).target
    return "" if target is None else target.describe()
