"""What is known of this host from its quiet moments, in a file of the user's data folder.

A busy host tells neither how long a reference takes when it is quiet nor how fast its memory is
then. Whatever measures in a quiet moment leaves both here, and whatever measures under load uses
them and says so. Nothing here is needed: where the file cannot be read or written, nothing is
known.
"""

from __future__ import annotations

import contextlib
import math
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from latprof.common.checked_json import Fields, to_json
from latprof.common.files import data_folder, write_atomically
from latprof.errors import LatprofError
from latprof.measurement.quiet.target_constant import Constant, is_better

if TYPE_CHECKING:
    from latprof.measurement.records import Target

_FORMAT_VERSION = 1
_MOST_BYTES = 1 << 20
#: Constants and, of each processor, memory quotients that are kept, the newest.
_MOST_CONSTANTS, _MOST_QUOTIENTS = 200, 32
#: What a remembered constant is in doubt beyond its own doubt: hosts change.
_AGE_DOUBT = 0.01


class KnownHost:
    """What quiet moments of this host have told.

    Parameters
    ----------
    path : Path, optional
        The file; one of the user's data folder with the host's name where not given.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or data_folder("hosts") / f"{quote(platform.node() or 'host', '')}.json"

    # Constants ----------------------------------------------------------------------------------

    def settle(self, target: Target, reference: str, found: Constant) -> Constant:
        """The constant to use where ``found`` is what the visits of now say.

        It is remembered where it is that of a quiet host. Where the host is busy, and a remembered
        one is in much less doubt, that one is used: ``remembered_at`` among its evidence says so.
        """
        if "remembered_at" in found.found:
            return found
        if found.is_quiet:
            self.remember(target, reference, found)
            return found
        known = self.constant(target, reference)
        if known is None or not is_better(known, found):
            return found
        return replace(known, ties={**known.ties, **found.ties})

    def constant(self, target: Target, reference: str) -> Constant | None:
        """The constant that is remembered; None where there is none."""
        values = self._read()["constants"].get(_key(target, reference))
        if not isinstance(values, dict):
            return None
        with contextlib.suppress(LatprofError):
            known = Constant.from_dict(values)
            if known.is_quiet:
                doubt = math.hypot(known.doubt, _AGE_DOUBT)
                found = {**known.found, "remembered_at": _found_at(values)}
                return replace(known, number=0, doubt=doubt, found=found)
        return None

    def remember(self, target: Target, reference: str, constant: Constant) -> None:
        """Keep a quiet host's constant in place of an older one."""
        values, key = self._read(), _key(target, reference)
        constants = values["constants"]
        found_at = constant.found.get("found_at", time.time())
        if _found_at(constants.get(key)) > found_at:
            return
        found = {**constant.found, "found_at": found_at}
        constants[key] = replace(constant, found=found).to_dict()
        for oldest in sorted(constants, key=lambda key: _found_at(constants[key]))[
            :-_MOST_CONSTANTS
        ]:
            del constants[oldest]
        self._write(values)

    # Memory -------------------------------------------------------------------------------------

    def memory_quotient(self, processor: str) -> float:
        """A copy in memory over one in the cache on the quiet host, by time; NaN if unknown."""
        known = _quotients(self._read()["memory_quotients"].get(processor))
        return median(known) if known else math.nan

    def remember_memory(self, processor: str, quotients: Iterable[float]) -> None:
        """Keep quotients that were seen in quiet moments."""
        values = self._read()
        of_all = values["memory_quotients"]
        known = [*_quotients(of_all.get(processor)), *_quotients(list(quotients))]
        of_all[processor] = known[-_MOST_QUOTIENTS:]
        self._write(values)

    # The file -----------------------------------------------------------------------------------

    def _read(self) -> dict[str, dict[str, Any]]:
        """The file's content; empty where there is none, or another."""
        empty: dict[str, dict[str, Any]] = {"constants": {}, "memory_quotients": {}}
        try:
            with self._path.open("rb") as file:
                fields = Fields.of_json(str(self._path), file.read(_MOST_BYTES))
            if fields.integer("format_version") != _FORMAT_VERSION:
                return empty
            return {name: dict(fields.fields(name).values) for name in empty}
        except (OSError, ValueError, LatprofError):
            return empty

    def _write(self, values: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError, LatprofError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, to_json({"format_version": _FORMAT_VERSION, **values}))


def _key(target: Target, reference: str) -> str:
    """What a constant holds for: a reference's latency does not depend on others' inputs."""
    return f"{reference} on {replace(target, input_shape=None).key}"


def _found_at(values: Any) -> float:
    """When a constant was found, in Unix time; 0 where it does not say."""
    found = values.get("found") if isinstance(values, dict) else None
    time_s = found.get("found_at") if isinstance(found, dict) else None
    return float(time_s) if isinstance(time_s, int | float) else 0.0


def _quotients(values: Any) -> list[float]:
    found = values if isinstance(values, list) else []
    return [float(q) for q in found if type(q) in (int, float) and 0 < q < math.inf]
