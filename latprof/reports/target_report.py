"""From measurements to the content of a report, before any renderer."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING

from latprof._version import __version__
from latprof.reports.rendering.arrays import floats
from latprof.reports.rendering.content import Report
from latprof.reports.rendering.wording import duration, moment
from latprof.reports.sections.breakdown import breakdown_sections
from latprof.reports.sections.how_measured import (
    conditions_section,
    failures_section,
    protocol_section,
)
from latprof.reports.sections.latency import headline_tiles, latency_section
from latprof.reports.sections.phone_state import phone_section
from latprof.reports.sections.predictor import prediction_sections
from latprof.reports.sections.stability import stability_sections

if TYPE_CHECKING:
    from latprof.reports.data import ReportData


def build_report(data: ReportData) -> Report:
    """Compute everything that the report of ``data`` shows, independent of its rendering."""
    return Report(
        title=data.title,
        subtitle=data.target.describe(),
        facts=_facts(data),
        tiles=headline_tiles(data),
        sections=(
            *prediction_sections(data),
            latency_section(data),
            *breakdown_sections(data),
            *stability_sections(data),
            *phone_section(data),
            *failures_section(data),
            conditions_section(data),
            protocol_section(data),
        ),
        footer=_footer(data),
    )


def _facts(data: ReportData) -> tuple[tuple[str, str], ...]:
    started = floats(data.visits["started_at"])
    facts = [("Target", data.target.spelling), ("Reference", data.reference)]
    if len(started):
        facts.append(("Measured", moment(float(started.min()))))
    wall = data.campaign.get("wall_s")
    if wall is not None and math.isfinite(float(wall)):
        facts.append(("Took", duration(float(wall))))
    if data.pack is not None:
        facts.append(("Predictor", data.pack.predictor.name))
    return tuple(facts)


def _footer(data: ReportData) -> str:
    written = moment(dt.datetime.now(dt.UTC).timestamp())
    pack = "" if data.pack is None else f" The pack is by latprof {data.pack.latprof_version}."
    return (
        f"Written by latprof {__version__} on {written}.{pack} This page needs no network; every "
        "figure comes from the samples in the store."
    )
