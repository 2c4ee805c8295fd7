"""Visits as a table: one row a visit, from the measurements of one target."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from latprof.measurement.disturbance import NEVER_USED
from latprof.measurement.process_effects import process_effects
from latprof.measurement.quiet.conditions import other_load, steal_fraction, withheld_fraction
from latprof.measurement.quiet.preemption import preempted_share, waiting_share
from latprof.measurement.statistics import (
    burst_medians,
    counted_runs,
    cut_bursts,
    raw_median_ms,
    raw_minimum_ms,
    reference_drift,
    visit_ratio,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd

    from latprof.measurement.records import PairedSamples
    from latprof.measurement.visits import Measurement

#: Columns that name a network.
NETWORK: Final = ["kind", "space", "subject"]

_NAN = float("nan")


def visit_row(measurement: Measurement) -> dict[str, Any]:
    """One visit's row of :func:`visit_table`."""
    subject, samples = measurement.subject, measurement.samples
    conditions, failure = measurement.conditions, measurement.failure
    before, after = conditions.get("before", {}), conditions.get("after", {})
    row = {
        "kind": subject.kind,
        "space": subject.space,
        "subject": subject.key,
        "name": subject.name,
        "label": measurement.label,
        "visit": measurement.visit,
        "started_at": measurement.started_at,
        "process": measurement.process,
        "reference": "",
        "target_runs": _NAN,
        "reference_runs": _NAN,
        "ratio": _NAN,
        "raw_median_ms": _NAN,
        "raw_minimum_ms": _NAN,
        "reference_ms": _NAN,
        "drift": _NAN,
        "timed_s": 0.0,
        "load_s": measurement.load_s,
        "wall_s": measurement.wall_s,
        "steal": steal_fraction(before, after) if before and after else _NAN,
        "withheld": withheld_fraction(before, after),
        "other_load": other_load(before, after),
        "load1": after.get("load1", _NAN),
        "memory_quotient": after.get("memory_quotient", _NAN),
        "others_memory_gb_s": after.get("others_memory_gb_s", _NAN),
        "preempted": _NAN,
        "waited": _NAN,
        "disturbed": measurement.disturbed,
        "unusable": not NEVER_USED.isdisjoint(conditions.get("disturbances", ())),
        "failure_code": None if failure is None else failure.code,
        "failure_message": None if failure is None else failure.message,
    }
    if conditions.get("specimen"):
        row["specimen"] = str(conditions["specimen"])
    of_device = ("gpu_", "phone_")
    row |= {name: value for name, value in after.items() if name.startswith(of_device)}
    return row if samples is None else row | _statistics(samples)


def _statistics(samples: PairedSamples) -> dict[str, Any]:
    target_runs, reference_runs = counted_runs(samples)
    return {
        "reference": samples.reference_name,
        "target_runs": target_runs,
        "reference_runs": reference_runs,
        "ratio": visit_ratio(samples),
        "raw_median_ms": raw_median_ms(samples),
        "raw_minimum_ms": raw_minimum_ms(samples),
        "reference_ms": float(median(burst_medians(samples)[1].tolist())),
        "drift": reference_drift(samples),
        "preempted": preempted_share(samples),
        "waited": waiting_share(samples),
        "timed_s": sum(map(sum, (*samples.target, *samples.reference))) / 1e3,
    }


def visit_table(
    rows: list[dict[str, Any]], measurements: Callable[[], Iterable[Measurement]]
) -> pd.DataFrame:
    """Visits comparable with one another: over the same runs, with each process's effect.

    Parameters
    ----------
    rows : list of dict
        One a visit, of :func:`visit_row`; at least one.
    measurements : callable
        Reads the same visits once more, in the same order: called where bursts must be cut, so that
        the raw runs of all visits are never held together.
    """
    import pandas as pd

    table = pd.DataFrame(rows)
    _compare_like_bursts(table, measurements)
    table["process_effect"] = _process_effects(table)
    return table


def _compare_like_bursts(
    table: pd.DataFrame, measurements: Callable[[], Iterable[Measurement]]
) -> None:
    """Take the ratios over the runs that all visits to a network, and to the reference, made."""
    made = table[["target_runs", "reference_runs"]].copy()
    table["target_runs"] = table.groupby(NETWORK)["target_runs"].transform("min")
    table["reference_runs"] = table.groupby("reference")["reference_runs"].transform("min")
    longer = (made > table[["target_runs", "reference_runs"]]).any(axis=1).to_numpy()
    if not longer.any():
        return
    ratios = table["ratio"].to_numpy(copy=True)
    runs = table[["target_runs", "reference_runs"]].to_numpy()
    # What was stored meanwhile comes last.
    for row, measurement in zip(range(len(table)), measurements(), strict=False):
        if longer[row] and measurement.samples is not None:
            ratios[row] = visit_ratio(cut_bursts(measurement.samples, *map(int, runs[row])))
    table["ratio"] = ratios


def _process_effects(visits: pd.DataFrame) -> pd.Series[float]:
    """Each visit's process effect, from undisturbed visits; 1 where these do not identify it.

    Where several specimens of a device made the visits, that of its specimen is a part of it.
    """
    if "specimen" not in visits:
        return _effects_of(_processes(visits), visits, visits["ratio"])
    visits["specimen_effect"] = _effects_of(visits["specimen"].fillna(""), visits, visits["ratio"])
    ratios = visits["ratio"] / visits["specimen_effect"]
    return visits["specimen_effect"] * _effects_of(_processes(visits), visits, ratios)


def _processes(visits: pd.DataFrame) -> pd.Series[str]:
    # The loads of each reference have a bias of their own in a process.
    return visits["process"] + visits["reference"].where(
        visits["reference"] == "", "/" + visits["reference"]
    )


def _effects_of(
    makers: pd.Series[str], visits: pd.DataFrame, ratios: pd.Series[float]
) -> pd.Series[float]:
    """The effect of whatever made each visit, estimated from the undisturbed ones."""
    counts = visits["failure_code"].isna() & ~visits["disturbed"]
    clean = visits[counts]
    # Ratios to two references are not of one scale: towards each a network is one of its own.
    networks = clean.groupby([*NETWORK, "reference"], sort=False).ngroup().to_numpy()
    names = makers[counts].to_numpy(str)
    distinct, first = np.unique(names, return_index=True)
    effects = process_effects(networks, names, ratios[counts])
    of_maker = dict(zip(distinct.tolist(), effects[first].tolist(), strict=True))
    return makers.map(of_maker).fillna(1.0)
