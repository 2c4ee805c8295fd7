"""What a worker does with its devices: the tasks that clients submit, and what is known of each.

A device is held by one collection at a time, with the measuring process of its present share, until
the collection lets go, is silent for :data:`HOLD_S`, or another one finds that its client is gone.
All answers are plain JSON values; a failure is one too, so that no exception of a runtime has to
travel.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.files import write_atomically
from latprof.errors import (
    DeviceDiskFullError,
    DeviceError,
    DiskFullError,
    LatprofError,
    RuntimeFailedError,
)
from latprof.farm.device_state import DeviceState, Turns
from latprof.measurement.records import PairedProtocol
from latprof.measurement.visits import Failure
from latprof.profilers.base import RunOptions
from latprof.profilers.host.checks import run_checks
from latprof.profilers.host.facts import host_facts
from latprof.profilers.targets import check_ready, profiler_class
from latprof.profilers.visits.measurers import measurers
from latprof.profilers.visits.network_source import NetworkSource
from latprof.profilers.visits.sending import place

if TYPE_CHECKING:
    from latprof.farm.announcing import FarmDevice
    from latprof.profilers.visits.measurer import Measurer

#: A collection that asks nothing of a device for so long has let go of it.
HOLD_S = 30.0
#: A host's facts hold for so long.
FACTS_S = 60.0


class _Held:
    """A device in a collection's hands, and the measuring process of its present share."""

    def __init__(self, state: DeviceState, session: Mapping[str, Any]) -> None:
        self.owner = session["owner"]
        self._session, self._state = session, state
        self._token, self._measurer = "", contextlib.ExitStack()
        self._device = contextlib.ExitStack()
        self.asked_at, self.client = time.monotonic(), ""
        self._make = self._device.enter_context(
            measurers(
                state.device.ways.get(session["target"], session["target"]),
                RunOptions.from_dict(session["options"]),
                NetworkSource.from_dict(session["reference"]),
                PairedProtocol.from_dict(session["protocol"]),
                timeout_s=session["timeout_s"],
                ahead=True,
                on_wait=self._wait,
            )
        )

    def _wait(self, text: str) -> None:
        self._state.state = text

    def measurer(self, token: str, reference_runs: Mapping[str, int]) -> Measurer:
        """The measurer of a share: each has fresh processes."""
        if token != self._token:
            self._measurer.close()
            self._measurer = contextlib.ExitStack()
            self._of_share = self._measurer.enter_context(self._make(reference_runs))
            self._token = token
        return self._of_share

    def is_others(self, session: Mapping[str, Any], ask: Mapping[str, Any]) -> bool:
        """Whether another collection has the device, which is there and has asked of late."""
        if self.owner == session["owner"] or ask.get("gone") == self.client:
            return False
        return time.monotonic() - self.asked_at < HOLD_S

    def close(self) -> None:
        """End the processes, and let go of the device."""
        self._measurer.close()
        self._device.close()


