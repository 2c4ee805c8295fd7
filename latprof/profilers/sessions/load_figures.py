"""What a network costs beside its latency: loading, its first inference, memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

_MIB = 1 << 20


@dataclass(frozen=True)
class LoadFigures:
    """Of one session in a fresh process, by the clock; None for what is not known.

    Parameters
    ----------
    load_s : float
        Loading the model into a runtime that is loaded already, in seconds.
    first_inference_ms : float or None
        The first run after it.
    process_peak_bytes : int or None
        Most memory of the process, with Python and the runtime.
    model_peak_bytes : int or None
        What of it the model added: weights, activations, what the runtime prepared.
    activations_peak_bytes : int or None
        Most memory of activations, where the runtime tells it.
    """

    load_s: float = math.nan
    first_inference_ms: float | None = None
    process_peak_bytes: int | None = None
    model_peak_bytes: int | None = None
    activations_peak_bytes: int | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> LoadFigures:
        """From what a session's process said; what is no number is left out."""
        known = {
            field.name: values[field.name]
            for field in fields(cls)
            if type(values.get(field.name)) in (int, float)
        }
        return cls(**known)

    def describe(self) -> tuple[str, str]:
        """Two lines for people: of time and of memory."""
        first = ""
        if self.first_inference_ms is not None:
            first = f", first inference {self.first_inference_ms:.3f} ms"
        if math.isnan(self.load_s):
            return "not known", "not known"
        if self.process_peak_bytes is None or self.model_peak_bytes is None:
            return f"{self.load_s:.3f} s{first}", "not visible"
        memory = (
            f"{self.model_peak_bytes / _MIB:.1f} MiB at most for the model, "
            f"{self.process_peak_bytes / _MIB:.1f} MiB for its process"
        )
        if self.activations_peak_bytes is not None:
            memory += f"; activations {self.activations_peak_bytes / _MIB:.1f} MiB"
        return f"{self.load_s:.3f} s{first}", memory

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON values; null for what is not known."""
        return asdict(self)
