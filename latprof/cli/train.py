"""``latprof train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.console import (
    Json,
    Seed,
    StoredTargetName,
    complete_predictor,
    note,
    print_table,
    remark,
)
from latprof.cli.formats import Form, Format, form_of, print_as
from latprof.cli.progress import fit_display

if TYPE_CHECKING:
    from latprof.predictors.pack.kernel_pack import KernelPack
    from latprof.predictors.pack.pack import Pack


def train(
    *,
    store: Annotated[
        str | None,
        typer.Argument(metavar="[STORE]", help="The store of measurements; not with --from."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PACK", help="Where to save the predictor.")
    ],
    space: Annotated[
        str | None,
        typer.Option(
            "--space",
            metavar="SPACE",
            help="Which of the store's search spaces, where it holds several; your own as "
            "MODULE:NAME, which may be a file, as lab/mine.py:Space.",
        ),
    ] = None,
    published: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="COLLECTION:PATH",
            help="Published latencies in place of a store: help:FOLDER/SPACE/DEVICE, "
            "brp-nas:FILE or hw-nas-bench:FILE/DATASET/DEVICE.",
        ),
    ] = None,
    device_name: Annotated[
        str, typer.Option(help="What the pack calls the device of published latencies.")
    ] = "",
    kernels: Annotated[
        list[Path] | None,
        typer.Option(
            "--kernels",
            metavar="FILE...",
            help="Fit a pack of kernels to a store of `collect --kernels`, a data set of one, or a "
            "table of mobile-ml-benchmark (tflite_cnn_ops_gpu.csv) or TinyNAS (conv_fp32.out). "
            "Further data sets of the same processor add kernels in other formats and batches.",
        ),
    ] = None,
    prior: Annotated[
        list[Path] | None,
        typer.Option(
            "--prior",
            metavar="FILE...",
            help="For kernels: data sets of another target's kernels, by name or file, as "
            "kernels-epyc-ort1. Times are compared with those: fewer kernels are enough.",
        ),
    ] = None,
    predictor: Annotated[
        str,
        typer.Option(help="What is fitted: {predictors}.", autocompletion=complete_predictor),
    ] = "hybrid",
    target: StoredTargetName = None,
    test_fraction: Annotated[
        float, typer.Option(help="Share of the networks held out of the fit, to test it.")
    ] = 0.2,
    seed: Seed = 0,
    compare: Annotated[
        bool, typer.Option(help="Also fit the other predictors on the same split, for the table.")
    ] = True,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Fit a predictor to a store's measurements, or to published ones, and save it as a pack.

    Prints the error on networks held out of the fit beside the noise floor, the error that a
    perfect predictor would still show. A store of kernels (`latprof collect --kernels`) makes a
    pack that answers for any network, with the error on networks whose family was left out.
    """
    form = form_of(form, as_json=as_json)
    from latprof.predictors.pack.kernel_pack import KernelPack
    from latprof.workflows.train import train as run
    from latprof.workflows.train import train_values

    with fit_display() as show:
        pack = run(
            store,
            output,
            space=space,
            published=published,
            kernels=kernels,
            prior=prior,
            device_name=device_name,
            predictor=predictor,
            target=target,
            test_fraction=test_fraction,
            seed=seed,
            compare=compare,
            on_progress=show,
            on_note=remark,
        )

    def for_people() -> None:
        if isinstance(pack, KernelPack):
            _print_kernels(pack)
        else:
            _print(pack)

    print_as(form, train_values(pack, output), for_people, rows="comparison")
    note(f"saved as {output}")


def _print_kernels(pack: KernelPack) -> None:
    from latprof.measurement.summary import describe_noise_floor

    typer.echo(f"target       {pack.target.describe()}")
    compared = f", compared with {', '.join(pack.prior)}" if pack.prior else ""
    typer.echo(f"kernels      {pack.kernel_rows:,} timed{compared}")
    if pack.agreement is not None:
        typer.echo(f"fusion       {pack.agreement.describe()}")
    if pack.noise_floor is not None:
        typer.echo(f"noise floor  {describe_noise_floor(pack.noise_floor)}")
    found = pack.metrics
    if pack.kernel_metrics is not None:
        errors = pack.kernel_metrics
        typer.echo(
            f"kernels      {errors.rows:,} left out of the fit: MAPE {errors.mape_percent:.2f} %, "
            f"within 10 % {errors.within_10_percent:.0f} %"
        )
    if found is None:
        note("no network was measured end to end: intervals are those of single kernels, widened")
        return
    typer.echo(
        f"networks     {found.rows} predicted with their family left out of the kernels: MAPE "
        f"{found.mape_percent:.2f} %, within 5 % {found.within_5_percent:.0f} %, within 10 % "
        f"{found.within_10_percent:.0f} %, Spearman {found.spearman:.3f}"
    )


def _print(pack: Pack) -> None:
    from latprof.measurement.summary import describe_noise_floor

    assert pack.metrics is not None
    if pack.target is not None:
        typer.echo(f"target       {pack.target.describe()}")
    if pack.origin is not None:
        typer.echo(f"measured by  {pack.origin.describe()}")
    typer.echo(
        f"rows         {pack.training_rows} to fit, {pack.metrics.rows} held out; errors below are "
        "on the held-out ones"
    )
    typer.echo(f"noise floor  {describe_noise_floor(pack.noise_floor)}")
    networks = getattr(pack.predictor, "networks_", "unpruned")
    if networks != "unpruned":
        words = {"pruned": "take no time here", "both": "take a part of their time here"}[networks]
        typer.echo(f"networks     {networks}: operators on no path from input to output {words}")
    typer.echo(f"interval     {pack.interval_coverage:.0%} within +-{pack.interval_relative:.2%}\n")
    rows = {pack.predictor.name: pack.metrics} | dict(pack.comparison)
    print_table(
        (
            "predictor",
            "RMSE ms",
            "RMSE %",
            "MAPE %",
            "within 5 %",
            "within 10 %",
            "Spearman",
            "Kendall",
        ),
        [
            (
                name + (" (saved)" if name == pack.predictor.name else ""),
                f"{m.rmse_ms:.4f}",
                f"{m.rmse_percent:.2f}",
                f"{m.mape_percent:.2f}",
                f"{m.within_5_percent:.1f}",
                f"{m.within_10_percent:.1f}",
                f"{m.spearman:.4f}",
                f"{m.kendall:.4f}",
            )
            for name, m in sorted(rows.items(), key=lambda item: item[1].rmse_ms)
        ],
    )
