"""A phone's raw answers in one zip file: what a user sends in, and what a fixture is made of.

It holds ``recording.json`` and one text a question of
:data:`~latprof.profilers.runtimes.android.checkup.phone_questions.QUESTIONS`. The phone's serial is
replaced everywhere by a digest of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from latprof._version import __version__
from latprof.common.files import write_atomically
from latprof.errors import DeviceError, InputFileError
from latprof.profilers.runtimes.android.checkup.phone_questions import (
    MOST_ANSWER_BYTES,
    QUESTIONS,
    CheckupAnswers,
    read_answers,
)

if TYPE_CHECKING:
    import os

FORMAT = 1
_MOST_FILE_BYTES = 8 << 20
#: Serials shorter than this are words that stand elsewhere too.
_SHORTEST_SERIAL = 4
#: Some kernels print the serial as a number in /proc/cpuinfo.
_SERIAL_LINE = re.compile(r"^serial\b.*$", re.IGNORECASE | re.MULTILINE)


def write_recording(path: str | os.PathLike[str], found: CheckupAnswers) -> Path:
    """Write a recording; raises OutputPathError and DiskFullError. Returns its path."""
    serial = found.facts.serial
    alias = "REC" + hashlib.sha256(f"latprof {serial}".encode()).hexdigest()[:12].upper()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        about = {"format": FORMAT, "latprof": __version__, "questions": QUESTIONS}
        archive.writestr("recording.json", json.dumps(about, indent=1))
        for name, text in found.raw.items():
            kept = _SERIAL_LINE.sub("", text)
            if len(serial) >= _SHORTEST_SERIAL:
                kept = kept.replace(serial, alias)
            archive.writestr(f"answers/{name}.txt", kept)
    return write_atomically(path, buffer.getvalue())


def read_recording(path: str | os.PathLike[str]) -> CheckupAnswers:
    """Read a recording; raises InputFileError for what is none."""
    place = Path(path)
    try:
        if place.stat().st_size > _MOST_FILE_BYTES:
            raise InputFileError(
                f"{place} is too large for a recording", expected=f"{_MOST_FILE_BYTES >> 20} MiB"
            )
        with zipfile.ZipFile(place) as archive:
            about = json.loads(_member(archive, "recording.json"))
            if not isinstance(about, dict) or about.get("format") != FORMAT:
                raise InputFileError(f"{place} is a recording of another version of latprof")
            raw = {
                name: _member(archive, f"answers/{name}.txt")
                for name in QUESTIONS
                if f"answers/{name}.txt" in archive.namelist()
            }
        return read_answers(raw, str(place))
    except OSError as error:
        raise InputFileError(f"cannot read {place}: {error.strerror}", field="path") from None
    except (
        *(zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError),
        *(RuntimeError, NotImplementedError, DeviceError),
    ) as error:
        raise InputFileError(
            f"{place} is no recording of a phone",
            field="path",
            expected="a file that `latprof doctor adb:SERIAL --record` wrote",
            got=str(error)[:200],
        ) from None


def _member(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as file:
        content = file.read(MOST_ANSWER_BYTES * 4 + 1)
    if len(content) > MOST_ANSWER_BYTES * 4:
        raise ValueError(f"{name} is too large")
    return content.decode("utf-8", "replace")
