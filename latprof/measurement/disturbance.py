"""Which visits cannot be trusted: conditions changed while their samples were taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from latprof.measurement.conditions import other_load, withheld_fraction
from latprof.measurement.statistics import reference_drift

if TYPE_CHECKING:
    from latprof.measurement.records import PairedProtocol, PairedSamples


def disturbances(
    samples: PairedSamples, conditions: Mapping[str, Any], protocol: PairedProtocol
) -> tuple[str, ...]:
    """What disturbed a visit, beyond the protocol's limits; empty for a visit that counts.

    Parameters
    ----------
    samples : PairedSamples
    conditions : mapping
        Readings of :func:`latprof.measurement.conditions.read_conditions` under ``"before"`` and
        ``"after"``; what is missing or invisible there disturbs nothing.
    protocol : PairedProtocol
        With the limits.

    Returns
    -------
    tuple of str
        Of ``"drift"`` (the reference moved), ``"withheld"`` (the hypervisor or a quota took time)
        and ``"load"`` (other processes were busy).
    """
    before, after = conditions.get("before", {}), conditions.get("after", {})
    found = (
        ("drift", reference_drift(samples) > protocol.max_drift),
        ("withheld", withheld_fraction(before, after) > protocol.max_withheld),
        ("load", other_load(before, after) > protocol.max_load),
    )
    return tuple(name for name, is_found in found if is_found)
