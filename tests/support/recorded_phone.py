"""A phone played back: a profile made of what `latprof doctor adb:SERIAL --record` wrote."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

from latprof.profilers.runtimes.android.checkup.phone_questions import QUESTIONS, read_answers


def read_recording(path):
    """What the recorded phone answered."""
    with zipfile.ZipFile(path) as archive:
        names = {name: f"answers/{name}.txt" for name in QUESTIONS}
        there = set(archive.namelist())
        raw = {n: archive.read(file).decode() for n, file in names.items() if file in there}
    return read_answers(raw, str(path))


@dataclass(frozen=True)
class RecordedProfile:
    """Answers as the recorded phone gave them; ``abi`` where another runner has to run here."""

    recording: Path
    abi: str | None = None

    def answers(self):
        """Files of the phone's root folder by their paths, as `Profile.answers` has them."""
        found = read_recording(self.recording)
        properties = found.raw["getprop"].strip("\n") + "\n"
        if self.abi is not None:
            lines = (line for line in properties.splitlines() if "ro.product.cpu.abi" not in line)
            properties = "\n".join([*lines, f"[ro.product.cpu.abilist]: [{self.abi}]", ""])
        files = {"answers/getprop": properties}
        for name in ("thermalservice", "battery", "power"):
            if page := found.raw.get(f"dumpsys.{name}", "").strip("\n"):
                files[f"answers/dumpsys.{name}"] = page + "\n"
        for name, value in found.settings.items():
            if value not in {"", "null"}:
                files[f"answers/settings.global.{name}"] = value + "\n"
        if found.facts.sdk < 30:
            files["answers/no-fixed-performance-mode"] = ""
        for path, value in found.files.items():
            if path.startswith("/sys/"):
                files[path.removeprefix("/")] = value + "\n"
        return files
