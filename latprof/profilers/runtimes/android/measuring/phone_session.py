"""A runner on a phone: started, and started anew after it or the connection was lost."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from latprof.errors import (
    ConnectionLostError,
    DeviceError,
    DeviceOfflineError,
    DeviceUnauthorizedError,
    LatprofError,
    MeasurementTimeoutError,
    RuntimeFailedError,
)
from latprof.profilers.runtimes.android.answers import OpenShell
from latprof.profilers.runtimes.android.measuring.phone_lines import PhoneLines
from latprof.profilers.runtimes.android.measuring.work_folder import WorkFolder
from latprof.profilers.runtimes.android.phones import open_phone
from latprof.profilers.runtimes.android.preparation import Preparation, prepare_again
from latprof.profilers.runtimes.android.runner.runner_client import (
    RunnerClient,
    RunnerTimeouts,
    runner_program,
)
from latprof.profilers.runtimes.android.transport.base import Timeouts

if TYPE_CHECKING:
    from pathlib import Path

    from latprof.profilers.runtimes.android.runner.runner_records import (
        OpenedLibrary,
        PlanResult,
        RunnerModel,
    )
    from latprof.profilers.runtimes.android.transport.base import ByteStream
    from latprof.profilers.runtimes.android.transport.services import PhoneServices

#: The runner's program by the phone's ABI.
PROGRAMS = {"arm64-v8a": "arm64-android", "x86_64": "x86_64-linux"}
#: What a phone that was lost may take to come back, a reboot included.
RECONNECT_S = 300.0
#: What each request to the runner may take; a visit as a whole has its own time-out.
REQUESTS = RunnerTimeouts()
#: How often lost work is begun.
ATTEMPTS = 3
#: Of what is asked besides the runner.
TIMES = Timeouts(run_s=30.0)
LOOK_EVERY_S = 1.0
_Result = TypeVar("_Result")
_MOST_MODELS = 64


@dataclass(frozen=True)
class RunnerSetup:
    """What a runner is started with.

    Parameters
    ----------
    serial : str
        How the phone is reached.
    own_serial, build : str
        What the phone calls itself, and its build: another one in its place is not measured.
    abi : str
    library : Path
        The runtime's library, on this computer.
    cores : tuple of int
    threads : int
    preparation : Preparation
        What holds while it is measured: made again where a reboot has ended it.
    """

    serial: str
    own_serial: str
    build: str
    abi: str
    library: Path
    cores: tuple[int, ...]
    threads: int
    preparation: Preparation


class PhoneSession:
    """Speaks to a runner on a phone, which it starts when it is needed; for one thread.

    After the runner or the connection was lost, the next call starts another: models that were
    loaded before have to be loaded again (:attr:`generation` has grown).

    Parameters
    ----------
    setup : RunnerSetup
    report : callable
        Takes what is waited for.
    """

    def __init__(self, setup: RunnerSetup, report: Callable[[str], None]) -> None:
        self._setup, self._report = setup, report
        self._services: PhoneServices | None = None
        self._folder: WorkFolder | None = None
        self._stream: ByteStream | None = None
        self._client: RunnerClient | None = None
        self._shell: OpenShell | None = None
        self._free: list[int] = []
        self._dropped: list[int] = []
        self.library: OpenedLibrary | None = None
        #: Counts the runners that were started, from 1.
        self.generation = 0

    def surviving(self, do: Callable[[], _Result]) -> _Result:
        """Do what can be done again from its begin, where the runner or the connection is lost.

        Raises as :meth:`asking`, after :data:`ATTEMPTS`.
        """
        for left in reversed(range(ATTEMPTS)):
            try:
                return do()
            except (ConnectionLostError, RuntimeFailedError) as error:
                lost = isinstance(error, ConnectionLostError) or error.field == "gone"
                if not (left and lost):
                    raise
        raise AssertionError

    def close(self) -> None:
        """End the runner and the connection."""
        for opened in (self._stream, self._shell):
            with contextlib.suppress(LatprofError, OSError):
                if opened is not None:
                    opened.close()
        with contextlib.suppress(LatprofError, OSError):
            if self._services is not None:
                self._services.link.close()
        self._services = self._folder = self._stream = self._client = self._shell = None

    @property
    def services(self) -> PhoneServices:
        """Commands and files of the phone, connected to where they are not yet."""
        if self._services is None:
            self._services = self._connected()
        return self._services

    @property
    def folder(self) -> WorkFolder:
        """The work folder, looked into after each connection."""
        services = self.services
        if self._folder is None:
            self._folder = WorkFolder(services)
        return self._folder

    @contextlib.contextmanager
    def connected(self) -> Iterator[PhoneServices]:
        """The phone, waited for; an error that ends the connection is raised as what it was."""
        services = self.services  # given up where it does not come
        try:
            yield services
        except DeviceOfflineError as error:  # it was there a moment ago
            self.close()
            raise ConnectionLostError(error.problem, hint=error.hint) from None
        except (ConnectionLostError, DeviceUnauthorizedError, MeasurementTimeoutError):
            self.close()
            raise

    def ask(self, questions: Mapping[str, str]) -> dict[str, str]:
        """What commands of the phone's shell print; raises as :meth:`connected`."""
        with self.connected() as services:
            if self._shell is None:
                self._shell = OpenShell(services)
            return self._shell.ask(questions, timeout_s=TIMES.run_s)

    @contextlib.contextmanager
    def asking(self) -> Iterator[RunnerClient]:
        """The runner, for requests; raises as :meth:`connected`, and where the runner is lost."""
        with self.connected():
            try:
                if self._client is None:
                    self._start()
                assert self._client is not None
                yield self._client
            except RuntimeFailedError as error:
                if error.field in {"gone", "garbled", "crashed"} or not error.field:
                    raise self._lost(error) from None
                raise

    def load(
        self, content: bytes, *, profile: str | None = None, then_run: Sequence[int] = ()
    ) -> tuple[int, RunnerModel, PlanResult | LatprofError | None]:
        """Load a model, or a skeleton of one; its number and what the runner says of it.

        With what became of ``then_run``: runs of bursts of it, in the same round trip.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        with self.asking() as client:
            assert self._folder is not None
            path = self._folder.model(content, sha256)
            dropped, self._dropped = self._dropped, []
            self._free += dropped  # by the time that the next one is loaded
            if not self._free:
                raise DeviceError(
                    f"more than {_MOST_MODELS} models are loaded on the phone",
                    hint="measure fewer networks at once",
                )
            number = self._free[-1]
            how = {"sha256": sha256, "threads": self._setup.threads, "profile": profile}
            load = partial(_load, client, number, path, then_run, **how)
            try:
                model, ran = load(dropping=dropped)
            except DeviceError as error:
                # Damaged on its way, or removed by somebody: it is pushed once more.
                if error.field not in {"wrong-hash", "no-file"}:
                    raise
                self._folder.model(content, sha256, again=True)
                model, ran = load()
            self._free.pop()
            return number, model, ran

    def push(self, content: bytes) -> None:
        """Bring a model to the phone that is loaded later."""
        with self.asking():
            assert self._folder is not None
            self._folder.model(content, hashlib.sha256(content).hexdigest())

    def drop(self, generation: int, number: int) -> None:
        """Note that a model is not used any more; the runner is told before the next load."""
        if generation == self.generation:
            self._dropped.append(number)

    # Starting ------------------------------------------------------------------------------------

    def _connected(self) -> PhoneServices:
        """The phone, as it is to be measured."""

        def ready(services: PhoneServices) -> None:
            self._check_identity(services)
            prepare_again(services, self._setup.own_serial, self._setup.preparation)

        return await_phone(self._setup.serial, self._report, ready)

    def _check_identity(self, services: PhoneServices) -> None:
        names = ("ro.serialno", "ro.build.fingerprint", "sys.boot_completed")
        script = "; ".join(f"getprop {name}" for name in names)
        lines = services.run(["sh", "-c", script]).stdout.splitlines()
        own, build, booted = [*lines, "", "", ""][:3]
        setup = self._setup
        if (own or setup.own_serial, build) != (setup.own_serial, setup.build):
            raise DeviceOfflineError(
                "another phone is in its place",
                field="serial",
                expected=f"{setup.own_serial} {setup.build}",
                got=f"{own[:100]} {build[:200]}",
                hint="connect the one that was measured",
            )
        if booted.strip() not in {"1", ""}:
            raise DeviceOfflineError("the phone has not started yet", hint="unlock its screen")

    def _start(self) -> None:
        setup = self._setup
        self._folder = WorkFolder(self.services)
        runner = self._folder.program("runner", runner_program(PROGRAMS[setup.abi]))
        library = self._folder.program("library", setup.library, mode=0o644)
        self._stream = self.services.start([runner])
        self.generation += 1
        self._free, self._dropped = list(range(_MOST_MODELS)), []
        try:
            client = RunnerClient(PhoneLines(self._stream), REQUESTS)
        except LatprofError as error:
            self._stream.close()
            if error.field == "no-start":  # unless it is the phone that has gone
                self.services.run(["true"], timeout_s=10.0)
            raise
        self._client = client
        self.library = client.open_library(library)
        if setup.cores:
            client.set_affinity(setup.cores)

    def _lost(self, error: RuntimeFailedError) -> LatprofError:
        """What has ended the runner: the phone is asked whether it is still there."""
        services = self._services
        if error.field == "garbled":
            self.close()
            return ConnectionLostError(error.problem, field=error.field, hint=error.hint)
        try:
            if services is not None:
                services.run(["true"], timeout_s=10.0)
        except (DeviceError, MeasurementTimeoutError) as why:
            found: LatprofError = (
                why
                if isinstance(why, DeviceUnauthorizedError)
                else ConnectionLostError(f"the connection to the phone was lost: {why.problem}")
            )
        else:
            found = RuntimeFailedError(
                "the runner on the phone was ended"
                + (f": {error.problem}" if error.field == "crashed" else " by somebody else"),
                field=error.field,
                hint="the phone may be short of memory: close other apps",
            )
        self.close()
        return found


def _load(
    client: RunnerClient, number: int, path: str, then_run: Sequence[int], **options: Any
) -> tuple[RunnerModel, PlanResult | LatprofError | None]:
    if then_run:
        return client.load_and_run(number, path, then_run, **options)
    return client.load(number, path, **options), None


def await_phone(
    serial: str,
    report: Callable[[str], None],
    ready: Callable[[PhoneServices], None] = lambda _services: None,
) -> PhoneServices:
    """Connect to a phone, which is waited for where it is away just now.

    Parameters
    ----------
    serial : str
        As :func:`latprof.profilers.runtimes.android.phones.open_phone` takes it.
    report : callable
        Takes what is waited for.
    ready : callable
        Asks the phone what else must hold; raises as this does, and is asked again.

    Raises
    ------
    DeviceOfflineError
        Where it is away after :data:`RECONNECT_S` still.
    DeviceUnauthorizedError, DeviceError
        As the phone says.
    """
    end = time.monotonic() + RECONNECT_S
    while True:
        try:
            services = open_phone(serial, TIMES)
            try:
                ready(services)
            except BaseException:
                services.link.close()
                raise
        except (DeviceOfflineError, ConnectionLostError, MeasurementTimeoutError) as error:
            if time.monotonic() >= end:
                raise DeviceOfflineError(
                    f"{serial} has not come back within {RECONNECT_S:g} s: {error.problem}",
                    hint="plug it in again, and run the same command to resume",
                ) from None
            report(f"waiting for the phone to come back: {error.problem}")
            time.sleep(LOOK_EVERY_S)
        else:
            return services
