"""Lookup tables of blocks or operators, read from the files that search codes use.

ProxylessNAS and Once-for-All keep theirs as YAML (key: count, mean, var), Single-Path NAS as JSON
(layer, choice: ms). Times are in milliseconds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr, first_names
from latprof.datasets.importers.files.reading import (
    kind_of,
    lines_of,
    number_in,
    number_of,
    read_json,
    read_text,
)
from latprof.errors import CoverageError, DataSetError

Floats: TypeAlias = NDArray[np.float64]

_MAX_BYTES = 16 << 20
_MAX_BRACES = 2000
_KEY = re.compile(r"(['\"]?)(?P<key>[^\s'\"#&*!|>%@`{}\[\],?]\S*?)\1:(?:[ \t]+(?P<rest>\S.*))?")
_FIELD = re.compile(r"(?P<name>\w+):[ \t]+(?P<value>\S+)")
_FIELDS = frozenset({"count", "mean", "var", "std"})
_EXPECTED = "lines 'key:' and below each 'count: N', 'mean: ms' and 'var: ms^2'"


@dataclass(frozen=True)
class TableEntry:
    """What one block takes: the mean over ``count`` measurements, and their variance (ms^2)."""

    latency_ms: float
    count: int | None = None
    variance: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class LookupTable(ShortRepr):
    """A table from the keys of blocks to what they take.

    Parameters
    ----------
    name : str
    entries : mapping of str to TableEntry
    source, licence : str
    """

    name: str
    entries: Mapping[str, TableEntry]
    source: str = ""
    licence: str = ""

    def __len__(self) -> int:
        return len(self.entries)

    def latency_ms(self, keys: Iterable[str]) -> Floats:
        """What each block takes, shape (n,), in ms.

        Raises CoverageError, which lists them, where the table does not have a key; what is not in
        the table never counts as 0 ms.
        """
        asked = list(keys)
        missing = list(dict.fromkeys(key for key in asked if key not in self.entries))
        if missing:
            raise CoverageError(
                f"the lookup table {self.name} has no entry for {first_names(missing)}",
                missing,
                hint="the table is of another space, width or resolution, or not whole",
            )
        return np.array([self.entries[key].latency_ms for key in asked], dtype=np.float64)

    def without_counts(self) -> LookupTable:
        """The same times, for a table whose counts are not of measurements."""
        entries = {key: TableEntry(entry.latency_ms) for key, entry in self.entries.items()}
        return replace(self, entries=entries)

    def total_ms(self, keys: Iterable[str]) -> float:
        """What the blocks take together, in ms; raises as :meth:`latency_ms`."""
        return float(self.latency_ms(keys).sum())


def read_yaml_table(path: str | os.PathLike[str]) -> LookupTable:
    """Read a table of ProxylessNAS or Once-for-All.

    What is read is the YAML that these projects publish, and nothing more of that language: keys of
    the block at the start of a line, and count, mean, and var or std below it or in braces beside
    it. A standard deviation (ms) becomes the entry's variance.

    Raises DataSetError for a file that is missing or of another form, with the line.
    """
    entries: dict[str, TableEntry] = {}
    key, fields = "", dict[str, float]()
    for number, text in _logical_lines(read_text(path, _MAX_BYTES)):
        if text[0] in " \t":
            if not key:
                raise _malformed(path, number, text)
            fields |= _fields(path, number, text.strip(), fields)
            continue
        _close(path, key, fields, entries)
        found = _KEY.fullmatch(text)
        if found is None or found["key"] in entries or len(found["key"]) > 1000:
            raise _malformed(path, number, text)
        key, fields = found["key"], {}
        rest = found["rest"]
        if rest is not None:
            if not (rest.startswith("{") and rest.endswith("}")):
                raise _malformed(path, number, text)
            for part in rest[1:-1].rstrip().removesuffix(",").split(","):
                fields |= _fields(path, number, part.strip(), fields)
    _close(path, key, fields, entries)
    if not entries:
        raise DataSetError(f"{path} is no lookup table", expected=_EXPECTED)
    return LookupTable(os.fspath(path), entries, source=str(path))


def _logical_lines(content: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line that says something; braces over several lines are one."""
    begun = ""
    first = 0
    for number, line in lines_of(content):
        text = line.partition(" #")[0].rstrip()
        if not text or text in {"---", "..."} or text.startswith("#"):
            continue
        if begun:
            text = f"{begun} {text.strip()}"
        else:
            first = number
        if text.count("{") == 1 and "}" not in text and len(text) < _MAX_BRACES:
            begun = text
        else:
            begun = ""
            yield first, text
    if begun:
        yield first, begun


def _malformed(path: str | os.PathLike[str], number: int, text: str) -> DataSetError:
    return DataSetError(
        f"{path}, line {number}: not of a lookup table", expected=_EXPECTED, got=repr(text[:60])
    )


def _fields(
    path: str | os.PathLike[str], number: int, text: str, known: Mapping[str, float]
) -> dict[str, float]:
    found = _FIELD.fullmatch(text)
    if found is None or found["name"] in known:
        raise _malformed(path, number, text)
    value = number_of(found["value"])
    if found["name"] in _FIELDS and not abs(value) < 1e12:
        raise _malformed(path, number, text)
    return {found["name"]: value}


def _close(
    path: str | os.PathLike[str],
    key: str,
    fields: Mapping[str, float],
    entries: dict[str, TableEntry],
) -> None:
    """Add the entry that ends here."""
    if not key:
        return
    if "mean" not in fields:
        raise DataSetError(f"{path}: {key[:200]!r} has no mean", expected=_EXPECTED)
    count = fields.get("count")
    if count is not None and (count < 0 or count != int(count)):
        raise DataSetError(f"{path}: the count of {key[:200]!r} is no count", got=str(count))
    wrong = next((name for name in ("var", "std") if fields.get(name, 0.0) < 0), None)
    if wrong is not None:
        raise DataSetError(
            f"{path}: the {wrong} of {key[:200]!r} is below 0", got=str(fields[wrong])
        )
    variance = fields["std"] ** 2 if "std" in fields else None
    entries[key] = TableEntry(
        fields["mean"], None if count is None else int(count), fields.get("var", variance)
    )


def read_single_path_table(path: str | os.PathLike[str]) -> LookupTable:
    """Read a table of Single-Path NAS: ``{layer: {choice: ms}}``.

    Keys are ``"LAYER/CHOICE"``; the choices are 0 kernel 3 and expansion 3, 1 kernel 3 and
    expansion 6, 2 kernel 5 and expansion 3, 3 kernel 5 and expansion 6. Raises DataSetError for a
    file that is missing or malformed.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise DataSetError(
            f"{path} is no table of Single-Path NAS",
            expected="an object of layers",
            got=kind_of(content),
        )
    entries = {}
    for layer, choices in content.items():
        if not layer.isdecimal() or not isinstance(choices, dict) or not choices:
            raise DataSetError(
                f"{path}: layer {layer[:40]!r} is malformed",
                expected="a number, and an object of choices",
                got=kind_of(choices),
            )
        for choice, value in choices.items():
            key = f"{layer}/{choice}"
            if not choice.isdecimal():
                raise DataSetError(f"{path}: choice {key[:40]!r} is malformed", expected="a number")
            entries[key] = TableEntry(number_in(path, key[:40], value))
    return LookupTable(os.fspath(path), entries, source=str(path))
