"""``latprof lookup-table``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.console import complete_pack, milliseconds, note

if TYPE_CHECKING:
    from latprof.predictors.base import Floats, Predictor
    from latprof.predictors.models.lookup_table import LookupTablePredictor

FORMATS = ("proxyless", "single-path")
#: Architectures that a table is fitted to where the pack has none, and others it is checked on.
_SAMPLED, _CHECKED, _CHECK_SEED = 4000, 1000, 1


def complete_format() -> list[str]:
    """Names of the formats, for shell completion."""
    return list(FORMATS)


def lookup_table(
    pack: Annotated[
        str,
        typer.Argument(
            metavar="PACK",
            help="A pack made by train, or the name of one that comes with latprof.",
            autocompletion=complete_pack,
        ),
    ],
    table_format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="proxyless: YAML of ProxylessNAS and Once-for-All. single-path: JSON of "
            "Single-Path NAS.",
            autocompletion=complete_format,
        ),
    ] = "proxyless",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file.")
    ] = None,
) -> None:
    """Write a pack's lookup table in the format that other search codes read.

    The space is ProxylessNAS's. How far sums of the table are from the pack's predictions is
    printed on stderr, with what else the reader of the table has to know.

    For example:

    `latprof lookup-table cpu.pack --format proxyless --output table.yaml`
    """
    from latprof.common.files import write_atomically
    from latprof.errors import UnknownNameError
    from latprof.predictors.pack.pack import load_pack

    if table_format not in FORMATS:
        raise UnknownNameError("format", table_format, FORMATS)
    predictor = load_pack(pack).predictor
    write = _proxyless if table_format == "proxyless" else _single_path
    text = write(predictor)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_atomically(output, text.encode())
        note(f"{output} written")


def _table_of(predictor: Predictor) -> LookupTablePredictor:
    """The pack's own table, or one that says what its predictor says."""
    from latprof.datasets.importers.table_export import check_space
    from latprof.predictors.models.lookup_table import LookupTablePredictor
    from latprof.predictors.training.imported_table import tabulated

    check_space(predictor.space)
    if isinstance(predictor, LookupTablePredictor):
        return predictor
    note(
        f"latprof: the pack's predictor is {predictor.name}: the table is fitted to what it says "
        f"of {_SAMPLED} sampled architectures"
    )
    return tabulated(predictor, _SAMPLED)


def _proxyless(predictor: Predictor) -> str:
    from latprof.datasets.importers.table_export import (
        check_space,
        missing_keys,
        proxyless_table,
        sharing_error_ms,
        to_yaml,
    )

    fitted = _table_of(predictor)
    table = proxyless_table(fitted)
    missing = missing_keys(check_space(predictor.space), table)
    if missing:
        note(
            f"latprof: {len(missing)} blocks were never measured and are not in the table, among "
            f"them {missing[0]}"
        )
    errors = sharing_error_ms(fitted, table, _CHECKED, _CHECK_SEED)
    if fitted is not predictor:
        table = table.without_counts()
        errors = errors + _tabulating_error_ms(predictor, fitted)
    _note_errors("blocks of one shape share an entry", errors)
    return to_yaml(table)


def _single_path(predictor: Predictor) -> str:
    from latprof.datasets.importers.table_export import single_path_table

    fitted = _table_of(predictor)
    table = single_path_table(fitted)
    if fitted is not predictor:
        _note_errors("the table is additive", _tabulating_error_ms(predictor, fitted))
    note(
        f"latprof: stem, head, first and last block take {milliseconds(table.rest_ms)} ms; put "
        "this in place of the constant total_runtime of singlepath_supernet.py"
    )
    return table.to_json()


def _tabulating_error_ms(predictor: Predictor, fitted: LookupTablePredictor) -> Floats:
    """What the table says less what the pack says, for the architectures that are checked."""
    choices = predictor.space.sample_choices(_CHECKED, _CHECK_SEED)
    return fitted.predict(choices) - predictor.predict(choices)


def _note_errors(why: str, errors: Floats) -> None:
    import numpy as np

    known = errors[np.isfinite(errors)]
    if len(known):
        note(
            f"latprof: {why}: sums differ from the pack's predictions by "
            f"{milliseconds(float(np.sqrt(np.mean(known**2))), 4)} ms (root mean square, at most "
            f"{milliseconds(float(np.abs(known).max()), 4)} ms) over {len(known)} architectures"
        )
