"""The host's side of the runner: one call a request, with a time-out of its own for each kind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from latprof.common.limits import Limit, check_limits
from latprof.errors import (
    DeviceError,
    InvalidValueError,
    LatprofError,
    MeasurementTimeoutError,
    RuntimeFailedError,
    UnsupportedModelError,
    shortened,
)
from latprof.profilers.runtimes.android.runner.runner_lines import (
    MOST_ANSWER_BYTES,
    PROTOCOL,
    RunnerAnswer,
    garbled,
    read_answer,
    request_line,
    split,
    whole,
)
from latprof.profilers.runtimes.android.runner.runner_records import (
    Greeting,
    OpenedLibrary,
    PlanResult,
    RunnerConditions,
    RunnerModel,
    RunnerOutput,
    read_kernel_event,
)

if TYPE_CHECKING:
    from latprof.profilers.runtimes.kernel_events import KernelEvent

_PROGRAMS = Path(__file__).with_name("programs")
#: The programs by what they run on.
ABIS = ("x86_64-linux", "arm64-linux", "arm64-android")
#: What an answer may take to arrive beyond the runner's own deadline, which has 2 s of grace.
TRANSFER_S = 10.0
_AGAIN = "run the same command again"
_REMEDIES = {
    "unsupported": "check that the file is whole; another runtime (adb:onnxruntime, adb:litert) or "
    "version of the library may have what this one lacks",
    "failed": "another runtime of the phone, or version of its library, may run it",
    "no-library": "give the runtime library for this device's ABI",
    "old-library": "give LiteRT 2.1.6 or later, TFLite 2.3 or later, ONNX Runtime 1.7 or later",
    "missing-symbol": "give a complete official library: it lacks part of the C API",
    "wrong-hash": "the file on the device is damaged; it is pushed again by the next try",
    "affinity": "the device may keep these cores from its shell: choose other ones",
    "no-memory": "take a smaller batch or resolution",
}
#: A line of text of somebody else's, and most of them before the greeting.
_WORDS, _MOST_WORDS = re.compile(rb"[A-Za-z/\[][ -~\t]{3,1000}\r?"), 20
#: A verb, most seconds until its answer, and its fields.
_Request: TypeAlias = tuple[str, float, dict[str, object]]
#: After these the runner has ended, or what it says cannot be distinguished any more.
_LAST_WORDS = frozenset({"deadline", "crashed", "garbled"})
_ERRORS: dict[str, type[LatprofError]] = {
    "unsupported": UnsupportedModelError,
    "deadline": MeasurementTimeoutError,
    "failed": RuntimeFailedError,
    "crashed": RuntimeFailedError,
    "garbled": RuntimeFailedError,
}


class LineStream(Protocol):
    """What carries lines: a child's pipes (:mod:`latprof.common.children.child`), adb."""

    def write(self, content: bytes, timeout_s: float) -> None:
        """Write all; raises TimeoutError, and OSError where the other side is gone."""
        ...

    def read_line(self, timeout_s: float, most: int) -> bytes:
        """The next line without its end.

        Raises TimeoutError, ValueError for a line of more than ``most`` bytes, and EOFError or
        OSError where the other side is gone.
        """
        ...


@dataclass(frozen=True)
class RunnerTimeouts:
    """Most seconds of each kind of request; the runner keeps them too, if need be by its end.

    Parameters
    ----------
    start_s, open_s : float
        Until the greeting; opening a library.
    load_s, plan_s, kernels_s : float
        Loading a model, a plan, and a profile.
    ask_s : float
        Anything else.
    """

    start_s: float = 30.0
    open_s: float = 60.0
    load_s: float = 120.0
    plan_s: float = 600.0
    kernels_s: float = 600.0
    ask_s: float = 30.0

    def __post_init__(self) -> None:
        check_limits(
            self, dict.fromkeys(self.__dataclass_fields__, Limit(0, open_low=True, open_high=True))
        )


def runner_program(abi: str) -> Path:
    """The path of the program for an ABI; InvalidValueError for one that there is none for."""
    if abi not in ABIS:
        raise InvalidValueError(
            "there is no runner for this ABI",
            field="abi",
            expected=", ".join(ABIS),
            got=abi,
            hint="take a phone with 64-bit Android",
        )
    return _PROGRAMS / f"runner-{abi}"


