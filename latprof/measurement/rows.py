"""Rows: records as the store's tables hold them, and back."""

from __future__ import annotations

import json
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


def _shapes(text: str) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(shape) for shape in json.loads(text))


def samples_of(text: str) -> PairedSamples:
    """Raw runs from a column that :func:`samples_to_json` filled."""
    return PairedSamples.from_dict(json.loads(text))


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
        conditions=json.loads(row.conditions),
        disturbed=row.disturbed,
    )
