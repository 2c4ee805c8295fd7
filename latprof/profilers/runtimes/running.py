"""What profilers share: timed runs, one line of a runtime's error."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import time
from collections.abc import Callable

from latprof.errors import RuntimeFailedError, UnsupportedModelError
from latprof.measurement.run_usage import TimedRuns
from latprof.profilers.base import Availability
from latprof.profilers.host.facts import processor_name
from latprof.profilers.host.usage_meter import UsageMeter, has_usage


def package_availability(package: str, name: str, extra: str = "") -> Availability:
    """Whether a runtime of this computer's processor is installed, without loading it.

    Parameters
    ----------
    package : str
        Its distribution.
    name : str
        What people call it.
    extra : str
        The extra of latprof that installs it; without one, the package itself is named.
    """
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        wanted = f"'latprof[{extra}]'" if extra else package
        return Availability("missing", f"{name} is not installed", f"pip install {wanted}")
    return Availability("ready", f"{name} {version} on {processor_name()}")


def timed_runs(run: Callable[[], object], times: int, runtime: str) -> TimedRuns:
    """Run so many times on this host; return the durations in ms, and what each run was given.

    Raises RuntimeFailedError with the first line of whatever ``run`` raises.
    """
    clock = time.perf_counter_ns
    durations = []
    try:
        if not has_usage():
            for _ in range(times):
                start = clock()
                run()
                durations.append((clock() - start) / 1e6)
            return TimedRuns(durations)
        usage = []
        with UsageMeter() as meter:
            for _ in range(times):
                meter.begin()
                start = clock()
                run()
                durations.append((clock() - start) / 1e6)
                usage.append(meter.run())
    except Exception as error:  # noqa: BLE001 - runtimes' exceptions have no common base
        raise RuntimeFailedError(f"{runtime} failed while running: {first_line(error)}") from None
    return TimedRuns(durations, usage)


#: What ONNX Runtime says of a model that is newer than it is: its version, and the highest taken.
_TOO_NEW = (
    ("IR version", re.compile(r"model IR version: (\d+), max supported IR version: (\d+)")),
    ("opset", re.compile(r"Opset (\d+) is under development.*is till opset (\d+)", re.DOTALL)),
)


def onnxruntime_refusal(error: Exception, provider: str) -> UnsupportedModelError:
    """What becomes of the error with which ONNX Runtime refuses a model."""
    for what, pattern in _TOO_NEW:
        found = pattern.search(str(error))
        if found:
            version = getattr(sys.modules.get("onnxruntime"), "__version__", "here")
            return UnsupportedModelError(
                f"the model is of {what} {found[1]}, newer than ONNX Runtime {version} takes",
                expected=f"at most {what} {found[2]}",
                got=found[1],
                hint=f"export it with {what} {found[2]} or lower, or update ONNX Runtime",
            )
    return UnsupportedModelError(
        f"ONNX Runtime refuses the model: {first_line(error)}",
        hint=f"see which operators and types its {provider} provider has, or another opset",
    )


def first_line(error: Exception) -> str:
    """The first line of an error's text, shortened in its middle."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    # Runtimes put their own source's path and signature before what they have to say.
    text = lines[0]
    return text if len(text) <= 300 else f"{text[:80]} ... {text[-215:]}"