class RunnerClient:
    """Asks a runner that has just been started; for one thread.

    After a time-out, a cut connection or a garbled answer nothing more can be asked: start another
    runner. Every method raises DeviceError, or UnsupportedModelError, RuntimeFailedError and
    MeasurementTimeoutError, whose ``field`` is the runner's code (``docs/runner.md``).

    Parameters
    ----------
    stream : LineStream
    timeouts : RunnerTimeouts
    """

    def __init__(self, stream: LineStream, timeouts: RunnerTimeouts | None = None) -> None:
        self._stream = stream
        self._timeouts = timeouts or RunnerTimeouts()
        self._number = 0
        self._lost = ""
        hello = self._first_words()
        if hello.kind != "hello":
            raise garbled("that is no greeting")
        self.greeting = Greeting.read(hello)
        if self.greeting.protocol != PROTOCOL:
            raise DeviceError(
                "the runner speaks another version of the protocol",
                field="protocol",
                expected=str(PROTOCOL),
                got=str(self.greeting.protocol),
                hint="use the runner that comes with this latprof",
            )

    def open_library(self, path: str) -> OpenedLibrary:
        """Open an inference library of the device; once in a runner's life."""
        return OpenedLibrary.read(self._ask("open", self._timeouts.open_s, path=path))

    def load(
        self,
        number: int,
        path: str,
        *,
        sha256: str | None = None,
        threads: int = 1,
        seed: int = 0,
        profile: str | None = None,
        dropping: Sequence[int] = (),
    ) -> RunnerModel:
        """Load a model, or a skeleton of one, from the device's file under a number from 0 to 63.

        Parameters
        ----------
        number : int
        path : str
        sha256 : str, optional
            Hexadecimal digest of the file, checked while it is read.
        threads : int
        seed : int
            Of its random inputs (:mod:`latprof.graph.convert.skeletons` has the generator; floats
            have a scale of the square root of 3, input number i the seed ``seed + i``).
        profile : str, optional
            Profile its kernels; the path that ONNX Runtime's profile begins with.
        dropping : sequence of int
            Models that are dropped before, in the same round trip; they are, where the load itself
            is refused, too.
        """
        fields = {"sha256": sha256, "threads": threads, "seed": seed, "profile": profile}
        asked = self._load(number, path, dropping, fields)
        return RunnerModel.read(number, self._ask_in_turn(asked)[-1])

    def load_and_run(
        self,
        number: int,
        path: str,
        runs: Sequence[int],
        *,
        dropping: Sequence[int] = (),
        **options: object,
    ) -> tuple[RunnerModel, PlanResult | LatprofError]:
        """As :meth:`load`, and run bursts of the model, each of so many runs, in one round trip.

        The second is why it does not run, where it does not: it is loaded then, all the same.
        """
        planned = tuple((number, times) for times in runs)
        asked = [*self._load(number, path, dropping, options), self._plan(planned)]
        *_, loaded, ran = self._ask_in_turn(asked, last_may_fail=True)
        model = RunnerModel.read(number, loaded)
        if ran.kind == "err":
            return model, self._refusal(ran)
        return model, PlanResult.read(planned, ran)

    def _load(
        self, number: int, path: str, dropping: Sequence[int], options: Mapping[str, object]
    ) -> list[_Request]:
        asked: list[_Request] = [
            ("unload", self._timeouts.ask_s, {"model": model}) for model in dropping
        ]
        fields = {"model": number, "path": path, **options}
        return [*asked, ("load", self._timeouts.load_s, fields)]

    def unload(self, number: int) -> None:
        """Drop a model."""
        self._ask("unload", self._timeouts.ask_s, model=number)

    def set_input(self, number: int, index: int, path: str, sha256: str | None = None) -> None:
        """Set a model's input from a file of raw values on the device."""
        self._ask(
            "input", self._timeouts.ask_s, model=number, index=index, path=path, sha256=sha256
        )

    def run_plan(self, bursts: Sequence[tuple[int, int]]) -> PlanResult:
        """Run bursts back to back, each (model, runs); nothing is said until all are done."""
        planned = tuple(bursts)
        return PlanResult.read(planned, *self._ask_in_turn([self._plan(planned)]))

    def run_cycle(self, bursts: Sequence[tuple[int, int]]) -> tuple[PlanResult, RunnerConditions]:
        """As :meth:`run_plan`, with the conditions just after it, in the same round trip."""
        planned = tuple(bursts)
        plan, seen = self._ask_in_turn(
            [self._plan(planned), ("conditions", self._timeouts.ask_s, {})]
        )
        return PlanResult.read(planned, plan), RunnerConditions.read(seen)

    def _plan(self, planned: Sequence[tuple[int, int]]) -> _Request:
        text = ",".join(f"{model}x{runs}" for model, runs in planned)
        return "plan", self._timeouts.plan_s, {"bursts": text}

    def kernels(self, number: int, runs: int) -> tuple[tuple[KernelEvent, ...], ...]:
        """Run LiteRT's model with its profiler on; return each run's kernels in order."""
        answer = self._ask("kernels", self._timeouts.kernels_s, model=number, runs=runs)
        return answer.parts("events", ";", lambda part: split(part, ",", read_kernel_event))

    def profile_file(self, number: int, runs: int) -> str:
        """Run ONNX Runtime's model with its profiler on; return the device's path of its JSON."""
        answer = self._ask("kernels", self._timeouts.kernels_s, model=number, runs=runs)
        return answer.text("file")

    def output(self, number: int, index: int = 0, first_bytes: int = 0) -> RunnerOutput:
        """An output of a model's last run, with so many of its first bytes (up to 1 MiB)."""
        answer = self._ask(
            "output", self._timeouts.ask_s, model=number, index=index, bytes=first_bytes
        )
        return RunnerOutput.read(answer)

    def set_affinity(self, cores: Sequence[int]) -> tuple[int, ...]:
        """Keep to these cores; models loaded from now on have all their threads there."""
        text = ",".join(map(str, cores))
        answer = self._ask("affinity", self._timeouts.ask_s, cores=text)
        return answer.parts("cores", ",", whole)

    def conditions(self) -> RunnerConditions:
        """Clocks, memory and load of the device, now."""
        return RunnerConditions.read(self._ask("conditions", self._timeouts.ask_s))

    def _ask(self, verb: str, timeout_s: float, **fields: object) -> RunnerAnswer:
        (answer,) = self._ask_in_turn([(verb, timeout_s, fields)])
        return answer

    def _ask_in_turn(
        self, requests: Sequence[_Request], *, last_may_fail: bool = False
    ) -> list[RunnerAnswer]:
        """Send requests in one piece; their answers, or the first refusal once all have come.

        The runner carries them out one after the other: the device does not idle in between.
        """
        if self._lost:
            raise RuntimeFailedError(
                f"the runner cannot be asked any more: {self._lost}", hint=_AGAIN
            )
        first = self._number + 1
        lines = [
            request_line(number, verb, {**fields, "deadline_ms": round(timeout_s * 1000)})
            for number, (verb, timeout_s, fields) in enumerate(requests, first)
        ]
        self._number += len(lines)
        longest_s = max(timeout_s for _, timeout_s, _ in requests)
        try:
            self._stream.write(b"".join(lines), longest_s)
        except TimeoutError:
            raise self._timed_out(longest_s) from None
        except OSError:
            raise self._ended() from None
        answers = [
            self._answer(number, timeout_s + TRANSFER_S)
            for number, (_, timeout_s, _) in enumerate(requests, first)
        ]
        checked = answers[:-1] if last_may_fail else answers
        for (verb, _, _), answer in zip(requests, checked, strict=False):
            if answer.kind == "err":
                if verb == "unload" and len(answers) > 1:  # what came after it stands on it
                    self._lost = "a model could not be dropped"
                raise self._refusal(answer)
        return answers

    def _answer(self, number: int, timeout_s: float) -> RunnerAnswer:
        """The answer to a request, a refusal among them; raises one after which none comes."""
        answer = self._receive(timeout_s)
        is_refusal = answer.kind == "err" and answer.number in {0, number}
        if is_refusal and (answer.number == 0 or answer.text("code") in _LAST_WORDS):
            raise self._refusal(answer)
        if answer.number != number or not (is_refusal or answer.kind == "ok"):
            self._lost = "an answer did not belong to its request"
            raise garbled("that answers another request")
        return answer

    def _first_words(self) -> RunnerAnswer:
        """The greeting, after what the device's linker or shell may print before it.

        Android's linker warns of flags that it does not know; where a program cannot be started,
        that text is all that comes.
        """
        said: list[str] = []
        while len(said) < _MOST_WORDS:
            try:
                line = self._line(self._timeouts.start_s)
            except RuntimeFailedError:
                if not said:
                    raise
                raise DeviceError(
                    f"the runner does not start: {shortened('; '.join(said), 600)}",
                    field="no-start",
                    hint="an Android emulator cannot be measured; of a phone, send this line with "
                    "`latprof doctor adb:SERIAL --record phone.zip` to latprof's authors",
                ) from None
            if not _WORDS.fullmatch(line):
                return self._read(line)
            said.append(line.decode("ascii").strip())
        raise garbled("that is no greeting")

    def _receive(self, timeout_s: float) -> RunnerAnswer:
        return self._read(self._line(timeout_s))

    def _read(self, line: bytes) -> RunnerAnswer:
        try:
            return read_answer(line)
        except RuntimeFailedError as error:
            self._lost = str(error)
            raise

    def _line(self, timeout_s: float) -> bytes:
        try:
            return self._stream.read_line(timeout_s, MOST_ANSWER_BYTES)
        except TimeoutError:
            raise self._timed_out(timeout_s) from None
        except (EOFError, OSError):
            raise self._ended() from None
        except ValueError:
            self._lost = "an answer was too long"
            raise garbled("that is too long") from None

    def _refusal(self, answer: RunnerAnswer) -> LatprofError:
        """The error that an answer names."""
        code, text = answer.text("code"), answer.text("text").rstrip(": ")
        if code in _LAST_WORDS:
            self._lost = text
        kind = _ERRORS.get(code, DeviceError)
        return kind(f"the runner: {text}", field=code, hint=_REMEDIES.get(code, _AGAIN))

    def _timed_out(self, timeout_s: float) -> MeasurementTimeoutError:
        self._lost = "it did not answer in time"
        return MeasurementTimeoutError(
            f"the runner did not answer within {timeout_s:g} s",
            field="deadline",
            hint="check that the device is awake and connected",
        )

    def _ended(self) -> RuntimeFailedError:
        self._lost = "it has ended, or its connection was cut"
        return RuntimeFailedError(
            f"the runner is gone: {self._lost}",
            field="gone",
            hint="check that the device is connected and has free memory",
        )