class DeviceDesk:
    """The devices of one worker.

    Parameters
    ----------
    devices : iterable of FarmDevice
    folder : Path, optional
        Where models that come as files are put.
    """

    def __init__(self, devices: tuple[FarmDevice, ...], folder: Path | None = None) -> None:
        self.states = {device.name: DeviceState(device) for device in devices}
        self._held: dict[str, _Held] = {}
        self._turns = {device.name: Turns() for device in devices}
        self._is_closed = False
        self._files = tempfile.TemporaryDirectory(prefix="latprof-models-", dir=folder)
        self._facts: tuple[float, dict[str, Any]] | None = None
        self._facts_lock = threading.Lock()

    def facts(self) -> dict[str, Any]:
        """What the host is and what spoils its timings, looked at once for all its devices."""
        with self._facts_lock:
            if self._facts is None or time.monotonic() - self._facts[0] > FACTS_S:
                checks = [vars(check) for check in run_checks()]
                self._facts = time.monotonic(), {"facts": host_facts(), "checks": checks}
            return self._facts[1]

    def describe(self) -> dict[str, Any]:
        """What the worker says of its devices with every heartbeat."""
        return {name: state.to_dict() for name, state in self.states.items()}

    def visits(
        self,
        name: str,
        session: Mapping[str, Any],
        asks: Sequence[Mapping[str, Any]],
        following: Mapping[str, Any] | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> dict[str, Any]:
        """Make visits one after the other when it is their turn; see :func:`visits`.

        Those that nobody wants any more by then are not made.
        """
        held = self._held.get(name)
        if held is not None and held.is_others(session, asks[0]):
            return {"answers": [{"busy": held.client}] * len(asks), "took_s": 0.0}
        answers = []
        with self._turns[name].mine(first=asks[0]["do"] == "kernels"):
            start = time.monotonic()
            for ask, then in zip(asks, [*asks[1:], following], strict=True):
                if self._is_closed or not is_wanted():
                    break
                answers.append((self.visit(name, session, ask, then), time.monotonic()))
            end = time.monotonic()
            told = [{**answer, "ago_s": end - at} for answer, at in answers]
            return {"answers": told, "took_s": end - start}

    def visit(
        self,
        name: str,
        session: Mapping[str, Any],
        ask: Mapping[str, Any],
        following: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Make a visit, or time kernels; ``following`` is asked next."""
        subject, state = ask["network"]["subject"][1], self.states[name]
        if why := state.aside():
            return {"aside": why}
        try:
            placed = self._placed(ask)
            if placed is None:
                return {"wants": "files"}
            held = self._hold(state, session, ask)
            if held is None:
                return {"busy": self._held[name].client}
            state.state = "measuring"
            measurer = held.measurer(ask["token"], ask["reference_runs"])
            self._expect(measurer, following)
            if ask["do"] == "kernels":
                found = measurer.profile(placed)
                failure = found if isinstance(found, Failure) else None
                return {"failure" if failure else "profile": found.to_dict()}
            visit = measurer.visit(placed)
            state.note(subject, visit.failure)
            return {"visit": visit.to_dict()}
        except Exception as error:  # noqa: BLE001 - a client would take it for a lost connection
            failure = _failure(error)
            state.note(subject, failure)
            self._let_go(name)
            return {"failure": failure.to_dict()}
        finally:
            held = self._held.get(name)
            state.state = "idle" if held is None else "held"
            if held is not None and held.owner == session["owner"]:
                held.asked_at = time.monotonic()

    def _hold(
        self, state: DeviceState, session: Mapping[str, Any], ask: Mapping[str, Any]
    ) -> _Held | None:
        """The device in this collection's hands; None where it is in another's."""
        held = self._held.get(state.device.name)
        if held is not None and held.owner != session["owner"]:
            if held.is_others(session, ask):
                return None
            self._let_go(state.device.name)
            held = None
        if held is None:
            held = self._held[state.device.name] = _Held(state, session)
        held.asked_at, held.client = time.monotonic(), ask["client"]
        return held

    def _expect(self, measurer: Measurer, ask: Mapping[str, Any] | None) -> None:
        """Tell a measurer what comes next, where that is here."""
        if ask is not None and ask["do"] == "visit":
            placed = self._placed(ask)
            measurer.expect([] if placed is None else [placed])

    def identify(
        self, name: str, target: str, options: Mapping[str, Any], shape: list[int] | None
    ) -> dict[str, Any]:
        """Say what a target of a device is; see :func:`identify`."""
        spelling = self.states[name].device.ways.get(target, target)
        try:
            with self._turns[name].mine():
                kind = profiler_class(spelling)
                profiler = kind(RunOptions.from_dict(options))
                if not kind.clusters:
                    check_ready(spelling)
                identity = profiler.target(None if shape is None else tuple(shape))
                surroundings = profiler.surroundings() or self.facts()
        except Exception as error:  # noqa: BLE001 - as above
            return {"failure": _failure(error).to_dict()}
        return {
            "target": identity.to_dict(),
            "surroundings": surroundings,
            "caution": profiler.caution,
            "networks_per_process": profiler.networks_per_process,
        }

    def _placed(self, ask: Mapping[str, Any]) -> NetworkSource | None:
        """The network with its files in a folder of this worker; None where they are not there."""
        folder = Path(self._files.name)
        for name, content in ask.get("files", {}).items():
            write_atomically(folder / name, content)  # others here may look for it at this moment
        told = copy.deepcopy(ask["network"])
        if not all(path.exists() for path in place(told, folder)):
            return None
        return NetworkSource.from_dict(told, ask.get("model", b""))

    def release(self, name: str, owner: str) -> None:
        """Let go of a device, where it is in this collection's hands."""
        with self._turns[name].mine(first=True):
            held = self._held.get(name)
            if held is not None and held.owner == owner:
                self._let_go(name)
                self.states[name].state = "idle"

    def release_silent(self) -> None:
        """Let go of devices whose collection is silent: its client may have died."""
        for name, turns in self._turns.items():
            with turns.mine_if_free() as is_free:
                held = self._held.get(name)
                if is_free and held is not None and time.monotonic() - held.asked_at > HOLD_S:
                    self._let_go(name)
                    self.states[name].state = "idle"

    def _let_go(self, name: str) -> None:
        held = self._held.pop(name, None)
        if held is not None:
            # What cannot be put back now is put back by the next one that holds the device.
            with contextlib.suppress(Exception):
                held.close()

    def close(self) -> None:
        """Let go of all devices; whoever waits for a turn makes no visit any more."""
        self._is_closed = True
        for name, turns in self._turns.items():
            with turns.mine(first=True):
                self._let_go(name)
        self._files.cleanup()


_desk: DeviceDesk | None = None


@contextlib.contextmanager
def serving(devices: tuple[FarmDevice, ...], folder: Path | None = None) -> Iterator[DeviceDesk]:
    """These are the devices of this process until the block ends."""
    global _desk  # noqa: PLW0603 - tasks find a worker's devices here, by the process they run in
    _desk = desk = DeviceDesk(devices, folder)
    try:
        yield desk
    finally:
        _desk = None
        desk.close()


def visits(
    name: str,
    session: dict[str, Any],
    asks: Sequence[dict[str, Any]],
    following: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Make visits on a device, one after the other, as a task.

    Parameters
    ----------
    name : str
        The device's.
    session : dict
        Of a collection: ``owner``, ``target``, ``options``, ``reference``, ``protocol``,
        ``timeout_s``.
    asks : sequence of dict
        Of each visit ``do`` (``"visit"`` or ``"kernels"``), ``network`` and ``model`` as
        :func:`~latprof.profilers.visits.sending.named`, ``token`` of the share of visits,
        ``reference_runs``, ``client`` that asks, ``files``, the content of those that were missing
        by name; ``gone`` names a client that held the device and is there no more.
    following : dict, optional
        What is asked next, which may be prepared during the last visit.

    Returns
    -------
    dict
        ``answers``, one for each: ``visit``, ``profile`` or ``failure``; ``busy``, the client whose
        collection has the device, ``aside`` where it is set aside, ``wants`` where files
        are missing; and ``ago_s``, for how long it has been there, by which the client knows
        what this host's clock is off by. ``took_s`` is the time of all visits.
    """
    if _desk is None or name not in _desk.states:
        return {"answers": [_not_here(name)] * len(asks), "took_s": 0.0}
    return _desk.visits(name, session, asks, following, _is_wanted)


def _failure(error: Exception) -> Failure:
    """What an error on this host means; none of the system's or a runtime's travels."""
    is_full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    if is_full or isinstance(error, DiskFullError):
        error = DeviceDiskFullError(f"no space is left on {platform.node()}")
    if not isinstance(error, LatprofError):
        error = RuntimeFailedError(f"{type(error).__name__}: {error}"[:300])
    return Failure.of(error)


def _not_here(name: str) -> dict[str, Any]:
    return {"failure": Failure.of(DeviceError(f"{name} is not here any more")).to_dict()}


def _is_wanted() -> bool:
    """Whether whoever submitted the task of this thread still waits for it.

    dask calls off what waits for a worker, but not what waits for its turn within one; and a worker
    that has lost its scheduler joins the next one only when none of its tasks runs any more.
    """
    if (distributed := sys.modules.get("distributed")) is None:
        return True
    try:
        worker = distributed.get_worker()
        is_running = worker.status.name == "running"
        tasks = worker.state.tasks
        return bool(is_running and tasks[worker.get_current_task()].state != "cancelled")
    except (ValueError, KeyError):  # no task, or one that is not known any more
        return True


def release(name: str, owner: str) -> None:
    """Let go of a device, as a task."""
    if _desk is not None and name in _desk.states:
        _desk.release(name, owner)


def identify(name: str, target: str, options: dict[str, Any], shape: list[int] | None) -> Any:
    """Say what a target of a device is, as a task: its identity and its surroundings."""
    if _desk is None or name not in _desk.states:
        return _not_here(name)
    return _desk.identify(name, target, options, shape)
