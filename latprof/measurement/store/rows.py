"""Rows: records as the store's tables hold them, and back."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from latprof.measurement.quiet.target_constant import Constant
from latprof.measurement.records import KernelTime, PairedSamples, Subject, Target
from latprof.measurement.visits import Measurement, Visit, VisitKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def to_json(value: Any) -> str:
    """Compact JSON for a column."""
    return json.dumps(value, separators=(",", ":"))


def samples_to_json(samples: PairedSamples | None) -> str | None:
    """Raw runs as JSON, to the nanosecond; None for none."""
    if samples is None:
        return None

    def rounded(bursts: Sequence[Sequence[float]]) -> list[list[float]]:
        return [[round(ms, 6) for ms in burst] for burst in bursts]

    raw = {"target": rounded(samples.target), "reference": rounded(samples.reference)}
    return to_json(samples.to_dict() | raw)


def json_value(text: str | None) -> Any:
    """A JSON value from a column; raises ValueError for anything else."""
    if text is None:
        raise ValueError("JSON is missing")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON is nested too deep") from None


def json_object(text: str | None) -> dict[str, Any]:
    """A JSON object from a column; raises ValueError or TypeError for anything else."""
    return json_mapping(json_value(text))


def samples_of(text: str) -> PairedSamples:
    """Raw runs from a column that :func:`samples_to_json` filled.

    Raises ValueError, TypeError or InvalidValueError for anything else.
    """
    return PairedSamples.from_dict(json_object(text))


def kernel_of(values: Mapping[str, Any]) -> KernelTime:
    """A kernel from the values of a row of the kernels table."""
    columns = ("operators", "input_shapes", "output_shapes")
    return KernelTime.from_dict({**values, **{name: json_value(values[name]) for name in columns}})


def row_of_kernel(kernel: KernelTime) -> dict[str, Any]:
    """A kernel as a row of the kernels table, without its profile."""
    columns = ("operators", "input_shapes", "output_shapes")
    values = kernel.to_dict()
    return values | {name: to_json(values[name]) for name in columns}


def measurement_of(values: Mapping[str, Any], subject: Subject, target: Target) -> Measurement:
    """A measurement from the values of a row of the measurements table.

    Raises ValueError, TypeError or InvalidValueError where they do not belong together.
    """
    code, samples = values["failure_code"], values["samples"]
    if (code is None) == (samples is None):
        raise ValueError("it has neither or both of samples and a failure")
    failure = {"code": code, "message": values["failure_message"] or ""}
    conditions = json_object(values["conditions"])
    _check_readings(conditions)
    made = Visit.from_dict(
        {
            **{name: values[name] for name in ("started_at", "wall_s", "load_s", "process")},
            "samples": None if samples is None else json_object(samples),
            "failure": None if code is None else failure,
            "conditions": conditions,
        }
    )
    key = VisitKey(subject, values["label"], values["visit"])
    return Measurement.of_visit(made, key, target, disturbed=values["disturbed"])


def _check_readings(conditions: Mapping[str, Any]) -> None:
    """Raise ValueError unless every reading of a moment is a number, or of the GPU and a text."""
    for moment in conditions.keys() & {"before", "after"}:
        for name, value in json_mapping(conditions[moment]).items():
            if isinstance(value, str) and name.startswith("gpu_"):
                continue
            if not isinstance(value, int | float) or abs(value) > 1e300:
                raise ValueError(f"reading {name[:60]} is no number")


def json_mapping(value: Any) -> dict[str, Any]:
    """A part of JSON that is an object; raises TypeError for anything else."""
    if not isinstance(value, dict):
        raise TypeError("not a JSON object")
    return value


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


def subject_of(values: Mapping[str, Any]) -> Subject:
    """A network from the values of a row of the subjects table."""
    if values["kind"] not in {"architecture", "model", "built", "reference"}:
        raise ValueError(f"kind is {values['kind'][:60]!r}")
    return Subject(values["kind"], values["key"], values["name"], sys.intern(values["space"]))


def target_of(values: Mapping[str, Any]) -> Target:
    """A target from the values of a row of the targets table."""
    target = Target.from_dict(json_object(values["key"]))
    if target.key != values["key"]:
        raise ValueError("key is not that of its target")
    return target


def constant_of(values: Mapping[str, Any]) -> Constant:
    """A constant from the values of a row of the constants table."""
    own = {name: values[name] for name in ("number", "reference_ms")}
    return Constant.from_dict(json_object(values["how"]) | own)


def row_of_constant(constant: Constant) -> dict[str, Any]:
    """A constant as a row of the constants table, without its target."""
    values = constant.to_dict()
    own = {name: values.pop(name) for name in ("number", "reference_ms")}
    return own | {"how": to_json(values)}


def campaign_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """A campaign as :meth:`Store.campaigns` gives it."""
    parts = {name: json_object(values[name]) for name in ("plan", "protocol", "host")}
    return {name: values[name] for name in ("id", "started_at", "ended_at")} | parts
