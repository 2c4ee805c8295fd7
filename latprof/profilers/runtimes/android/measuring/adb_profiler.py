"""What the runtimes on phones share: which phone, its runner, its state, and whole cycles."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from latprof.errors import DeviceError, RuntimeFailedError
from latprof.graph.convert.to_tflite import converter_version
from latprof.profilers.base import Availability, Profiler
from latprof.profilers.runtimes.android.checkup.connection import check_phone
from latprof.profilers.runtimes.android.checkup.phone_checks import checkup_facts
from latprof.profilers.runtimes.android.library import (
    RuntimeLibrary,
    remembered_libraries,
    remembered_library,
)
from latprof.profilers.runtimes.android.measuring.cooling import wait_until_cool
from latprof.profilers.runtimes.android.measuring.phone_conditions import (
    BATTERY,
    VISIT_QUESTIONS,
    burst_records,
    cycle_readings,
    phone_disturbances,
    readings,
    timed_runs,
)
from latprof.profilers.runtimes.android.measuring.phone_model import (
    PhoneModel,
    ran_with_its_load,
)
from latprof.profilers.runtimes.android.measuring.phone_session import (
    PROGRAMS,
    PhoneSession,
    RunnerSetup,
    await_phone,
)
from latprof.profilers.runtimes.android.phone_facts import cores_for, read_phone_facts
from latprof.profilers.runtimes.android.phones import open_phone, remember_address
from latprof.profilers.runtimes.android.preparation import Preparation, prepared_phone
from latprof.profilers.runtimes.android.state import PhoneState, parse_state
from latprof.profilers.runtimes.android.transport.base import checked_serial
from latprof.profilers.runtimes.converted_models import keep_by_name, kept_by_name
from latprof.profilers.runtimes.running import package_availability

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource
    from latprof.measurement.protocol import LoadedModel
    from latprof.measurement.records import Target
    from latprof.profilers.base import RunOptions
    from latprof.profilers.runtimes.android.phone_facts import PhoneFacts
    from latprof.profilers.runtimes.android.runner.runner_records import (
        PlanResult,
        RunnerConditions,
    )
    from latprof.profilers.runtimes.android.thermals import Thermals
    from latprof.profilers.runtimes.android.transport.services import PhoneServices

#: The mode's word for Android's fixed-performance mode.
FIXED_PERFORMANCE = "fixed-performance"
#: Runs of the bursts that calibrate a visit, which follow its load; a cycle has more bursts.
_CALIBRATION = (1, 1)
#: Where files of spaces' networks are kept on this computer.
_SKELETONS = "skeletons"
#: What a phone told of its heat, clocks and memory holds so long, and of its battery, in seconds.
_FRESH_S, BATTERY_S = 1.0, 10.0


class AdbProfiler(Profiler):
    """A runtime on a phone over adb; :meth:`at` gives the profiler of one of them.

    Subclasses set ``runtime`` and make a model's file of what is measured. A phone is asked for its
    identity where :meth:`target` is called, which raises DeviceError where it cannot be reached.
    """

    modes: ClassVar = {
        FIXED_PERFORMANCE: "Android's fixed-performance mode (11 and later): lower, steadier clocks"
    }
    clusters = ("big", "prime", "little")
    runs_here = False
    address_optional = True
    #: The runtime's name in targets.
    runtime: ClassVar[str] = ""
    #: How the phone is reached: its serial, or HOST:PORT; empty for the only one.
    serial: ClassVar[str] = ""

    def __init__(self, options: RunOptions) -> None:
        super().__init__(options)
        self._session: PhoneSession | None = None
        self._plan: PlanResult | None = None
        self._cycle: PlanResult | None = None  # not yet told of by conditions()
        self._state: tuple[float, PhoneState] | None = None
        self._told: tuple[float, RunnerConditions] | None = None
        self._battery: tuple[float, str] | None = None

    @classmethod
    def at(cls, address: str) -> type[Self]:
        """The profiler of the phone with this serial, or at this HOST:PORT."""
        serial = checked_serial(address) if address else ""
        spelling = f"adb:{serial}:{cls.runtime}" if serial else f"adb:{cls.runtime}"
        return type(cls.__name__, (cls,), {"serial": serial, "spelling": spelling})

    @classmethod
    def availability(cls) -> Availability:
        found = package_availability("flatbuffers", "TFLite's file format", "android")
        if found.state != "ready":
            return found
        abis = [each.abi for each in remembered_libraries() if each.runtime == cls.runtime]
        if not abis:
            missing = f"there is no {cls.runtime} library for phones yet"
            return Availability(
                "missing", missing, f"run `latprof android setup --runtime {cls.runtime}`"
            )
        return Availability("ready", f"a library for {', '.join(abis)}; phones are listed below")

    # The phone -----------------------------------------------------------------------------------

    @cached_property
    def facts(self) -> PhoneFacts:
        """What the phone is."""
        if self.report is None:
            services = open_phone(self.serial)
            with services.link:
                return _told_facts(services)
        found: list[PhoneFacts] = []
        asked = await_phone(self.serial, self.report, lambda s: found.append(_told_facts(s)))
        asked.link.close()
        return found[-1]

    @cached_property
    def runtime_library(self) -> RuntimeLibrary:
        """The library of the runtime that goes to the phone."""
        return remembered_library(self.runtime, self.abi[:1], self.facts.sdk)

    @property
    def abi(self) -> tuple[str, ...]:
        """The phone's ABIs that there is a runner for; DeviceError without any."""
        facts = self.facts
        found = tuple(abi for abi in facts.abis if abi in PROGRAMS)
        if not found:
            raise DeviceError(
                f"{facts.maker} {facts.model} runs no program that latprof has",
                field="abi",
                expected=" or ".join(PROGRAMS),
                got=", ".join(facts.abis) or "nothing",
                hint="a phone with 32-bit Android cannot be measured",
            )
        return found

    @cached_property
    def cores(self) -> tuple[int, ...]:
        """The cores that networks run on."""
        options, clusters = self.options, self.facts.clusters
        word = ",".join(map(str, options.cores)) or options.cluster or "big"
        return cores_for(word, options.threads, clusters)

    def target(self, input_shape: tuple[int, ...] | None) -> Target:
        facts, library = self.facts, self.runtime_library
        found = self.identity(
            f"adb:{facts.serial}",
            f"{facts} build {_build(facts.build)}",
            self.runtime,
            self.runtime_version(library),
            input_shape,
        )
        return dataclasses.replace(found, cores=",".join(map(str, self.cores)))

    def runtime_version(self, library: RuntimeLibrary) -> str:
        """What runs networks there: the library by its digest."""
        return f"{library.api} {library.sha256[:12]}"

    def own_spelling(self) -> str:
        return f"adb:{self.serial or self.facts.serial}:{self.runtime}"

    @contextlib.contextmanager
    def occupied(self, report: Callable[[str], None]) -> Iterator[None]:
        own, serial = self.facts.serial, self.serial or self.facts.serial
        preparation = self._preparation
        with prepared_phone(lambda: open_phone(serial), own, preparation, on_note=report):
            yield

    def surroundings(self) -> dict[str, Any]:
        found, checks = check_phone(self.serial or self.facts.serial)
        return {
            "facts": checkup_facts(found),
            "checks": [dataclasses.asdict(check) for check in checks],
        }

    @property
    def _preparation(self) -> Preparation:
        return Preparation(fixed_performance=FIXED_PERFORMANCE in self.options.mode)

    @property
    def session(self) -> PhoneSession:
        """The runner."""
        if self._session is None:
            setup = RunnerSetup(
                self.serial or self.facts.serial,
                self.facts.serial,
                self.facts.build,
                self.abi[0],
                self.runtime_library.path,
                self.cores,
                self.options.threads,
                self._preparation,
            )
            self._session = PhoneSession(setup, self._tell)
        return self._session

    def close(self) -> None:
        """End the runner and the connection."""
        if self._session is not None:
            self._session.close()

    def _tell(self, waiting: str) -> None:
        if self.report is not None:
            self.report(waiting)

    @property
    def restarts(self) -> int:  # type: ignore[override]
        """How often the runner was started anew."""
        return max(0, 0 if self._session is None else self._session.generation - 1)

    # Models --------------------------------------------------------------------------------------

    def load(self, model: ModelSource) -> PhoneModel:
        return PhoneModel(self.session, self.content(model))

    def prepare(self, model: ModelSource) -> Callable[[], LoadedModel]:
        content = self.content(model)
        if self.network_key:
            keep_by_name(self.network_key, _SKELETONS, self._made_by, content)
        return partial(PhoneModel, self.session, content, then_run=_CALIBRATION)

    def prepared_before(self) -> Callable[[], LoadedModel] | None:
        if not self.network_key:
            return None
        content = kept_by_name(self.network_key, _SKELETONS, self._made_by)
        if content is None:
            return None
        return partial(PhoneModel, self.session, content, then_run=_CALIBRATION)

    def prefetch(self, model: ModelSource) -> None:
        self.session.push(self.content(model))

    @cached_property
    def _made_by(self) -> str:
        """What makes a network's file, beside the network."""
        return f"{self.runtime} {converter_version()}"

    def content(self, model: ModelSource) -> bytes:
        """The file that the runtime loads, or a skeleton of it; raises as :meth:`load`."""
        raise NotImplementedError

    def run_bursts(self, bursts: Sequence[tuple[LoadedModel, int]]) -> Sequence[Sequence[float]]:
        """One plan for all of them, unless a model has just run them with its load."""
        ran = ran_with_its_load(bursts)
        self._plan = ran or self.session.surviving(partial(self._run_plan, bursts))
        self._check_cores(self._plan)
        return [timed_runs(burst, self.options.threads) for burst in self._plan.bursts]

    def _run_plan(self, bursts: Sequence[tuple[LoadedModel, int]]) -> PlanResult:
        numbers = []
        for model, times in bursts:
            assert isinstance(model, PhoneModel)
            numbers.append((model.number(), times))
        with self.session.asking() as client:
            if len(bursts) <= len(_CALIBRATION):
                return client.run_plan(numbers)
            plan, seen = client.run_cycle(numbers)
        self._cycle, self._told = plan, (time.monotonic(), seen)
        return plan

    def _check_cores(self, plan: PlanResult) -> None:
        used = {run.core for burst in plan.bursts for run in burst.runs}
        if not used <= set(self.cores):
            raise RuntimeFailedError(
                "the phone ran a network on other cores than were asked for",
                field="cores",
                expected=",".join(map(str, self.cores)),
                got=",".join(map(str, sorted(used))),
                hint="it may keep these cores from its shell: choose others with --cores",
            )

    # The phone's state ---------------------------------------------------------------------------

    def settle(self, report: Callable[[str], None], idle: Callable[[], bool]) -> None:
        self._cycle = None
        wait_until_cool(self._thermals, report, idle)

    def conditions(self) -> dict[str, float]:
        plan, self._cycle = self._cycle, None
        state = self._phone_state(fresh=plan is not None)
        found = readings(state, self._runner_state(), self.cores)
        return found if plan is None else found | cycle_readings(plan)

    def disturbances(
        self, before: Mapping[str, float], after: Mapping[str, float]
    ) -> tuple[str, ...]:
        return phone_disturbances(before, after)

    def cycle_details(self) -> Mapping[str, Any]:
        return {} if self._plan is None else {"bursts": burst_records(self._plan)}

    def _seen(self) -> RunnerConditions:
        with self.session.asking() as client:
            return client.conditions()

    def _runner_state(self) -> RunnerConditions:
        """Clocks, load and memory: a moment ago, as after each cycle, or now."""
        if self._told is None or time.monotonic() - self._told[0] > _FRESH_S:
            self._told = time.monotonic(), self.session.surviving(self._seen)
        return self._told[1]

    def _thermals(self) -> Thermals:
        return self._phone_state(fresh=False).thermals

    def _phone_state(self, *, fresh: bool) -> PhoneState:
        """What the phone tells of its heat: now, or a moment ago."""
        if fresh or self._state is None or time.monotonic() - self._state[0] > _FRESH_S:
            answers = self.session.surviving(self.answers)
            self._state = time.monotonic(), parse_state(answers)
        return self._state[1]

    def answers(self) -> dict[str, str]:
        """What the phone tells around a visit, by the question's name.

        Each question starts a program on the phone, so its battery is not asked at every visit.
        """
        known = self._battery
        if known is not None and time.monotonic() - known[0] < BATTERY_S:
            questions = {name: VISIT_QUESTIONS[name] for name in VISIT_QUESTIONS if name != BATTERY}
            return self.session.ask(questions) | {BATTERY: known[1]}
        found = self.session.ask(VISIT_QUESTIONS)
        self._battery = time.monotonic(), found[BATTERY]
        return found


def _told_facts(services: PhoneServices) -> PhoneFacts:
    """What a phone is; where it was reached is kept."""
    facts = read_phone_facts(services)
    remember_address(facts.serial, services.link.serial)
    return facts


def _build(fingerprint: str) -> str:
    """The build's own part of a fingerprint: ``ID/INCREMENTAL``."""
    parts = fingerprint.split(":")
    words = parts[1].split("/") if len(parts) > 2 else []
    return "/".join(words[1:]) if len(words) == 3 else fingerprint
