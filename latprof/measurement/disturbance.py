"""Which visits cannot be trusted: conditions changed while their samples were taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from latprof.measurement.quiet.conditions import other_load, withheld_fraction
from latprof.measurement.statistics import reference_drift

if TYPE_CHECKING:
    from latprof.measurement.records import PairedProtocol, PairedSamples

#: Disturbances after which a visit is never part of a label, also where a network has no others.
NEVER_USED = frozenset({"phone-throttled"})


def disturbances(
    samples: PairedSamples, conditions: Mapping[str, Any], protocol: PairedProtocol
) -> tuple[str, ...]:
    """What disturbed a visit, beyond the protocol's limits; empty for a visit that counts.

    Parameters
    ----------
    samples : PairedSamples
    conditions : mapping
        Readings of the profiler under ``"before"`` and ``"after"``, in which what is missing or
        invisible disturbs nothing, and under ``"disturbances"`` those that the profiler itself sees
        in them.
    protocol : PairedProtocol
        With the limits.

    Returns
    -------
    tuple of str
        Of ``"drift"`` (the reference moved), ``"withheld"`` (the hypervisor or a quota took time)
        and ``"load"`` (other processes were busy, and nothing tells what they took of each run),
        and the profiler's own.
    """
    before, after = conditions.get("before", {}), conditions.get("after", {})
    found = (
        ("drift", reference_drift(samples) > protocol.max_drift),
        ("withheld", withheld_fraction(before, after) > protocol.max_withheld),
        # Where runs say what they were given, a neighbour's time is not in them.
        ("load", not samples.target_usage and other_load(before, after) > protocol.max_load),
    )
    of_device = conditions.get("disturbances", ())
    return (*(name for name, is_found in found if is_found), *map(str, of_device))
