"""What the official ``benchmark_model`` programs print: averages of runs, and no single ones.

TFLite's counts in microseconds, LiteRT's prints milliseconds. Both run a network on the processor
where the accelerator that was asked for cannot, and say so in a line among many, or not at all.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from latprof.errors import RuntimeFailedError, shortened

#: How much of a network ran where it was asked for; empty where the program does not say.
Delegated: TypeAlias = Literal["all", "part", "none", ""]

_NUMBER = r"([0-9]{1,20}(?:\.[0-9]{1,20})?(?:e[+-]?[0-9]{1,3})?)"
_TFLITE = re.compile(rf"\bInference \(avg\): {_NUMBER}(?![0-9.e]| *[a-zµ])")
_LITERT = re.compile(rf"\bInference \(avg\): {_NUMBER} (us|ms|s)\b(?: *\(([0-9]{{1,9}}) runs?\))?")
_COUNTS = re.compile(r"\bcount=([0-9]{1,9})\b([^\n]{0,400})")
_FIELD = re.compile(rf"\b(first|min|max|std)={_NUMBER}")
_INIT = re.compile(rf"\bInit: {_NUMBER}")
_APPLIED = re.compile(
    r"(?:Though|Explicitly applied) ([A-Za-z]{1,20}) delegate[^\n]{0,60}the model graph will "
    r"(not be|be completely|be partially) executed"
)
_SHARES: dict[str, Delegated] = {"not be": "none", "be completely": "all", "be partially": "part"}
_UNKNOWN = re.compile(r"Unconsumed cmdline flags:([^\n]{0,400})")
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class AveragedRuns:
    """The runs of one start of the program, in milliseconds; None for what it does not print.

    Parameters
    ----------
    average_ms : float
    runs : int or None
    first_ms, min_ms, max_ms, std_ms : float or None
    init_ms : float or None
        Loading the model and preparing the accelerator.
    delegated : str
        How much of the network ran on the accelerator.
    """

    average_ms: float
    runs: int | None = None
    first_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    std_ms: float | None = None
    init_ms: float | None = None
    delegated: Delegated = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what is known as plain JSON values."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


def read_averages(text: str, accelerator: str = "") -> AveragedRuns:
    """Read what a program of either generation printed.

    Parameters
    ----------
    text : str
        All of it.
    accelerator : str
        ``gpu`` or ``nnapi``: whose line about how much of the network it runs counts.

    Raises
    ------
    RuntimeFailedError
        Where it holds no average above 0.
    """
    delegated = _delegated(text, accelerator)
    if found := list(_LITERT.finditer(text)):
        average, unit, runs = found[-1].groups()
        counted = AveragedRuns(
            float(average) * _MS[unit], int(runs) if runs else None, delegated=delegated
        )
    elif found := list(_TFLITE.finditer(text)):
        counted = _of_tflite(float(found[-1][1]), text, delegated)
    else:
        raise _without_average(text)
    if not 0 < counted.average_ms < float("inf"):
        raise _without_average(text)
    return counted


def flags_not_taken(text: str) -> str:
    """Options that a program said it does not know; empty where it took all."""
    found = _UNKNOWN.search(text)
    return " ".join(found[1].split()) if found else ""


def _of_tflite(average_us: float, text: str, delegated: Delegated) -> AveragedRuns:
    """The last counts are those of the runs after the warm-up."""
    runs, rest = None, {}
    if counts := list(_COUNTS.finditer(text)):
        runs = int(counts[-1][1])
        rest = {f"{name}_ms": float(value) / 1e3 for name, value in _FIELD.findall(counts[-1][2])}
    init = _INIT.search(text)
    return AveragedRuns(
        average_us / 1e3,
        runs,
        **rest,
        init_ms=float(init[1]) / 1e3 if init else None,
        delegated=delegated,
    )


def _delegated(text: str, accelerator: str) -> Delegated:
    said = [share for name, share in _APPLIED.findall(text) if name.lower() == accelerator]
    return _SHARES[said[-1]] if said else ""


def _without_average(text: str) -> RuntimeFailedError:
    lines = text.strip().splitlines()
    return RuntimeFailedError(
        "benchmark_model printed no average",
        field="failed",
        expected="`Inference (avg): ...`",
        got=repr(shortened(lines[-1])) if lines else "nothing",
        hint="give another version to `latprof android setup --runtime benchmark-model`",
    )
