"""The conditions of the measurement, what failed, and how it was all measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from latprof.reports.rendering.content import Column, Section, Table
from latprof.reports.rendering.wording import UNKNOWN, count, duration, moment, ms, number, percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from latprof.reports.data import ReportData

_MOST_FAILURES = 50
_REMEDIES = {
    "timeout": "raise the time-out, or measure smaller networks",
    "unsupported": "the runtime lacks an operator of this network",
    "runtime-failed": "run latprof collect again: failed visits are retried",
    "disk-full": "free space on the disk and run latprof collect again",
}


def conditions_section(data: ReportData) -> Section:
    """Facts of the host, and what the doctor found."""
    title = "Conditions of the measurement"
    tables, missing = [], []
    if data.conditions:
        columns = (Column("Fact", numeric=False), Column("Value", numeric=False))
        rows = tuple((str(name), str(value)) for name, value in data.conditions)
        tables.append(Table("The host", columns, rows))
    else:
        missing.append("The store holds no facts of the host: collect with a recent latprof.")
    if data.doctor:
        tables.append(_doctor_table(data))
    else:
        missing.append("Run latprof doctor for what spoils timings on this host.")
    levels = [line[0].upper() for line in data.doctor]
    lead = f"All of this holds for {data.target.describe()}."
    if levels:
        lead += (
            f" Of {count(len(levels), 'check')} of the host {levels.count('OK')} passed, "
            f"{levels.count('WARN')} warned and {levels.count('FAIL')} failed."
        )
    warnings = tuple(
        f"{name}: {message}" + (f"; {remedy}." if remedy else ".")
        for status, name, message, remedy in data.doctor
        if status.upper() == "FAIL"
    )
    return Section(
        "conditions", title, lead, tables=tuple(tables), missing=tuple(missing), warnings=warnings
    )


def _doctor_table(data: ReportData) -> Table:
    return Table(
        "What the doctor found",
        tuple(Column(h, numeric=False) for h in ("Check", "Status", "Finding", "Remedy")),
        tuple((name, status, message, remedy) for status, name, message, remedy in data.doctor),
        marks=frozenset(i for i, line in enumerate(data.doctor) if line[0].upper() != "OK"),
    )


def failures_section(data: ReportData) -> tuple[Section, ...]:
    """The visits that failed; no section where none did."""
    failed = data.failed_visits
    if failed.empty:
        return ()
    codes = failed["failure_code"].astype(str).value_counts()
    lead = (
        f"{count(len(failed), 'visit')} of {len(data.visits):,} failed, in "
        f"{count(failed['subject'].nunique(), 'network')}: "
        f"{', '.join(f'{code} ({times:,})' for code, times in codes.items())}."
    )
    summary = Table(
        "Failures by kind",
        (
            Column("Code", numeric=False),
            Column("Visits"),
            Column("Networks"),
            Column("What to do", numeric=False),
        ),
        tuple(
            (
                str(code),
                f"{len(part):,}",
                f"{part['subject'].nunique():,}",
                _REMEDIES.get(str(code), "see the message; run latprof collect again to retry"),
            )
            for code, part in sorted(failed.groupby("failure_code"), key=lambda kv: -len(kv[1]))
        ),
    )
    return (
        Section("failures", "What failed", lead, tables=(summary, _failure_table(data, failed))),
    )


def _failure_table(data: ReportData, failed: pd.DataFrame) -> Table:
    shown = failed.head(_MOST_FAILURES)
    cut = f", the first {_MOST_FAILURES}" if len(failed) > len(shown) else ""
    names, has_message = data.names, "failure_message" in shown
    return Table(
        f"Failed visits{cut}",
        (
            Column("Network", numeric=False),
            Column("Visit"),
            Column("When", numeric=False),
            Column("Code", numeric=False),
            Column("Message", numeric=False),
        ),
        tuple(
            (
                names.get(row["subject"], str(row["subject"])),
                f"{int(row['visit'])}" + (" (repeat)" if row["label"] else ""),
                moment(float(row["started_at"])),
                str(row["failure_code"]),
                str(row["failure_message"]) if has_message else UNKNOWN,
            )
            for row in shown.to_dict("records")
        ),
        folded=len(shown) > 12,
    )


def protocol_section(data: ReportData) -> Section:
    """How a latency came about, in words, with the settings of this campaign."""
    campaign = data.campaign
    settings = campaign.get("protocol") or {}
    tables = []
    cost = _cost_rows(campaign)
    if cost:
        columns = (Column("Quantity", numeric=False), Column("Value"))
        tables.append(Table("What the campaign cost", columns, cost, half=True))
    if settings:
        unused = () if _half_width(settings) else ("half_width", "precision", "max_visits")
        rows = tuple(
            (_plain(name), _setting(value))
            for name, value in settings.items()
            if name not in unused
        )
        columns = (Column("Setting", numeric=False), Column("Value"))
        tables.append(Table("Settings of the protocol", columns, rows, half=True))
    lead = (
        f"A millisecond here is a ratio times a constant: the ratio of a network's time to that of "
        f"{data.reference}, timed just before and after it, times the {ms(data.reference_ms)} ms "
        "which that reference takes when this host is quiet."
    )
    if not data.reference_frozen:
        lead += (
            " The collection is not complete: until it is, more visits may change this constant, "
            "and with it all milliseconds alike."
        )
    missing = () if settings else ("The store does not name its protocol's settings.",)
    return Section(
        "protocol",
        "How this was measured",
        lead,
        tables=tuple(tables),
        paragraphs=_protocol_words(settings),
        missing=missing,
    )


_CYCLE = """
The clock of a host changes by tens of percent within seconds, so a time alone says little. Each
visit to a network therefore loads it afresh and runs a frozen cycle: a burst of the reference, a
burst of the network, a burst of the reference, and so on, {rounds} bursts of the network in all.
The counted runs of a burst take about {burst_ms} ms; {dropped_runs} before them are stored but not
counted, because the caches then hold the other network."""
_LABEL = """
A burst's time is the median of its runs, its ratio that time over the mean of the two reference
bursts around it; a visit's ratio is the median of its bursts' ratios. The {visits} visits{more} to
each network, spread over the campaign, give its label: the mean of the middle half of their
ratios. A visit during which the host changed too much is marked as disturbed, stored, and
repeated."""
_FLOOR = """
The noise floor is the standard deviation of one such label, in percent: the root mean square of the
relative difference over the networks measured twice, divided by √2 (where the two had equal
numbers of visits; else in the label's share). Every raw run is stored."""


def _protocol_words(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The protocol in words, with its settings where they are known."""
    words = {
        "rounds": "some",
        "burst_ms": "some tens of",
        "dropped_runs": "few",
        "visits": "several",
    }
    words |= {name: _setting(settings[name]) for name in words if settings.get(name) is not None}
    words["more"] = " or more" if _half_width(settings) else ""
    return tuple(" ".join(text.format(**words).split()) for text in (_CYCLE, _LABEL, _FLOOR))


def _half_width(settings: Mapping[str, Any]) -> Any:
    """Of a campaign; ``precision`` in stores of before it had this name."""
    return settings.get("half_width") or settings.get("precision")


def _cost_rows(campaign: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What the campaign cost, as far as it is known."""
    rows = (
        ("Wall time of the visits", "wall_s", duration),
        ("Outside timed runs", "overhead_share", percent),
        ("Networks per hour", "networks_per_hour", lambda v: number(v, 0)),
        ("Visits done", "done", lambda v: number(v, 0)),
        ("Visits failed", "failed", lambda v: number(v, 0)),
    )
    return tuple(
        (label, write(float(campaign[key])))
        for label, key, write in rows
        if campaign.get(key) is not None and math.isfinite(float(campaign[key]))
    )


_SETTINGS = {
    "rounds": "Bursts of the network in a visit",
    "visits": "Visits to a network",
    "burst_ms": "Time of a burst (ms)",
    "min_runs": "Fewest counted runs in a burst",
    "max_runs": "Most counted runs in a burst",
    "dropped_runs": "Runs dropped at a burst's start",
    "reference_loads": "Loads of the reference, in turn",
    "max_drift": "Drift that marks a visit as disturbed",
    "max_withheld": "Withheld time that marks a visit as disturbed",
    "max_load": "Share of the spare cores, taken by others, that marks a visit as disturbed",
    "half_width": "Confidence half-width that ends a network's visits",
    "precision": "Confidence half-width that ends a network's visits",
    "max_visits": "Most visits to reach it",
}


def _plain(name: str) -> str:
    """A setting's name for people; an unknown one such as ``"pause_ms"`` is ``"Pause (ms)"``."""
    if name in _SETTINGS:
        return _SETTINGS[name]
    words, _, unit = name.rpartition("_")
    text = f"{words} ({unit})" if unit in {"ms", "s"} else name
    return text.replace("_", " ").capitalize()


def _setting(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)
