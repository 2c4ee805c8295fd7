"""Which visits cannot be trusted: conditions changed while their samples were taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from latprof.measurement.conditions import (
    clock_change,
    is_throttled,
    other_load,
    withheld_fraction,
)
from latprof.measurement.statistics import reference_drift

if TYPE_CHECKING:
    from latprof.measurement.records import PairedProtocol, PairedSamples

#: Largest change of a GPU's clock during a visit, as a fraction.
MAX_CLOCK_CHANGE = 0.05
#: Largest share of a GPU's time that other processes may take.
MAX_GPU_SHARE = 0.05


def disturbances(
    samples: PairedSamples, conditions: Mapping[str, Any], protocol: PairedProtocol
) -> tuple[str, ...]:
    """What disturbed a visit, beyond the protocol's limits; empty for a visit that counts.

    Parameters
    ----------
    samples : PairedSamples
    conditions : mapping
        Readings of :meth:`latprof.profilers.base.Profiler.conditions` under ``"before"`` and
        ``"after"``; what is missing or invisible there disturbs nothing.
    protocol : PairedProtocol
        With the limits.

    Returns
    -------
    tuple of str
        Of ``"drift"`` (the reference moved), ``"withheld"`` (the hypervisor or a quota took time),
        ``"load"`` (other processes were busy), and on a GPU ``"gpu-throttled"`` (heat or the power
        supply held its clock down), ``"gpu-clock"`` (its clock changed) and ``"gpu-load"`` (other
        processes computed on it).
    """
    before, after = conditions.get("before", {}), conditions.get("after", {})
    found = (
        ("drift", reference_drift(samples) > protocol.max_drift),
        ("withheld", withheld_fraction(before, after) > protocol.max_withheld),
        ("load", other_load(before, after) > protocol.max_load),
        ("gpu-throttled", is_throttled(before) or is_throttled(after)),
        ("gpu-clock", clock_change(before, after) > MAX_CLOCK_CHANGE),
        ("gpu-load", max(r.get("gpu_other_share", 0.0) for r in (before, after)) > MAX_GPU_SHARE),
    )
    return tuple(name for name, is_found in found if is_found)
