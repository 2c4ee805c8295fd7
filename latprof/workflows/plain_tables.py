"""A lookup table of any search space in a plain format: JSON, or the same as YAML.

The format, version 1 (docs/own-space.md): a latency is ``fixed_ms`` and, for each of
``parts``, the ``latency_ms`` of the entry whose ``choices`` are the architecture's at the part's
``decisions``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latprof.measurement.records import Target
    from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor, TableRow

#: What the files call their format, and its version.
NAME, VERSION = "latprof-lookup-table", 1
#: Decimals of the milliseconds: a thousandth of a nanosecond.
_DECIMALS = 9


def plain_table(fitted: LookupTablePredictor, target: Target | None) -> dict[str, Any]:
    """The table as plain JSON values; entries that no training row had are not in it.

    ``measurements`` of an entry is the number of training rows that had it.
    """
    space = fitted.space
    rows: dict[int, list[TableRow]] = {}
    for row in fitted.rows():
        rows.setdefault(row.position, []).append(row)
    return {
        "format": NAME,
        "version": VERSION,
        "space": json.loads(space.description),
        "target": None if target is None else target.to_dict(),
        "decisions": [list(names) for names in space.candidates],
        "fixed_ms": round(fitted.fixed_ms_, _DECIMALS),
        "parts": [
            {
                "name": part.name,
                "decisions": list(part.decisions),
                "entries": [
                    _entry(row, [int(space.num_choices[d]) for d in part.decisions])
                    for row in rows.get(number, [])
                ],
            }
            for number, part in enumerate(space.parts)
        ],
    }


def _entry(row: TableRow, sizes: Sequence[int]) -> dict[str, Any]:
    choices = np.unravel_index(row.choice, sizes)
    return {
        "choices": [int(choice) for choice in choices],
        "candidates": row.candidate,
        "key": row.key,
        "latency_ms": round(row.latency_ms, _DECIMALS),
        "measurements": row.count,
    }


def to_plain_json(table: Mapping[str, Any]) -> str:
    """The table as JSON."""
    return json.dumps(table, indent=1, allow_nan=False) + "\n"


def to_plain_yaml(table: Mapping[str, Any]) -> str:
    """The table as YAML that holds the same: lists of entries, each entry on a line of its own."""
    lines = [f"{name}: {_flow(value)}" for name, value in table.items() if name != "parts"]
    lines.append("parts:")
    for part in table["parts"]:
        lines.append(f"- name: {_flow(part['name'])}")
        lines.append(f"  decisions: {_flow(part['decisions'])}")
        lines.append("  entries:" if part["entries"] else "  entries: []")
        lines += [f"  - {_flow(entry)}" for entry in part["entries"]]
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    """A value in one line: JSON is YAML, but for floats without a point (``1e-05`` is text)."""
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text else text.replace("e", ".0e")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):  # JSON's pairs of escapes are two characters in YAML
        plain = (c if " " <= c <= "~" and c not in '"\\' else f"\\U{ord(c):08x}" for c in value)
        return f'"{"".join(plain)}"'
    return json.dumps(value)
