"""The report as one self-contained HTML page, and its figures as PNG files."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.common.files import output_error, write_atomically
from latprof.reports.rendering import interactive, static, theme
from latprof.reports.rendering.drawing import to_svg

if TYPE_CHECKING:
    import os

    import jinja2

    from latprof.reports.rendering.content import Figure, Report

_TEMPLATES = Path(__file__).with_name("templates")


def render_report(report: Report, *, is_static: bool = False) -> str:
    """Return a report's content as one HTML page that loads nothing from anywhere.

    Plots are interactive where JavaScript runs and pictures where it does not; tables need none.
    A static page has small pictures alone, and no script: a few hundred kB at most.
    """
    figures = report.figures
    shown = () if is_static else figures
    specifications = {f.slug: interactive.specification(f) for f in shown}
    template = _environment().get_template("page.html.j2")
    return template.render(
        report=report,
        light=theme.css_variables(theme.LIGHT),
        dark=theme.css_variables(theme.DARK),
        style=_source("style.css"),
        script=_source("plots.js"),
        drawings={d.slug: to_svg(d) for d in report.drawings},
        pictures={f.slug: _small_picture(f) if is_static else _picture(f) for f in figures},
        is_static=is_static,
        specifications=interactive.to_json(specifications),
        plotly=interactive.plotly_javascript() if shown else "",
    )


def write_report(report: Report, path: str | os.PathLike[str], *, is_static: bool = False) -> Path:
    """Write :func:`render_report` to ``path``, all of it or nothing.

    Raises OutputPathError where the path cannot be written, DiskFullError where the disk is full.
    """
    return write_atomically(
        path, render_report(report, is_static=is_static).encode("utf-8", errors="replace")
    )


def write_pictures(report: Report, directory: str | os.PathLike[str]) -> list[Path]:
    """Write one PNG picture a figure, and each drawing as SVG, named like its slug.

    The directory is made where it is missing. Raises as :func:`write_report` does.
    """
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    figures = [
        write_atomically(folder / f"{figure.slug}.png", static.to_png(figure))
        for figure in report.figures
    ]
    drawings = [
        write_atomically(folder / f"{drawing.slug}.svg", to_svg(drawing, theme.LIGHT).encode())
        for drawing in report.drawings
    ]
    return figures + drawings


def _small_picture(figure: Figure) -> str:
    kind, content = static.to_small_picture(figure)
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _picture(figure: Figure) -> str:
    """A figure as a data URL, for readers without JavaScript."""
    svg = static.to_svg(figure).encode("utf-8", errors="replace")
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode('ascii')}"


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _source(name: str) -> str:
    """A style sheet or script of this package."""
    return (_TEMPLATES / name).read_text("utf-8")
