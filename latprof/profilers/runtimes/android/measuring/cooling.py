"""Whether a phone throttles, and the wait until it does not any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from latprof.errors import DeviceError

if TYPE_CHECKING:
    from latprof.profilers.runtimes.android.thermals import Thermals

#: So far below the limit of its skin a phone has cooled down, in degrees.
COOLED_C = 1.0
#: How long a phone is waited for, and how often it is asked, in seconds.
LIMIT_S, LOOK_EVERY_S = 1800.0, 5.0


def throttling(thermals: Thermals) -> str:
    """Why a phone is taken to throttle; empty where it does not, or does not tell."""
    if thermals.status:
        return f"thermal status {thermals.status}"
    skin, limit = thermals.skin_c, thermals.skin_limit_c
    if skin is not None and limit is not None and skin >= limit:
        return f"skin {skin:.1f} C, limit {limit:.1f} C"
    return ""


def wait_until_cool(
    read: Callable[[], Thermals],
    report: Callable[[str], None],
    idle: Callable[[], bool],
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Thermals:
    """Wait until a phone does not throttle; what it told last.

    Parameters
    ----------
    read : callable
        Asks the phone.
    report : callable
        Takes a line at each look.
    idle : callable
        Does a part of what is useful meanwhile; whether there was any.
    sleep, now : callable
        Of a clock.

    Raises
    ------
    DeviceError
        Where it throttles after :data:`LIMIT_S` still.
    """
    thermals = read()
    start = now()
    why = throttling(thermals)
    while why:
        passed = now() - start
        if passed >= LIMIT_S:
            raise DeviceError(
                f"the phone has not cooled down within {LIMIT_S / 60:g} minutes: {why}",
                hint="take it out of its case and the sun, and put it on a cold surface",
            )
        report(f"the phone cools down ({why}), for {passed:.0f} s so far")
        look = now() + LOOK_EVERY_S
        while now() < look and idle():
            pass
        sleep(max(look - now(), 0.0))
        thermals = read()
        why = throttling(thermals) or _still_warm(thermals)
    return thermals


def _still_warm(thermals: Thermals) -> str:
    """Why a phone that throttled would do so again at once."""
    skin, limit = thermals.skin_c, thermals.skin_limit_c
    if skin is not None and limit is not None and skin > limit - COOLED_C:
        return f"skin {skin:.1f} C, limit {limit:.1f} C"
    return ""
