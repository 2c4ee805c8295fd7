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
from pathlib import Path
from typing import TYPE_CHECKING

from latprof._version import __version__
from latprof.common.files import write_atomically
from latprof.profilers.runtimes.android.checkup.phone_questions import QUESTIONS, CheckupAnswers

if TYPE_CHECKING:
    import os

FORMAT = 1
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
