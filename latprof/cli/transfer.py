"""``latprof transfer``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.console import (
    Json,
    StoredTargetName,
    StoreFile,
    complete_pack,
    note,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from latprof.predictors.pack import Pack
    from latprof.predictors.transfer import TransferPredictor


def transfer(
    store: StoreFile,
    packs: Annotated[
        list[str],
        typer.Option(
            "--from",
            metavar="PACK",
            help="Packs of other devices for the same search space, as often as there are.",
            autocompletion=complete_pack,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PACK", help="Where to save the predictor.")
    ],
    target: StoredTargetName = None,
    as_json: Json = False,
) -> None:
    """Learn a new device from a few measurements and the packs of other devices.

    Ten well chosen networks are a good number:

    `latprof collect --plan transfer --from a.pack --from b.pack -n 10 --store new.db`

    `latprof transfer new.db --from a.pack --from b.pack -o new.pack`
    """
    from latprof.measurement.store import Store
    from latprof.predictors.from_packs import load_sources, transfer_from_store
    from latprof.predictors.pack import save_pack
    from latprof.predictors.transfer import TransferPredictor

    sources = load_sources(packs)
    with Store.open(store) as opened:
        pack = transfer_from_store(sources, opened, opened.only_target(target))
    save_pack(pack, output)
    predictor = pack.predictor
    assert isinstance(predictor, TransferPredictor)
    if as_json:
        print_json(_values(pack, predictor, packs, output))
    else:
        _print(pack, predictor, sources, packs)
    note(f"saved as {output}")


def _values(
    pack: Pack,
    predictor: TransferPredictor,
    packs: list[str],
    output: Path,
) -> dict[str, object]:
    assert pack.metrics is not None
    return {
        "pack": str(output),
        "target": None if pack.target is None else pack.target.to_dict(),
        "training_rows": pack.training_rows,
        "sources": dict(zip(packs, predictor.weights_.tolist(), strict=True)),
        "left_out": pack.metrics.to_dict(),
        "interval_coverage": pack.interval_coverage,
        "interval_relative": pack.interval_relative,
    }


def _print(
    pack: Pack,
    predictor: TransferPredictor,
    sources: list[Pack],
    packs: list[str],
) -> None:
    metrics = pack.metrics
    assert metrics is not None
    if pack.target is not None:
        typer.echo(f"target       {pack.target.describe()}")
    typer.echo(f"rows         {pack.training_rows}")
    typer.echo(
        f"left out     RMSE {metrics.rmse_ms:.4f} ms, {metrics.rmse_percent:.2f}% of the mean, "
        f"Spearman {metrics.spearman:.4f}: each network predicted without itself"
    )
    half = f"+-{pack.interval_relative:.2%}"
    typer.echo(f"interval     {pack.interval_coverage:.0%} within {half}, typically\n")
    print_table(
        ("source", "device", "weight"),
        [
            (name, "" if each.target is None else each.target.describe(), f"{weight:.4f}")
            for name, weight, each in zip(packs, predictor.weights_.tolist(), sources, strict=True)
        ],
        left=2,
    )
