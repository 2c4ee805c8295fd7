"""``latprof datasets``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.console import Json, one_line, print_table
from latprof.cli.formats import Form, Format, form_of, print_as
from latprof.workflows.formatting import short_devices

if TYPE_CHECKING:
    from latprof.workflows.datasets import DatasetResult


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
    form: Format = Form.TABLE,
) -> None:
    """List the measured data sets that come with latprof, or print the datasheet of one.

    `latprof.load_dataset(NAME)` reads one as a pandas DataFrame.
    """
    from latprof.datasets.published.loading import datasheet
    from latprof.workflows.datasets import datasets as listed
    from latprof.workflows.datasets import load_dataset

    form = form_of(form, as_json=as_json)
    if name is not None:
        if form in {Form.JSON, Form.CSV}:
            facts = {str(key): value for key, value in load_dataset(name).attrs.items()}
            print_as(form, facts, lambda: None)
            return
        for line in datasheet(name).splitlines():  # it is Markdown
            typer.echo(one_line(line))
        return
    found = listed()
    print_as(form, [each.to_dict() for each in found], lambda: _print(found))


def _print(found: Sequence[DatasetResult]) -> None:
    short = short_devices(each.target.device_name for each in found)
    print_table(
        ("data set", "device", "runtime", "networks", "noise"),
        [
            (
                each.name,
                short[each.target.device_name],
                each.target.runtime,
                f"{each.networks:,}",
                f"{each.noise_floor_percent:.2f} %",
            )
            for each in found
        ],
        left=3,
    )
