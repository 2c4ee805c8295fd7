"""What a visit's record says of the phone, before and after, and what of it disturbed the visit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from latprof.measurement.run_usage import RunUsage, TimedRuns
from latprof.profilers.runtimes.android.measuring.cooling import throttling
from latprof.profilers.runtimes.android.state import STATE_QUESTIONS

if TYPE_CHECKING:
    from latprof.profilers.runtimes.android.runner.runner_records import (
        PlanBurst,
        PlanResult,
        RunnerConditions,
    )
    from latprof.profilers.runtimes.android.state import PhoneState

#: What a phone is asked around each visit; its clocks the runner tells.
BATTERY = "battery"
VISIT_QUESTIONS = {name: STATE_QUESTIONS[name] for name in ("thermals", BATTERY)}
#: A clock that moves by more than this share within a visit disturbs it.
_STEADY = 0.05


def readings(state: PhoneState, seen: RunnerConditions, cores: Sequence[int]) -> dict[str, float]:
    """Numbers for the record: what is not visible is left out.

    Temperatures in degrees Celsius, the thermal status, whether that means throttling, the least
    clock and limit of the cores in MHz, load and available memory.
    """
    thermals = state.thermals
    clocks = [clock for clock in seen.clocks if clock.core in cores]
    values: dict[str, float | None] = {
        "phone_status": thermals.status,
        "phone_throttled": float(bool(throttling(thermals))),
        "phone_skin_c": thermals.skin_c,
        "phone_skin_limit_c": thermals.skin_limit_c,
        "phone_battery_c": state.battery_c,
        "phone_battery_percent": state.battery.level_percent,
        "phone_clock_mhz": _least(clock.clock_khz for clock in clocks),
        "phone_limit_mhz": _least(clock.limit_khz for clock in clocks),
        "phone_load1": seen.load if seen.load >= 0 else None,
        "phone_available_bytes": 1024.0 * seen.available_kb if seen.available_kb >= 0 else None,
    }
    return {name: float(value) for name, value in values.items() if value is not None}


def cycle_readings(plan: PlanResult) -> dict[str, float]:
    """The least and the greatest clock and limit that the bursts of a cycle saw, in MHz."""
    found: dict[str, float] = {}
    for name in ("clock", "limit"):
        seen = [getattr(burst, f"{name}_khz") / 1000 for burst in plan.bursts]
        if visible := [value for value in seen if value > 0]:
            found |= {
                f"phone_least_{name}_mhz": min(visible),
                f"phone_most_{name}_mhz": max(visible),
            }
    return found


def timed_runs(burst: PlanBurst, threads: int) -> TimedRuns:
    """A burst's durations in milliseconds, with the CPU time and the preemptions of each run.

    These the runner tells of the calling thread alone: of several threads nothing is said.
    """
    usage = (RunUsage(run.cpu_ns // 1000, None, run.involuntary_switches) for run in burst.runs)
    return TimedRuns((run.wall_ns / 1e6 for run in burst.runs), usage if threads == 1 else ())


def burst_records(plan: PlanResult) -> list[dict[str, Any]]:
    """Each burst's last core, with that core's clock and limit."""
    return [
        {
            "core": burst.core,
            "clock_mhz": burst.clock_khz / 1000 if burst.clock_khz > 0 else None,
            "limit_mhz": burst.limit_khz / 1000 if burst.limit_khz > 0 else None,
        }
        for burst in plan.bursts
    ]


def phone_disturbances(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[str, ...]:
    """``"phone-throttled"`` and ``"phone-clock"``, of the readings around a visit."""
    throttled = before.get("phone_throttled", 0) or after.get("phone_throttled", 0)
    limits = [
        values[name]
        for values in (before, after)
        for name in ("phone_limit_mhz", "phone_least_limit_mhz", "phone_most_limit_mhz")
        if name in values
    ]
    clocks = [
        after[name] for name in ("phone_least_clock_mhz", "phone_most_clock_mhz") if name in after
    ]
    moved = any(max(values) > (1 + _STEADY) * min(values) for values in (limits, clocks) if values)
    return tuple(
        name for name, found in (("phone-throttled", throttled), ("phone-clock", moved)) if found
    )


def _least(values: Any) -> float | None:
    visible = [value / 1000 for value in values if value > 0]
    return min(visible, default=None)
