"""Every phone that is there, with what it is, or what keeps it from being used."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from latprof.errors import DeviceUnauthorizedError, LatprofError
from latprof.profilers.runtimes.android.library import remembered_libraries
from latprof.profilers.runtimes.android.phone_facts import PhoneFacts, read_phone_facts
from latprof.profilers.runtimes.android.phones import list_phones, open_phone, remedy
from latprof.profilers.runtimes.android.transport.base import ListedPhone, Timeouts

#: Most seconds for the list, and for what all phones say of themselves, side by side.
_LIST_S, FACTS_S = 10.0, 10.0
#: Phones that are asked; a server lists no more by far.
_MOST_PHONES = 64


@dataclass(frozen=True)
class PhoneListing:
    """A phone, over however many ways it is there.

    Parameters
    ----------
    serials : tuple of str
        What names it here, one a way: its serial on a cable, HOST:PORT over Wi-Fi.
    state : str
        ``device`` where it can be used; else adb's word: ``offline``, ``unauthorized``, ...
    remedy : str
        What to do about it; empty where it can be used.
    facts : PhoneFacts or None
    libraries : tuple of str
        Runtimes that there is a library for, for its ABI.
    """

    serials: tuple[str, ...]
    state: str
    remedy: str
    facts: PhoneFacts | None = None
    libraries: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the listing as plain JSON values."""
        facts = self.facts
        known = {} if facts is None else facts.to_dict()
        return {
            "serial": facts.serial if facts else self.serials[0],
            "connections": list(self.serials),
            "state": self.state,
            "remedy": self.remedy,
            **known,
            "libraries": list(self.libraries),
        }


def describe_phones() -> tuple[PhoneListing, ...]:
    """All phones that are there, each asked what it is, within 20 seconds; raises LatprofError."""
    listed = list_phones(_LIST_S)[:_MOST_PHONES]
    found: dict[int, PhoneFacts | LatprofError] = {}

    def ask(number: int, phone: ListedPhone) -> None:
        try:
            services = open_phone(phone.serial, Timeouts(connect_s=FACTS_S, run_s=FACTS_S))
            with services.link:
                found[number] = read_phone_facts(services)
        except LatprofError as error:
            found[number] = error

    threads = [
        threading.Thread(target=ask, args=(number, phone), daemon=True)
        for number, phone in enumerate(listed)
        if phone.state == "device"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * FACTS_S)
    return _merged([_listing(phone, found.get(number)) for number, phone in enumerate(listed)])


def _listing(phone: ListedPhone, found: PhoneFacts | LatprofError | None) -> PhoneListing:
    serials = (phone.serial,)
    if phone.state != "device":
        return PhoneListing(serials, phone.state, remedy(phone))
    if not isinstance(found, PhoneFacts):
        state = "unauthorized" if isinstance(found, DeviceUnauthorizedError) else "silent"
        why = found.problem if found is not None else f"no answer within {2 * FACTS_S:g} s"
        hint = (found.hint if found is not None else None) or "unplug it and plug it in again"
        return PhoneListing(serials, state, f"{why}: {hint}")
    libraries = {each.runtime for each in remembered_libraries() if each.abi in found.abis[:1]}
    return PhoneListing(serials, "device", "", found, tuple(sorted(libraries)))


def _merged(listings: list[PhoneListing]) -> tuple[PhoneListing, ...]:
    """Cable and Wi-Fi of one phone together."""
    merged: dict[tuple[str, ...], PhoneListing] = {}
    for listing in listings:
        facts = listing.facts
        key: tuple[str, ...] = (facts.serial, facts.build) if facts else listing.serials
        before = merged.get(key)
        if before is not None and set(before.serials) & set(listing.serials):
            key = (*listing.serials, str(len(merged)))  # two phones of one serial
            before = None
        serials = (*before.serials, *listing.serials) if before else listing.serials
        merged[key] = PhoneListing(
            serials, listing.state, listing.remedy, listing.facts, listing.libraries
        )
    return tuple(merged.values())
