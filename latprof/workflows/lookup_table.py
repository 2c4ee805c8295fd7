"""A pack's lookup table in a plain format, and in those that other search codes read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.common.extras import needs
from latprof.common.short_reprs import ShortRepr
from latprof.errors import UnknownNameError
from latprof.workflows.arguments import PackLike, PathLike, SpaceLike, open_pack, space_of
from latprof.workflows.formatting import milliseconds

if TYPE_CHECKING:
    from latprof.predictors.base import Floats, Predictor
    from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor
    from latprof.predictors.pack.pack import Pack

#: Formats: YAML of ProxylessNAS and Once-for-All, JSON of Single-Path NAS; latprof's own for any
#: space.
FORMATS = ("proxyless", "single-path", "yaml", "json")
#: Spaces that the authors' formats have keys for.
_KEYED = ("proxyless", "ofa-mobilenetv3")
#: Architectures that a table is fitted to where the pack has none, and others it is checked on.
_SAMPLED, _CHECKED, _CHECK_SEED = 4000, 1000, 1


@dataclass(frozen=True, repr=False)
class LookupTableResult(ShortRepr):
    """A table in another project's format.

    Parameters
    ----------
    text : str
        The file's content.
    path : Path or None
        Where it was written.
    notes : tuple of str
        How far sums of the table are from the pack's predictions, and the remaining caveats.
    """

    text: str
    path: Path | None
    notes: tuple[str, ...]


@needs("train", "scipy")
def lookup_table(
    pack: PackLike,
    table_format: str | None = None,
    output: PathLike | None = None,
    *,
    space: SpaceLike | None = None,
) -> LookupTableResult:
    """Write a pack's lookup table: in a plain format, or in one that other search codes read.

    Parameters
    ----------
    pack : Pack, path or str
        Of a file, or the name of a pack that comes with latprof.
    table_format : str, optional
        ``"yaml"`` or ``"json"``: latprof's plain format, for any space. ``"proxyless"``: YAML of
        ProxylessNAS and Once-for-All, for their spaces; ``"single-path"``: JSON of Single-Path NAS,
        for ProxylessNAS's. Unless given ``"proxyless"`` where it can be, else ``"yaml"``.
    output : path, optional
        Write it to this file.
    space : SearchSpace or str, optional
        The pack's search space, where it is one of your own.

    Raises
    ------
    UnknownNameError
        For another format.
    PackError, UsageError
        For a pack that is none, or of another space.
    OutputPathError
        For an output that cannot be written, before anything is fitted.
    """
    from latprof.common.files import check_output, write_atomically

    if table_format not in (None, *FORMATS):
        raise UnknownNameError("format", table_format, FORMATS)
    if output is not None:
        check_output(output, others=[pack])
    notes: list[str] = []
    opened = open_pack(pack, space_of(space))
    if table_format is None:
        table_format = "proxyless" if opened.space.name in _KEYED else "yaml"
    if table_format in {"yaml", "json"}:
        text = _plain(opened, table_format, notes)
    else:
        make = _proxyless if table_format == "proxyless" else _single_path
        text = make(opened.predictor, notes)
    path = None if output is None else write_atomically(output, text.encode())
    return LookupTableResult(text, path, tuple(notes))


def _table_of(predictor: Predictor, notes: list[str]) -> LookupTablePredictor:
    """The pack's own table, or one fitted to its predictor's output."""
    from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor
    from latprof.predictors.training.imported_table import tabulated

    if isinstance(predictor, LookupTablePredictor):
        return predictor
    sampled = min(_SAMPLED, predictor.space.num_architectures)
    notes.append(
        f"the pack's predictor is {predictor.name}: the table is fitted to its output on "
        f"{sampled} sampled architectures"
    )
    return tabulated(predictor, sampled)


def _plain(pack: Pack, table_format: str, notes: list[str]) -> str:
    from latprof.workflows.plain_tables import plain_table, to_plain_json, to_plain_yaml

    fitted = _table_of(pack.predictor, notes)
    table = plain_table(fitted, pack.target)
    if fitted is not pack.predictor:
        for part in table["parts"]:
            for entry in part["entries"]:
                del entry["measurements"]  # of sampled architectures, not of measured ones
        _note_errors("the table is additive", _tabulating_error_ms(pack.predictor, fitted), notes)
    return to_plain_yaml(table) if table_format == "yaml" else to_plain_json(table)


def _proxyless(predictor: Predictor, notes: list[str]) -> str:
    from latprof.datasets.importers.table_export import (
        check_keyed,
        missing_keys,
        proxyless_table,
        sharing_error_ms,
        to_yaml,
    )

    space = check_keyed(predictor.space)
    fitted = _table_of(predictor, notes)
    table = proxyless_table(fitted)
    missing = missing_keys(space, table)
    if missing:
        notes.append(
            f"{len(missing)} blocks were never measured and are not in the table, among them "
            f"{missing[0]}"
        )
    errors = sharing_error_ms(fitted, table, _CHECKED, _CHECK_SEED)
    if fitted is not predictor:
        table = table.without_counts()
        errors = errors + _tabulating_error_ms(predictor, fitted)
    _note_errors("blocks of one shape share an entry", errors, notes)
    notes.append(
        f"the keys are those of {space}: a network of other widths, resolutions, expansions or "
        "classes finds none of them (ofa_proxyless has width 1.3 and an expansion of 4)"
    )
    return to_yaml(table)


def _single_path(predictor: Predictor, notes: list[str]) -> str:
    from latprof.datasets.importers.table_export import check_space, single_path_table

    check_space(predictor.space)  # before anything is fitted
    fitted = _table_of(predictor, notes)
    table = single_path_table(fitted)
    if fitted is not predictor:
        _note_errors("the table is additive", _tabulating_error_ms(predictor, fitted), notes)
    notes.append(
        f"stem, head, first and last block take {milliseconds(table.rest_ms)} ms; put this in "
        "place of the constant total_runtime of singlepath_supernet.py"
    )
    return table.to_json()


def _tabulating_error_ms(predictor: Predictor, fitted: LookupTablePredictor) -> Floats:
    """The table's output less the pack's; NaN where it lacks an architecture's block."""
    checked = min(_CHECKED, predictor.space.num_architectures)
    choices = predictor.space.sample_choices(checked, _CHECK_SEED)
    return fitted.additive_.predict(choices) - predictor.predict(choices)


def _note_errors(why: str, errors: Floats, notes: list[str]) -> None:
    import numpy as np

    found = errors[np.isfinite(errors)]
    if len(found):
        notes.append(
            f"{why}: sums differ from the pack's predictions by "
            f"{milliseconds(float(np.sqrt(np.mean(found**2))), 4)} ms (root mean square, at most "
            f"{milliseconds(float(np.abs(found).max()), 4)} ms) over {len(found)} architectures"
        )
