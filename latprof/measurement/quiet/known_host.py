"""What is known of this host from its quiet moments, in a file of the user's data folder.

A busy host tells neither how long a reference takes when it is quiet nor how fast its memory is
then. Whatever measures in a quiet moment leaves both here, and whatever measures under load uses
them and says so. Nothing here is needed: where the file cannot be read or written, nothing is
known.

A moment may look quiet and not be: what other machines on the same hardware do shows in nothing but
the time. All of it makes a reference slower, so the shortest of the last few quiet moments counts,
with a doubt that reaches to the next one. A moment that no other has confirmed is in more doubt,
and one that is clearly longer than others were is not taken for quiet.
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
from typing import TYPE_CHECKING, Any, NamedTuple
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
#: And beyond that where it was found in one moment alone.
_ALONE_DOUBT = 0.05
#: So many moments are kept, the newest; within so many seconds it is the same moment.
_MOST_MOMENTS, _ONE_MOMENT_S = 5, 600.0


class _Moment(NamedTuple):
    """When what was found of a reference."""

    reference_ms: float
    doubt: float
    found_at: float


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

        It is remembered where it is that of a quiet host. Where the host is busy, or takes longer
        than in other quiet moments, and a remembered one is in much less doubt, that one is used:
        ``remembered_at`` among its evidence says so. One that is longer than what a busy host takes
        was no quiet host's, and is not used.
        """
        if "remembered_at" in found.found:
            return found
        known = self.constant(target, reference)
        if found.is_quiet:
            self.remember(target, reference, found)
        if known is None or math.isnan(found.doubt):
            return found
        longer = math.log(found.reference_ms / known.reference_ms)
        is_apart = abs(longer) > math.hypot(found.doubt, known.doubt)
        if is_apart and longer > 0:
            found = replace(found, doubt=math.hypot(found.doubt, longer))
        elif is_apart or found.is_quiet:
            return found
        if not is_better(known, found):
            return found
        return replace(known, ties={**known.ties, **found.ties})

    def constant(self, target: Target, reference: str) -> Constant | None:
        """The constant that is remembered, of the shortest moment; None where there is none."""
        values = self._read()["constants"].get(_key(target, reference))
        if not isinstance(values, dict):
            return None
        with contextlib.suppress(LatprofError):
            known = Constant.from_dict(values)
            if known.is_quiet:
                least, *others = sorted(_moments(known))
                longer = [math.log(each.reference_ms / least.reference_ms) for each in others]
                doubt = math.hypot(least.doubt, _AGE_DOUBT, longer[0] if others else _ALONE_DOUBT)
                found = {**known.found, "remembered_at": least.found_at}
                return replace(known, reference_ms=least[0], number=0, doubt=doubt, found=found)
        return None

    def remember(self, target: Target, reference: str, constant: Constant) -> None:
        """Keep a quiet host's constant, beside those of the moments before."""
        values, key = self._read(), _key(target, reference)
        constants = values["constants"]
        found_at = constant.found.get("found_at", time.time())
        if _found_at(constants.get(key)) > found_at:
            return
        moments, now = list[_Moment](), _Moment(constant.reference_ms, constant.doubt, found_at)
        with contextlib.suppress(LatprofError, TypeError):
            moments = _moments(Constant.from_dict(constants[key])) if key in constants else []
        if moments and found_at - moments[-1].found_at < _ONE_MOMENT_S:
            last = moments.pop()
            least = min(now, last)
            now = _Moment(least.reference_ms, least.doubt, last.found_at)
        kept = [list(each) for each in [*moments, now][-_MOST_MOMENTS:]]
        found = {**constant.found, "found_at": found_at, "moments": kept}
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


def _moments(known: Constant) -> list[_Moment]:
    """The moments in which a remembered constant was found, oldest first; its own where no others.

    Of what is damaged or by an older latprof.
    """
    kept = known.found.get("moments")
    found = [
        _Moment(*map(float, each))
        for each in (kept if isinstance(kept, list) else ())
        if isinstance(each, list)
        and len(each) == 3
        and all(type(number) in (int, float) and 0 < number < math.inf for number in each)
    ]
    own = _Moment(known.reference_ms, known.doubt, _found_at({"found": known.found}))
    return found or [own]


def _quotients(values: Any) -> list[float]:
    found = values if isinstance(values, list) else []
    return [float(q) for q in found if type(q) in (int, float) and 0 < q < math.inf]
