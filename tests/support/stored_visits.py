"""Visits as stores hold them, made up."""

import dataclasses
from typing import Any

from latprof.measurement.records import PairedSamples, Subject, Target
from latprof.measurement.visits import Measurement

TARGET = Target("cpu", "a processor", "onnxruntime", "1.0", input_shape=(1, 3, 224, 224))


def measurement(
    name: str = "a", label: int = 0, visit: int = 0, ratio: float = 2.0, **changes: Any
) -> Measurement:
    """A visit of 2 rounds that nothing disturbed, with ``changes`` to its fields."""
    samples = PairedSamples(
        ((9.0, ratio * 5, ratio * 5),) * 2, ((8.0, 5.0, 5.0),) * 3, dropped_runs=1
    )
    made = Measurement(
        subject=Subject("architecture", name, f"space:{name}", "space"),
        target=TARGET,
        label=label,
        visit=visit,
        started_at=1000.0 + visit,
        wall_s=0.2,
        load_s=0.05,
        process="host/1",
        samples=samples,
    )
    return dataclasses.replace(made, **changes)
