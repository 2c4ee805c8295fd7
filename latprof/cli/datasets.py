"""``latprof datasets``."""

from __future__ import annotations

from typing import Annotated

import typer

from latprof.cli.console import Json, one_line, print_json, print_table
from latprof.workflows.formatting import short_device


def complete_dataset() -> list[str]:
    """Names of the data sets that come with latprof, for shell completion."""
    from latprof.datasets.published.loading import dataset_names

    return dataset_names()


def datasets(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A data set, or a file that export --dataset wrote: print its datasheet.",
            autocompletion=complete_dataset,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the measured data sets that come with latprof, or print the datasheet of one.

    `latprof.load_dataset(NAME)` reads one as a pandas DataFrame.
    """
    from latprof.datasets.published.loading import datasheet
    from latprof.workflows.datasets import datasets as listed
    from latprof.workflows.datasets import load_dataset

    if name is not None:
        if as_json:
            print_json({str(key): value for key, value in load_dataset(name).attrs.items()})
        else:
            for line in datasheet(name).splitlines():
                typer.echo(one_line(line))
        return
    found = listed()
    if as_json:
        print_json([each.to_dict() for each in found])
        return
    print_table(
        ("data set", "device", "runtime", "networks", "mean ms", "noise"),
        [
            (
                each.name,
                short_device(each.target.device_name),
                each.target.runtime,
                f"{each.networks:,}",
                f"{each.mean_ms:.3f}",
                f"{each.noise_floor_percent:.2f} %",
            )
            for each in found
        ],
        left=3,
    )
