"""Small tables of HTML for notebooks: plain, escaped, without styles of others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def html_table(title: str, rows: Iterable[Sequence[object]], header: Sequence[object] = ()) -> str:
    """Make a table with a title; every text is escaped.

    Parameters
    ----------
    title : str
    rows : iterable of sequence
        The first cell of a row names it.
    header : sequence, optional
        Names of the columns.
    """
    lines = [f"<table><caption>{_escaped(title)}</caption>"]
    if header:
        lines.append("<thead><tr>" + _cells("th", header, ' scope="col"') + "</tr></thead>")
    lines.append("<tbody>")
    for first, *others in rows:
        lines.append(
            "<tr>" + _cells("th", [first], ' scope="row"') + _cells("td", others) + "</tr>"
        )
    return "\n".join([*lines, "</tbody></table>"])


def _cells(tag: str, values: Iterable[object], attributes: str = "") -> str:
    return "".join(f"<{tag}{attributes}>{_escaped(str(value))}</{tag}>" for value in values)


def _escaped(text: str) -> str:
    from html import escape  # imports the names of all characters

    return escape(text)
