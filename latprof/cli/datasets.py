"""``latprof datasets``."""

from __future__ import annotations

from typing import Annotated

import typer

from latprof.cli.console import Json, one_line, print_json, print_table


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

    `latprof.datasets.load(NAME)` reads one as a pandas DataFrame.
    """
    from latprof.datasets.published.loading import dataset_names, datasheet, load
    from latprof.measurement.records import Target

    if name is not None:
        if as_json:
            print_json(dict(load(name).attrs))
        else:
            for line in datasheet(name).splitlines():
                typer.echo(one_line(line))
        return
    frames = {each: load(each) for each in dataset_names()}
    if as_json:
        print_json([dict(frame.attrs) | {"rows": len(frame)} for frame in frames.values()])
        return
    print_table(
        ("data set", "target", "networks", "mean ms", "noise floor"),
        [
            (
                each,
                Target.from_dict(frame.attrs["target"]).describe(),
                f"{len(frame):,}",
                f"{frame['latency_ms'].mean():.3f}",
                f"{(frame.attrs['noise_floor'] or {'percent': float('nan')})['percent']:.2f} %",
            )
            for each, frame in frames.items()
        ],
        left=2,
    )
