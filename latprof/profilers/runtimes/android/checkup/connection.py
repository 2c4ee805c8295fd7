"""The check-up from here: connect, ask all questions, and judge what only this computer knows."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from latprof.errors import LatprofError
from latprof.profilers.host.checks import Check
from latprof.profilers.runtimes.android.checkup.phone_checks import run_phone_checks
from latprof.profilers.runtimes.android.checkup.phone_questions import (
    CheckupAnswers,
    ask_everything,
)
from latprof.profilers.runtimes.android.journal import Journal
from latprof.profilers.runtimes.android.library import RUNTIMES, remembered_library
from latprof.profilers.runtimes.android.owner import owner_of
from latprof.profilers.runtimes.android.phones import open_phone

if TYPE_CHECKING:
    from latprof.profilers.runtimes.android.transport.services import PhoneServices

_ROUND_TRIPS, _SLOW_MS = 5, 150.0


def check_phone(serial: str) -> tuple[CheckupAnswers, list[Check]]:
    """Check a phone, which is not changed; raises as :func:`open_phone` does."""
    services = open_phone(serial)
    with services.link:
        found = ask_everything(services)
        phone, *rest = run_phone_checks(found)
        own = found.facts.serial
        checks = [phone, _connection(services), *_libraries(found), *rest, _left(services, own)]
    if owner := owner_of(own):
        checks.append(Check("in use", "WARN", f"by {owner}", "wait for its end"))
    return found, checks


def _connection(services: PhoneServices) -> Check:
    times = []
    for _ in range(_ROUND_TRIPS):
        start = time.monotonic()
        services.run(["true"])
        times.append(1000 * (time.monotonic() - start))
    middle = statistics.median(times)
    text = f"a command takes {middle:.0f} ms as {services.link.serial}"
    if middle > _SLOW_MS:
        return Check("connection", "WARN", text, "use a cable, or a faster Wi-Fi")
    return Check("connection", "OK", text)


def _libraries(found: CheckupAnswers) -> list[Check]:
    """Whether there is a runtime library for the phone."""
    facts = found.facts
    checks, problems = [], []
    for runtime in (*RUNTIMES, "benchmark-model"):
        try:
            library = remembered_library(runtime, facts.abis[:1], facts.sdk)
        except LatprofError as error:
            problems.append(Check("runtime library", "FAIL", str(error.problem), error.hint or ""))
        else:
            text = f"{runtime}: {library.name}, sha256 {library.sha256[:12]}"
            checks.append(Check("runtime library", "OK", text))
    return checks or problems[:1]


def _left(services: PhoneServices, serial: str) -> Check:
    """Changes that a latprof which was killed could not undo."""
    changes = Journal(services, serial).changes
    if changes and not owner_of(serial):
        names = ", ".join(change.name for change in changes)
        return Check(
            "left changed",
            "WARN",
            f"{names}: an earlier latprof was killed",
            f"latprof android restore {services.link.serial}",
        )
    return Check("left changed", "OK", "nothing")
