"""Profilers by their targets' short spelling, those of other packages included.

A name in capitals stands for the device's address: ``cuda:N:torch`` is the pattern of
``cuda:0:torch`` and ``cuda:1:torch``, whose profilers :meth:`Profiler.at` makes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

from latprof.common.own_code.calling import called
from latprof.errors import (
    EntryPointError,
    OwnCodeError,
    UnknownNameError,
    UnsupportedModelError,
    shown,
)
from latprof.profilers.base import Availability, Profiler
from latprof.registry import PROFILERS

_PLACEHOLDER = re.compile(r"[A-Z]+")


def target_spellings() -> list[str]:
    """Every spelling and pattern that :func:`profiler_class` knows, sorted."""
    return PROFILERS.names()


def profiler_class(spelling: str) -> type[Profiler]:
    """Return the profiler of a target, e.g. ``"cpu:onnxruntime"``.

    A pattern itself (``"cuda:N:torch"``) gives the class that all devices of its kind share, which
    tells its availability and nothing else.

    Raises
    ------
    UnknownNameError
        Where there is no such target; it lists the spellings.
    InvalidValueError
        For an address that the pattern's profiler refuses.
    EntryPointError
        Where the profiler is another package's and cannot be loaded.
    """
    if not isinstance(spelling, str):
        raise UnknownNameError("target", shown(spelling), target_spellings())
    if spelling in PROFILERS.built_in:
        return _load(spelling)
    for pattern in PROFILERS.built_in:  # other packages are looked through when nothing here fits
        if address := _address(pattern, spelling):
            return _load(pattern).at(address)
        if _without_address(pattern) == spelling and _load(pattern).address_optional:
            return _load(pattern).at("")
    for name in target_spellings():
        if name == spelling:
            return _load(name)
        if address := _address(name, spelling):
            return _load(name).at(address)
    raise UnknownNameError("target", spelling, target_spellings())


def check_ready(spelling: str) -> None:
    """Raise UnsupportedModelError, which says what to install, unless a target is ready here."""
    found = profiler_class(spelling).availability()
    if found.state != "ready":
        raise UnsupportedModelError(
            f"{spelling} cannot be measured here: {found.detail}", hint=found.remedy
        )


def check_formats(spelling: str, paths: Iterable[Path | None]) -> None:
    """Raise UnsupportedModelError for the first file that a target's runtime does not read.

    None stands for a network that is in no file.
    """
    profiler = profiler_class(spelling)
    for path in paths:
        suffix = "" if path is None else path.suffix.lower()
        if path is not None and suffix == ".tflite" and suffix not in profiler.own_formats:
            raise UnsupportedModelError(
                f"{profiler.spelling} runs no TFLite files: {path.name}",
                hint="give the ONNX file, or measure it with --target cpu:litert or "
                "adb:SERIAL:litert",
            )


def availabilities() -> dict[str, Availability]:
    """What each target of :func:`target_spellings` can do here, broken entry points included."""
    found = {}
    for name in target_spellings():
        try:
            profiler = _load(name)
            with called(f"{profiler.__name__}.availability"):
                found[name] = profiler.availability()
        except (EntryPointError, OwnCodeError) as error:
            found[name] = Availability("missing", error.problem, error.hint or "")
    return found


def profiler_classes() -> dict[str, type[Profiler]]:
    """The profiler of each target of :func:`target_spellings`, but for broken entry points."""
    found = {}
    for name in target_spellings():
        with contextlib.suppress(EntryPointError):
            found[name] = _load(name)
    return found


def _load(name: str) -> type[Profiler]:
    found: type[Profiler] = PROFILERS.load(name, Profiler)
    return found


def _without_address(pattern: str) -> str:
    """``adb:litert`` for ``adb:SERIAL:litert``; the pattern itself where it has no such place."""
    return re.sub(r"(?<=:)[A-Z]+:", "", pattern)


def _address(pattern: str, spelling: str) -> str:
    """What stands in ``spelling`` for the capitals of ``pattern``; empty where it does not fit."""
    places = list(_PLACEHOLDER.finditer(pattern))
    if not places:
        return ""
    before, after = pattern[: places[0].start()], pattern[places[-1].end() :]
    inner = pattern[places[0].start() : places[-1].end()]
    expression = _PLACEHOLDER.sub(
        lambda place: r"\d+" if place[0] == "N" else r"[^\s/]+", re.sub(r"[.]", r"\.", inner)
    )
    found = re.fullmatch(f"{re.escape(before)}({expression}){re.escape(after)}", spelling)
    return found[1] if found else ""
