"""``adb:SERIAL:benchmark-model``: GPUs, NNAPI and NPUs, by the official ``benchmark_model``.

The program tells the average of many runs and no single one, so nothing of it can be paired run by
run: a visit is the average of a network's runs over that of the reference's before and after. Its
targets have the mode ``averages`` and so never mix with others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from latprof.errors import (
    DeviceError,
    InvalidValueError,
    MeasurementTimeoutError,
    RuntimeFailedError,
    UnsupportedModelError,
    shortened,
)
from latprof.graph.convert.to_tflite import converter_version
from latprof.measurement.records import AVERAGES
from latprof.profilers.runtimes.android.measuring.adb_profiler import AdbProfiler
from latprof.profilers.runtimes.android.measuring.benchmark_output import (
    AveragedRuns,
    flags_not_taken,
    read_averages,
)
from latprof.profilers.runtimes.android.measuring.phone_conditions import VISIT_QUESTIONS, readings
from latprof.profilers.runtimes.android.runner.runner_records import (
    CoreClock,
    MemoryUse,
    RunnerConditions,
)
from latprof.profilers.runtimes.android.state import STATE_QUESTIONS, PhoneState, parse_state
from latprof.profilers.runtimes.converted_models import whole_tflite

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource
    from latprof.measurement.protocol import LoadedModel
    from latprof.measurement.records import Target
    from latprof.profilers.base import RunOptions
    from latprof.profilers.runtimes.android.library import RuntimeLibrary

#: Where a user puts the libraries of an NPU's maker on the phone.
NPU_FOLDER = "/data/local/tmp/npu"
_ACCELERATORS = ("gpu", "nnapi", "npu")
#: What each generation of the program lacks, and what to give instead.
_LACKING = {"litert-benchmark": "nnapi", "tflite-benchmark": "npu"}
#: Least runs of one start, and its longest time without and with its preparation, in seconds.
LEAST_RUNS, _RUNS_S, PROGRAM_S = 20, 30, 240
_QUESTIONS = VISIT_QUESTIONS | {
    "clocks": STATE_QUESTIONS["clocks"],
    "load": "cat /proc/loadavg",
    "memory": "grep MemAvailable: /proc/meminfo",
}
#: What programs print where a model is at fault, or more than the accelerator can do.
_REFUSALS = ("failed to load", "failed to apply", "failed to compile", "not supported", "delegat")
_CALIBRATION_BURSTS = 2
_OTHER_PROGRAM = "give another version to `latprof android setup --runtime benchmark-model`"
_PROCESSOR = "measure it on the processor: --target adb:litert"
#: The status of what SIGKILL has ended.
_KILLED = 128 + 9


class AveragedModel:
    """A TFLite file; it is on the phone when it runs.

    Parameters
    ----------
    content : bytes
    run_bursts : callable
        The profiler's.
    """

    def __init__(self, content: bytes, run_bursts: Callable[..., Any]) -> None:
        self.content, self.sha256 = content, hashlib.sha256(content).hexdigest()
        self._run_bursts = run_bursts

    def run(self, times: int) -> Sequence[float]:
        """The average of a start of the program, as often as runs are asked for."""
        found: Sequence[Sequence[float]] = self._run_bursts([(self, times)])
        return found[0]


class AdbBenchmarkModel(AdbProfiler):
    """Measures by the official ``benchmark_model`` of TFLite or LiteRT: averages of runs.

    Without a mode networks run on the processor. float32 forbids a GPU to compute with less, which
    the programs allow it otherwise; that is dtype float16.
    """

    spelling = "adb:SERIAL:benchmark-model"
    runtime = "benchmark-model"
    own_formats = (".tflite",)
    precisions = ("float32", "float16")
    modes: ClassVar = {
        **AdbProfiler.modes,
        AVERAGES: "what it always is: averages of runs, since single runs are not told",
        "gpu": "on the GPU",
        "nnapi": "through Android's NNAPI (TFLite's program)",
        "npu": f"on the NPU (LiteRT's program), by its maker's libraries in {NPU_FOLDER}",
        "partial": "what the accelerator cannot do runs on the processor; refused else",
    }
    exclusive_modes = (frozenset(_ACCELERATORS),)

    def __init__(self, options: RunOptions) -> None:
        super().__init__(options)
        named = [word for word in _ACCELERATORS if word in options.mode]
        self.accelerator = named[0] if named else ""
        if options.precision == "float16" and self.accelerator not in {"gpu", "nnapi"}:
            raise InvalidValueError(
                f"{self.spelling} computes with float16 on GPUs and through NNAPI",
                field="precision",
                expected="float32, or float16 with the mode gpu or nnapi",
                got=options.precision,
                hint="leave --dtype float16 out, or add --mode gpu",
            )
        self._calibrated: dict[str, AveragedRuns] = {}
        self._averages: list[dict[str, Any]] = []

    @property
    def caution(self) -> str:
        return (
            "benchmark_model tells averages, not single runs: no percentiles, no preempted runs, "
            "and no comparison with paired measurements"
        )

    def target(self, input_shape: tuple[int, ...] | None) -> Target:
        found = super().target(input_shape)
        library = self.runtime_library
        if self.accelerator and self.accelerator == _LACKING[library.api]:
            raise InvalidValueError(
                f"{library.source} is {library.api.partition('-')[0]}'s program, which has no "
                f"{self.accelerator}",
                field="mode",
                expected="gpu or npu" if self.accelerator == "nnapi" else "gpu or nnapi",
                got=self.accelerator,
                hint="give the other benchmark_model to `latprof android setup "
                "--runtime benchmark-model`",
            )
        words = sorted({*self.options.mode, AVERAGES})
        return dataclasses.replace(found, mode=",".join(words))

    def runtime_version(self, library: RuntimeLibrary) -> str:
        return f"{super().runtime_version(library)} ({converter_version()})"

    # Models --------------------------------------------------------------------------------------

    def content(self, model: ModelSource) -> bytes:
        return whole_tflite(model)

    def load(self, model: ModelSource) -> AveragedModel:  # type: ignore[override]
        made = AveragedModel(self.content(model), self.run_bursts)
        self._push(made)
        return made

    def prepare(self, model: ModelSource) -> Callable[[], LoadedModel]:
        return partial(self.load, self.content(model))

    def prepared_before(self) -> None:
        return None

    def prefetch(self, model: ModelSource) -> None:
        self._push(AveragedModel(self.content(model), self.run_bursts))

    def _push(self, model: AveragedModel) -> str:
        def push() -> str:
            with self.session.connected():
                return self.session.folder.model(model.content, model.sha256)

        return self.session.surviving(push)

    # Runs ----------------------------------------------------------------------------------------

    def run_bursts(self, bursts: Sequence[tuple[LoadedModel, int]]) -> Sequence[Sequence[float]]:
        """The averages of few starts of the program, as often as each burst has runs.

        The model that begins a cycle, the reference, runs before and after the others.
        """
        models = [(_averaged(model), times) for model, times in bursts]
        found: dict[str, list[AveragedRuns]] = {}
        is_calibration = len(models) <= _CALIBRATION_BURSTS
        for model, runs in _starts(models):
            if is_calibration and model.sha256 in self._calibrated:
                found[model.sha256] = [self._calibrated[model.sha256]]
                continue
            made = self.session.surviving(partial(self._start, model, max(runs, LEAST_RUNS)))
            found.setdefault(model.sha256, []).append(made)
        if is_calibration:
            self._calibrated |= {sha: made[0] for sha, made in found.items()}
        else:
            names = dict.fromkeys(found, "network") | {models[0][0].sha256: "reference"}
            self._averages = [
                {"of": names[sha], **each.to_dict()} for sha, made in found.items() for each in made
            ]
        middle = (len(models) - 1) / 2
        return [
            [_nearest_ms(found[model.sha256], place - middle)] * times
            for place, (model, times) in enumerate(models)
        ]

    def cycle_details(self) -> Mapping[str, Any]:
        return {AVERAGES: self._averages}

    def _start(self, model: AveragedModel, runs: int) -> AveragedRuns:
        path = self._push(model)
        with self.session.connected() as services:
            program = self.session.folder.program("program", self.runtime_library.path)
            mask = sum(1 << core for core in self.cores)
            words = ["timeout", "-s", "KILL", str(PROGRAM_S), "taskset", f"{mask:x}"]
            if self.accelerator == "npu":
                words += ["env", f"LD_LIBRARY_PATH={NPU_FOLDER}"]
            words += [program, *self._flags(path, runs)]
            begun = time.monotonic()
            ended = services.run(words, timeout_s=PROGRAM_S + 30.0)
        if ended.status == _KILLED and time.monotonic() - begun >= PROGRAM_S:
            raise MeasurementTimeoutError(
                f"benchmark_model took longer than {PROGRAM_S} s", hint=_PROCESSOR
            )
        self._check(ended.status, said := f"{ended.stdout}\n{ended.stderr}")
        found = read_averages(said, self.accelerator)
        if found.delegated == "none":
            raise UnsupportedModelError(
                f"the {self.accelerator} runs nothing of the model: the program took the processor",
                field="mode",
                hint=_PROCESSOR,
            )
        if found.delegated == "part" and "partial" not in self.options.mode:
            raise UnsupportedModelError(
                f"the {self.accelerator} runs only a part of the model",
                field="mode",
                hint=f"allow the rest on the processor: --mode {self.accelerator},partial",
            )
        return found

    def _flags(self, path: str, runs: int) -> list[str]:
        """The program's options; see the tools' ``--help``."""
        is_litert = self.runtime_library.api == "litert-benchmark"
        words: dict[str, object] = {
            "graph": path,
            "num_threads": self.options.threads,
            "num_runs": runs,
            "min_secs": 0,
            "max_secs": _RUNS_S,
        }
        if self.accelerator:
            words[f"use_{self.accelerator}"] = "true"
            if "partial" not in self.options.mode:
                words["require_full_delegation"] = "true"
                words |= {"use_cpu": "false"} if is_litert else {}
        half = "true" if self.options.precision == "float16" else "false"
        if self.accelerator == "gpu":
            words["allow_fp16" if is_litert else "gpu_precision_loss_allowed"] = half
        elif self.accelerator == "nnapi":
            words["nnapi_allow_fp16"] = half
        elif self.accelerator == "npu":
            words |= dict.fromkeys(
                ("dispatch_library_path", "compiler_plugin_library_path"), NPU_FOLDER
            )
        return [f"--{name}={value}" for name, value in words.items()]

    def _check(self, status: int, said: str) -> None:
        """Raise what a program that failed, or did something else than was asked, stands for."""
        if unknown := flags_not_taken(said):
            raise DeviceError(
                f"this benchmark_model does not know {shortened(unknown, 300)}",
                field="library",
                hint=_OTHER_PROGRAM,
            )
        if status == 0:
            return
        if status == _KILLED:
            raise RuntimeFailedError(
                "benchmark_model was killed on the phone",
                field="failed",
                hint="the phone may be short of memory: close other apps",
            )
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        wrong = [line for line in lines if any(word in line.lower() for word in _REFUSALS)]
        text = shortened((wrong or lines or ["it said nothing"])[-1], 300)
        kind = UnsupportedModelError if wrong else RuntimeFailedError
        raise kind(
            f"benchmark_model ended with status {status}: {text}",
            field="failed",
            hint=f"{_PROCESSOR}, or {_OTHER_PROGRAM}",
        )

    # The phone's state ---------------------------------------------------------------------------

    def conditions(self) -> dict[str, float]:
        answers = self.session.surviving(self.answers)
        state = parse_state(answers)
        return readings(state, _seen(answers, state, self.cores), self.cores)

    def answers(self) -> dict[str, str]:
        return self.session.ask(_QUESTIONS)


def _averaged(model: LoadedModel) -> AveragedModel:
    assert isinstance(model, AveragedModel)
    return model


def _starts(models: Sequence[tuple[AveragedModel, int]]) -> list[tuple[AveragedModel, int]]:
    """The starts that stand for bursts: a model once with all its runs, the first one twice."""
    runs: Counter[str] = Counter()
    distinct: dict[str, AveragedModel] = {}
    for model, times in models:
        runs[model.sha256] += times
        distinct.setdefault(model.sha256, model)
    first, *others = ((model, runs[key]) for key, model in distinct.items())
    if not others:
        return [first]
    half = first[0], -(-first[1] // 2)
    return [half, *others, half]


def _nearest_ms(made: Sequence[AveragedRuns], place: float) -> float:
    """Of a model that ran before and after others the average of then; in the middle of both."""
    before, after = made[0].average_ms, made[-1].average_ms
    return (before + after) / 2 if place == 0 else before if place < 0 else after


def _seen(
    answers: Mapping[str, str], state: PhoneState, cores: tuple[int, ...]
) -> RunnerConditions:
    """What a runner would tell, by the phone's shell."""
    clocks = tuple(
        CoreClock(each.core, each.now_khz or -1, each.limit_khz or -1, -1, each.largest_khz or -1)
        for each in state.cores
    )
    load, memory = answers.get("load", "").split(), answers.get("memory", "").split()
    try:
        loaded = float(load[0])
        available = int(memory[1])
    except (IndexError, ValueError):
        loaded, available = -1.0, -1
    return RunnerConditions(0, available, loaded, clocks, cores, MemoryUse(-1, -1))
