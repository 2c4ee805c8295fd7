"""What can be measured on this host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latprof.common.short_reprs import ShortRepr

if TYPE_CHECKING:
    from latprof.profilers.runtimes.android.listing import PhoneListing


@dataclass(frozen=True, repr=False)
class DeviceResult(ShortRepr):
    """Whether one kind of target can be measured here, and how.

    Parameters
    ----------
    target : str
        The short spelling that :func:`latprof.collect` takes; capitals stand for an address, as N
        in ``"cuda:N:torch"`` for the number of a GPU.
    state : str
        ``"ready"`` or ``"missing"``; of a phone also what keeps it from being used, such as
        ``"offline"`` or ``"unauthorized"``.
    detail : str
        What is there, or what is not.
    remedy : str
        What to install or to do; empty where nothing has to be.
    dtypes : tuple of str
        Compute dtypes, the default first.
    modes : mapping of str to str
        Words of ``mode``, each with what it does; one that ends in ``=`` takes a whole number.
    phone : PhoneListing, optional
        Of a phone that is there: its ``serials``, ``state``, ``facts`` (serial, model, SoC, ABIs,
        Android version, clusters with their clocks) and ``libraries``.
    """

    target: str
    state: str
    detail: str
    remedy: str
    dtypes: tuple[str, ...]
    modes: Mapping[str, str]
    phone: PhoneListing | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        phone = {"phone": self.phone.to_dict()} if self.phone is not None else {}
        return phone | {
            "target": self.target,
            "state": self.state,
            "detail": self.detail,
            "remedy": self.remedy,
            "dtypes": list(self.dtypes),
            "modes": dict(self.modes),
        }


def devices() -> tuple[DeviceResult, ...]:
    """List what can be measured on this host, and what to install for the rest.

    Phones that are there come last, each as a target of its own; they answer within 30 seconds or
    are listed as silent.
    """
    from latprof.profilers.targets import availabilities, profiler_classes

    classes = profiler_classes()
    targets = tuple(
        DeviceResult(
            name,
            there.state,
            there.detail,
            there.remedy,
            tuple(classes[name].precisions) if name in classes else (),
            dict(classes[name].modes) if name in classes else {},
        )
        for name, there in availabilities().items()
    )
    return targets + _phones()


def _phones() -> tuple[DeviceResult, ...]:
    from latprof.errors import LatprofError
    from latprof.profilers.runtimes.android.listing import describe_phones

    try:
        return tuple(_phone(listing) for listing in describe_phones())
    except LatprofError as error:
        return (DeviceResult("adb", "missing", error.problem, error.hint or "", (), {}),)


def _phone(listing: PhoneListing) -> DeviceResult:
    """A phone as a target; the runtime is one that there is a library for."""
    from latprof.profilers.runtimes.android.libraries.library_file import SYSTEMS

    serial = listing.serials[0]
    runtime = (*listing.libraries, "litert")[0]
    detail, state, remedy = listing.state, listing.state, listing.remedy
    if facts := listing.facts:
        serial = facts.serial if " " in serial else serial  # which no target can hold
        ways = ", ".join(listing.serials)
        detail = f"{facts}, {facts.abis[0] if facts.abis else 'no ABI'}, serial {facts.serial}"
        detail += f", reached as {ways}" if ways != facts.serial else ""
        state = "ready" if listing.libraries else "missing"
        remedy = "" if listing.libraries else "latprof android setup"
        if not set(facts.abis) & set(SYSTEMS):
            remedy = "take a phone with 64-bit Android: one with 32 bits cannot be measured"
    return DeviceResult(f"adb:{serial}:{runtime}", state, detail, remedy, (), {}, listing)
