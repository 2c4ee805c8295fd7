"""A visit is marked for what changed while it was made, and for nothing else."""

import pytest

from latprof.measurement.disturbance import disturbances
from latprof.measurement.records import PairedProtocol, PairedSamples

QUIET = PairedSamples(((9.0, 2.0),), ((1.0, 1.0), (1.0, 1.05)))
MOVED = PairedSamples(((9.0, 2.0),), ((1.0, 1.0), (1.0, 1.2)))
BEFORE = {
    "monotonic_s": 10.0,
    "process_cpu_s": 1.0,
    "total_jiffies": 1000.0,
    "idle_jiffies": 500.0,
    "steal_jiffies": 0.0,
    "throttled_us": 0.0,
}


def around(**changes):
    """Readings a second apart, during which one core of two worked for this process."""
    ticks = {"total_jiffies": 200, "idle_jiffies": 100, "monotonic_s": 1, "process_cpu_s": 1}
    after = {name: value + {**ticks, **changes}.get(name, 0) for name, value in BEFORE.items()}
    return {"before": BEFORE, "after": after}


@pytest.mark.parametrize(
    ("samples", "conditions", "expected"),
    [
        (QUIET, around(), ()),
        (QUIET, {}, ()),
        (QUIET, {"before": {}, "after": BEFORE}, ()),
        (MOVED, {}, ("drift",)),
        (QUIET, around(steal_jiffies=30, idle_jiffies=70), ("withheld",)),
        (QUIET, around(throttled_us=2e5), ("withheld",)),
        (QUIET, around(idle_jiffies=20), ("load",)),
        (QUIET, around(idle_jiffies=70), ()),
        (MOVED, around(steal_jiffies=40, idle_jiffies=0), ("drift", "withheld", "load")),
    ],
)
def test_each_disturbance_has_its_name(samples, conditions, expected):
    assert disturbances(samples, conditions, PairedProtocol()) == expected


GPU = {"gpu_clock_mhz": 1980.0, "gpu_throttle_reasons": 0.0, "gpu_other_share": 0.0}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, ()),
        ({}, {"gpu_clock_mhz": 1700.0}, ()),
        ({}, {"gpu_clock_mhz": 1900.0}, ()),
        ({}, {"gpu_clock_mhz": 1800.0}, ("gpu-clock",)),
        ({"gpu_clock_mhz": 345.0}, {}, ("gpu-clock",)),
        ({"gpu_clock_mhz": 0.0}, {}, ()),
        ({}, {"gpu_throttle_reasons": 1.0 + 4.0}, ()),
        ({}, {"gpu_throttle_reasons": 64.0}, ("gpu-throttled",)),
        ({"gpu_throttle_reasons": 8.0}, {}, ("gpu-throttled",)),
        ({"gpu_other_share": 0.4}, {}, ("gpu-load",)),
        ({}, {"gpu_other_share": 0.04}, ()),
    ],
)
def test_a_gpus_disturbances_have_theirs(before, after, expected):
    whole = {"before": {**GPU, **before}, "after": {**GPU, **after}}
    if after == {"gpu_clock_mhz": 1700.0}:
        whole["before"] = {}  # what is not visible disturbs nothing
    assert disturbances(QUIET, whole, PairedProtocol()) == expected


def test_the_limits_are_the_protocols():
    lenient = PairedProtocol(max_drift=1.0, max_withheld=1.0, max_load=4.0)
    conditions = around(steal_jiffies=40, idle_jiffies=0)

    assert disturbances(MOVED, conditions, lenient) == ()
