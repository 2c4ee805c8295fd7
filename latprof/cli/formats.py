"""``--format``: the one place that renders a result as a table, JSON, CSV, Markdown or JUnit."""

from __future__ import annotations

import contextlib
import enum
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from latprof.cli.console import TABLE_MARK, one_line, print_json, tables_as_markdown
from latprof.errors import UsageError
from latprof.workflows.formatting import no_formula

if TYPE_CHECKING:
    from latprof.errors import LatprofError
    from latprof.measurement.budgets import BudgetResult

Document: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Form(enum.StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MD = "md"
    JUNIT = "junit"


Format = Annotated[
    Form,
    typer.Option(
        "--format",
        help="For people, JSON (`--json` in short), CSV, Markdown; with budgets, JUnit's XML.",
    ),
]


def form_of(form: Form, *, as_json: bool, budgets: Sequence[str] | None = None) -> Form:
    """The format that is asked for, by either option; junit is for budgets.

    Raises UsageError for two formats, and for junit without a budget.
    """
    if as_json and form not in {Form.TABLE, Form.JSON}:
        raise UsageError("`as_json` is short for `form` json", field="form", got=str(form))
    if form is Form.JUNIT and not budgets:
        raise UsageError(
            "`form` junit prints the verdicts on budgets",
            field="form",
            expected="a condition, as --fail-if '> 5 ms' of predict, profile and compare",
        )
    return Form.JSON if as_json else form


def print_as(
    form: Form,
    document: Document,
    for_people: Callable[[], None],
    *,
    rows: str = "",
    common: Mapping[str, Any] | None = None,
) -> None:
    """Print a result; nothing for junit, which is :func:`print_junit`'s.

    Parameters
    ----------
    form : Form
    document : mapping or sequence of mapping
        What JSON shows.
    for_people : callable
        Prints the table and the lines around it.
    rows : str
        The key of the document under which the rows of the CSV are; where there are none, and for
        a sequence, an object is a row.
    common : mapping, optional
        Columns that come before those of each of these rows.
    """
    if form is Form.JSON:
        print_json(document)
    elif form is Form.CSV:
        typer.echo(csv_text(_rows(document, rows, common or {})), nl=False)
    elif form is Form.MD:
        _print_markdown(for_people)
    elif form is Form.TABLE:
        for_people()


def _rows(document: Document, key: str, common: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if not isinstance(document, Mapping):
        return [*document]
    found = document.get(key) or [{k: v for k, v in document.items() if v != []}]
    if isinstance(found, Mapping):
        return [{"name": name, **common, **row} for name, row in found.items()]
    return [{**common, **row} if document.get(key) else row for row in found]


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header: nested objects with dotted names, nested rows left out.

    Text that a spreadsheet would run as a formula begins with an apostrophe.
    """
    import csv

    flat = [dict(_flat(row)) for row in rows]
    names = [*dict.fromkeys(name for row in flat for name in row)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return buffer.getvalue()


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif not isinstance(value, list | tuple):
            yield f"{prefix}{name}", _cell(value)
        elif "shape" in f"{prefix}{name}" and all(isinstance(size, int) for size in value):
            yield f"{prefix}{name}", _item(value)
        elif not any(isinstance(each, Mapping) for each in value):
            yield f"{prefix}{name}", _cell("; ".join(map(_item, value)))


def _item(value: object) -> str:
    """An entry of a list; a shape as 1x3x224x224."""
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not (float("-inf") < value < float("inf")):
        return ""
    return no_formula(one_line(value)) if isinstance(value, str) else value


def _print_markdown(for_people: Callable[[], None]) -> None:
    """What people see, with its tables as Markdown's and other lines as they are."""
    buffer = io.StringIO()
    with contextlib.redirect_stdout(buffer), tables_as_markdown():
        for_people()
    blocks = []
    for is_table, lines in groupby(
        buffer.getvalue().split("\n"), lambda line: line.startswith(TABLE_MARK)
    ):
        text = "\n".join(line.removeprefix(TABLE_MARK).rstrip() for line in lines).strip("\n")
        if text:
            fence = "```"
            while fence in text:
                fence += "`"
            blocks.append(text if is_table else f"{fence}text\n{text}\n{fence}")
    if blocks:
        typer.echo("\n\n".join(blocks))


def print_junit(
    command: str, result: BudgetResult, errors: Mapping[str, LatprofError] | None = None
) -> None:
    """Print verdicts as JUnit's XML: a test case a verdict, and one a file without an answer.

    A broken budget is a failure, and one that is not shown too, unless it is allowed: then it is
    skipped. Without a verdict there is an error.
    """
    from xml.etree import ElementTree as ET

    suite = ET.Element("testsuite", name=f"latprof {command}")
    counts = dict.fromkeys(("failure", "skipped", "error"), 0)

    def add(name: str, kind: str, what: str, message: str) -> None:
        case = ET.SubElement(suite, "testcase", classname=f"latprof.{command}", name=name)
        if kind:
            counts[kind] += 1
            details = {"message": message} | ({} if kind == "skipped" else {"type": what})
            ET.SubElement(case, kind, details)
        else:
            ET.SubElement(case, "system-out").text = message

    for verdict in result.verdicts:
        kind = {
            "kept": "",
            "broken": "failure",
            "not shown": "skipped" if result.allow_open else "failure",
            "no verdict": "error",
        }[verdict.outcome]
        name = one_line(f"{verdict.name}: {verdict.budget.describe()}")
        add(name, kind, verdict.outcome, one_line(verdict.describe()))
    for file, error in (errors or {}).items():
        add(one_line(file), "error", error.code, one_line(str(error)))
    suite.set("tests", str(len(suite)))
    for kind, plural in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(plural, str(counts[kind]))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    typer.echo('<?xml version="1.0" encoding="UTF-8"?>')
    typer.echo(ET.tostring(root, encoding="us-ascii").decode())  # in any terminal's encoding
