"""The ``latprof`` command: what it consists of, and what becomes of errors."""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer

from latprof._version import __version__
from latprof.cli.android import android
from latprof.cli.collect import collect
from latprof.cli.commands import Command, Commands
from latprof.cli.compare import compare
from latprof.cli.configuration import dumped
from latprof.cli.console import print_error
from latprof.cli.datasets import datasets
from latprof.cli.devices import devices
from latprof.cli.doctor import doctor
from latprof.cli.export import export
from latprof.cli.farm import farm
from latprof.cli.history import history
from latprof.cli.import_runs import import_runs
from latprof.cli.learn_fusion import fusion
from latprof.cli.lookup_table import lookup_table
from latprof.cli.merge import merge
from latprof.cli.packs import packs
from latprof.cli.predict import predict
from latprof.cli.profile import profile
from latprof.cli.report import report
from latprof.cli.search import search
from latprof.cli.train import train
from latprof.cli.transfer import transfer
from latprof.cli.zoo import zoo
from latprof.common.extras import missing_extra
from latprof.errors import (
    EXIT_OK,
    EXIT_PARTIAL,
    DiskFullError,
    LatprofError,
    OutputPathError,
)

NO_TEMPORARY_FOLDER = OutputPathError(
    "no folder for temporary files can be written",
    field="TMPDIR",
    hint="set TMPDIR to a folder that you may write to",
)

app = typer.Typer(
    cls=Commands,
    name="latprof",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"latprof {__version__}")
        raise typer.Exit


def _dump_configuration(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(dumped(), nl=False)
        except LatprofError as error:
            print_error(error)
            raise typer.Exit(error.exit_status) from None
        raise typer.Exit


@app.callback(
    epilog="Exit status: 0 fine, 1 a finding, 2 usage, 3 bad input file, 4 device, 5 partial "
    "results, 124 time-out, 130 interrupted, 143 terminated."
)
def latprof(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    dump_config: Annotated[
        bool,
        typer.Option(
            "--dump-config",
            callback=_dump_configuration,
            is_eager=True,
            help="Print each setting of latprof.toml and LATPROF_*, and where it comes from.",
        ),
    ] = False,
) -> None:
    """Predict how many milliseconds a neural network takes on a device, without running it there.

    Measure networks on a device (**collect**), learn from the measurements (**train**), predict
    networks that were never run (**predict**), find the best one under a limit (**search**), and
    see how far to trust the results (**report**). Start
    with **doctor**: it finds what spoils timings on this host.
    """


for command, panel in (
    (devices, "This host"),
    (doctor, "This host"),
    (android, "This host"),
    (farm, "This host"),
    (collect, "Measure"),
    (profile, "Measure"),
    (compare, "Measure"),
    (history, "Measure"),
    (export, "Measure"),
    (import_runs, "Measure"),
    (merge, "Measure"),
    (datasets, "Measure"),
    (zoo, "Measure"),
    (fusion, "Measure"),
    (train, "Predict"),
    (transfer, "Predict"),
    (predict, "Predict"),
    (packs, "Predict"),
    (lookup_table, "Predict"),
    (search, "Search"),
    (report, "Predict"),
):
    name = "import" if command is import_runs else None  # "import" is a word of Python
    app.command(name, cls=Command, rich_help_panel=panel)(command)


def run() -> None:
    """Run the command line; errors become one line on stderr and the documented exit status."""
    try:
        app()
    except LatprofError as error:
        print_error(error)
        sys.exit(error.exit_status)
    except ModuleNotFoundError as error:
        missing = missing_extra(error, "this command")
        if missing is None:
            raise
        print_error(missing)
        sys.exit(missing.exit_status)
    except SystemExit as leaving:
        # Whoever read our output has had enough of it; click makes that a failure.
        if isinstance(leaving.__context__, BrokenPipeError):
            sys.exit(EXIT_OK)
        raise
    except OSError as error:
        if error.errno == errno.ENOENT and "temporary directory" in str(error.strerror):
            print_error(NO_TEMPORARY_FOLDER)
            sys.exit(NO_TEMPORARY_FOLDER.exit_status)
        if error.errno != errno.ENOSPC:
            raise
        print_error(DiskFullError("no space left to write the output"))
        sys.exit(EXIT_PARTIAL)
