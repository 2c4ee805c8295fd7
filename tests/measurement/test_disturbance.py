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


def test_what_a_profiler_sees_itself_disturbs_too():
    conditions = around(idle_jiffies=20) | {"disturbances": ["gpu-clock"]}

    assert disturbances(QUIET, conditions, PairedProtocol()) == ("load", "gpu-clock")


def test_the_limits_are_the_protocols():
    lenient = PairedProtocol(max_drift=1.0, max_withheld=1.0, max_load=4.0)
    conditions = around(steal_jiffies=40, idle_jiffies=0)

    assert disturbances(MOVED, conditions, lenient) == ()
