"""Rows: records as the store's tables hold them, and back."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from latprof.measurement.records import (
    Failure,
    KernelTime,
    Measurement,
    PairedSamples,
    Subject,
)

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


def _shapes(text: str) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(shape) for shape in json.loads(text))


def samples_of(text: str) -> PairedSamples:
    """Raw runs from a column that :func:`samples_to_json` filled.

    Raises ValueError, TypeError, KeyError or InvalidValueError for anything else.
    """
    samples = PairedSamples.from_dict(json_object(text))
    for burst in (*samples.target, *samples.reference):
        for ms in burst:
            if not (type(ms) in (int, float) and 0 < ms < math.inf):
                raise ValueError(f"{ms!r} is no time")
    if type(samples.dropped_runs) is not int or samples.dropped_runs < 0:
        raise ValueError("dropped_runs is no count")
    return samples


def _conditions(text: str) -> dict[str, Any]:
    values = json_object(text)
    if not all(isinstance(values.get(moment, {}), dict) for moment in ("before", "after")):
        raise TypeError("conditions are no readings")
    return values


def kernel_of(row: sa.Row[Any]) -> KernelTime:
    """A kernel from a row of the kernels table."""
    return KernelTime(
        position=row.position,
        kind=row.kind,
        name=row.name,
        operators=tuple(json.loads(row.operators)),
        latency_ms=row.latency_ms,
        input_shapes=_shapes(row.input_shapes),
        output_shapes=_shapes(row.output_shapes),
    )


def measurement_of(row: sa.Row[Any], target: Target) -> Measurement:
    """A measurement from a row of the measurements table joined with its subject."""
    samples = failure = None
    if not all(isinstance(t, int | float) for t in (row.started_at, row.wall_s, row.load_s)):
        raise TypeError("its times are no numbers")
    if row.failure_code is None:
        samples = samples_of(row.samples)
    else:
        failure = Failure(row.failure_code, row.failure_message or "")
    return Measurement(
        subject=Subject(row.kind, row.key, row.name, row.space),
        target=target,
        label=row.label,
        visit=row.visit,
        started_at=row.started_at,
        wall_s=row.wall_s,
        load_s=row.load_s,
        process=row.process,
        samples=samples,
        failure=failure,
        conditions=_conditions(row.conditions),
        disturbed=row.disturbed,
    )
