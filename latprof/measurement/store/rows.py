"""Rows: records as the store's tables hold them, and back."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from latprof.measurement.records import KernelTime, PairedSamples, Subject
from latprof.measurement.visits import Measurement, Visit, VisitKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from latprof.measurement.records import Target


def to_json(value: Any) -> str:
    """Compact JSON for a column."""
    return json.dumps(value, separators=(",", ":"))


def samples_to_json(samples: PairedSamples | None) -> str | None:
    """Raw runs as JSON, to the nanosecond; None for none."""
    if samples is None:
        return None

    def rounded(bursts: Sequence[Sequence[float]]) -> list[list[float]]:
        return [[round(ms, 6) for ms in burst] for burst in bursts]

    return to_json(
        {
            "target": rounded(samples.target),
            "reference": rounded(samples.reference),
            "dropped_runs": samples.dropped_runs,
        }
    )


def json_object(text: str) -> dict[str, Any]:
    """A JSON object from a column; raises ValueError or TypeError for anything else."""
    values = json.loads(text)
    if not isinstance(values, dict):
        raise TypeError("not a JSON object")
    return values


def duration(value: float | None) -> float | None:
    """Return a time from a column, None for none; raises ValueError unless it is one above 0."""
    if value is not None and not (isinstance(value, int | float) and 0 < value < math.inf):
        raise ValueError(f"{value!r} is no time")
    return value


def samples_of(text: str) -> PairedSamples:
    """Raw runs from a column that :func:`samples_to_json` filled.

    Raises ValueError, TypeError or InvalidValueError for anything else.
    """
    return PairedSamples.from_dict(json_object(text))


def kernel_of(row: sa.Row[Any]) -> KernelTime:
    """A kernel from a row of the kernels table."""
    columns = ("operators", "input_shapes", "output_shapes")
    values = dict(row._mapping)  # noqa: SLF001 - the documented name of a row's mapping
    return KernelTime.from_dict(values | {name: json.loads(values[name]) for name in columns})


def row_of_kernel(kernel: KernelTime) -> dict[str, Any]:
    """A kernel as a row of the kernels table, without its profile."""
    columns = ("operators", "input_shapes", "output_shapes")
    values = kernel.to_dict()
    return values | {name: to_json(values[name]) for name in columns}


def measurement_of(row: sa.Row[Any], target: Target) -> Measurement:
    """A measurement from a row of the measurements table joined with its subject."""
    failed = row.failure_code is not None
    failure = {"code": row.failure_code, "message": row.failure_message or ""}
    made = Visit.from_dict(
        {
            "started_at": row.started_at,
            "wall_s": row.wall_s,
            "load_s": row.load_s,
            "process": row.process,
            "samples": None if failed else json_object(row.samples),
            "failure": failure if failed else None,
            "conditions": json_object(row.conditions),
        }
    )
    key = VisitKey(subject_of(row), row.label, row.visit)
    return Measurement.of_visit(made, key, target, disturbed=row.disturbed)


def row_of_measurement(measurement: Measurement) -> dict[str, Any]:
    """A measurement as a row of the measurements table, without subject, target and campaign."""
    failure = measurement.failure
    return {
        "label": measurement.label,
        "visit": measurement.visit,
        "started_at": measurement.started_at,
        "wall_s": measurement.wall_s,
        "load_s": measurement.load_s,
        "process": measurement.process,
        "samples": samples_to_json(measurement.samples),
        "disturbed": measurement.disturbed,
        "failure_code": None if failure is None else failure.code,
        "failure_message": None if failure is None else failure.message,
        "conditions": to_json(measurement.conditions),
    }


def subject_of(row: sa.Row[Any]) -> Subject:
    """A network from the columns of the subjects table."""
    return Subject(row.kind, row.key, row.name, row.space)
