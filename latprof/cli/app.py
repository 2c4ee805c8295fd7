"""The ``latprof`` command: what it consists of, and what becomes of errors."""

from __future__ import annotations

import errno
import sys
from typing import Annotated, ClassVar

import typer

from latprof._version import __version__
from latprof.cli.commands import Commands
from latprof.cli.configuration import dumped
from latprof.cli.console import print_error
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


class _Commands(Commands):
    """Those of latprof, by their headings in ``--help``."""

    table: ClassVar[dict[str, tuple[str, str]]] = {
        "devices": ("This host", "devices:devices"),
        "doctor": ("This host", "doctor:doctor"),
        "android": ("This host", "android:android"),
        "farm": ("This host", "farm:farm"),
        "collect": ("Measure", "collect:collect"),
        "profile": ("Measure", "profile:profile"),
        "compare": ("Measure", "compare:compare"),
        "history": ("Measure", "history:history"),
        "export": ("Measure", "export:export"),
        "import": ("Measure", "import_runs:import_runs"),
        "merge": ("Measure", "merge:merge"),
        "datasets": ("Measure", "datasets:datasets"),
        "zoo": ("Measure", "zoo:zoo"),
        "fusion": ("Measure", "learn_fusion:fusion"),
        "train": ("Predict", "train:train"),
        "transfer": ("Predict", "transfer:transfer"),
        "predict": ("Predict", "predict:predict"),
        "packs": ("Predict", "packs:packs"),
        "lookup-table": ("Predict", "lookup_table:lookup_table"),
        "search": ("Search", "search:search"),
        "report": ("Predict", "report:report"),
    }


app = typer.Typer(
    cls=_Commands,
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
