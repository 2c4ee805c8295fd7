"""A phone over its campaign: how warm it was, how fast its cores ran, when it throttled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latprof.reports.rendering.arrays import Floats, floats, thin
from latprof.reports.rendering.content import Axis, Column, Figure, Section, Series, Table
from latprof.reports.rendering.wording import count, number
from latprof.reports.sections.stability import since_the_first

if TYPE_CHECKING:
    import pandas as pd

    from latprof.reports.data import ReportData

_POINTS = 1200
_TEMPERATURES = (
    ("phone_skin_c", "Skin", "series-1"),
    ("phone_battery_c", "Battery", "series-2"),
    ("phone_skin_limit_c", "Skin's first limit", "series-5"),
)
_CLOCKS = (
    ("phone_clock_mhz", "Clock", "series-1"),
    ("phone_limit_mhz", "Limit of the clock", "series-5"),
)


def phone_section(data: ReportData) -> tuple[Section, ...]:
    """Temperatures and clocks of a phone after each visit; nothing for other devices."""
    visits = data.good_visits
    names = [name for name, _, _ in (*_TEMPERATURES, *_CLOCKS) if name in visits]
    if visits.empty or not names:
        return ()
    throttled = int(visits["unusable"].sum()) if "unusable" in visits else 0
    lead = f"Read after each of {count(len(visits), 'visit')}. " + (
        f"The phone throttled during {count(throttled, 'visit')}, which no label uses."
        if throttled
        else "The phone did not say that it throttled."
    )
    figures = (
        _figure("phone-temperature", "Temperature", "Degrees Celsius", _TEMPERATURES, visits),
        _figure("phone-clock", "Clock of the cores measured on", "MHz", _CLOCKS, visits),
    )
    return (
        Section(
            "phone",
            "The phone over the campaign",
            lead,
            figures=tuple(figure for figure in figures if figure is not None),
            tables=(_table(visits),),
        ),
    )


def _known(visits: pd.DataFrame, name: str) -> Floats:
    values = floats(visits.get(name, ()))
    known: Floats = values[np.isfinite(values)]
    return known


def _figure(
    slug: str,
    title: str,
    unit: str,
    lines: tuple[tuple[str, str, str], ...],
    visits: pd.DataFrame,
) -> Figure | None:
    """Values over time; None where none is known, or there is one visit alone."""
    elapsed, since = since_the_first(floats(visits["started_at"]))
    chosen = thin(len(elapsed), _POINTS)
    series = tuple(
        Series(
            label, "line", elapsed[chosen].tolist(), floats(visits[name])[chosen].tolist(), color
        )
        for name, label, color in lines
        if len(_known(visits, name))
    )
    if not series or len(elapsed) < 2:
        return None
    shown = np.concatenate([_known(visits, name) for name, _, _ in lines])
    return Figure(
        slug=slug,
        title=f"{title} over the campaign",
        alt=(
            f"{title} after {len(elapsed)} visits, between {number(float(shown.min()))} and "
            f"{number(float(shown.max()))}, its limit among them."
        ),
        x=Axis(f"Time since the first visit ({since})"),
        y=Axis(f"{title} ({unit})" if unit == "MHz" else unit),
        series=series,
        wide=True,
        height_px=300,
    )


def _table(visits: pd.DataFrame) -> Table:
    rows = []
    for lines, unit in ((_TEMPERATURES, "°C"), (_CLOCKS, "MHz")):
        for name, label, _ in lines:
            if len(known := _known(visits, name)):
                marks = np.percentile(known, [0, 50, 100])
                rows.append((f"{label} ({unit})", *(number(float(mark)) for mark in marks)))
    return Table(
        "The phone after each visit",
        (Column("Quantity", numeric=False), *(Column(h) for h in ("Least", "Median", "Most"))),
        tuple(rows),
    )
