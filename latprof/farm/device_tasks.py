"""What a worker does with its devices: the tasks that clients submit, and what is known of each.

A device is held by one collection at a time, with the measuring process of its present share, until
the collection lets go, is silent for :data:`HOLD_S`, or another one finds that its client is gone.
All answers are plain JSON values; a failure is one too, so that no exception of a runtime has to
travel.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof._version import __version__
from latprof.errors import DeviceError, LatprofError
from latprof.measurement.records import PairedProtocol
from latprof.measurement.visits import Failure
from latprof.profilers.base import RunOptions
from latprof.profilers.host.checks import run_checks
from latprof.profilers.host.facts import host_facts
from latprof.profilers.targets import check_ready, profiler_class
from latprof.profilers.visits.measurers import measurers
from latprof.profilers.visits.network_source import NetworkSource

if TYPE_CHECKING:
    from latprof.farm.announcing import FarmDevice
    from latprof.profilers.visits.measurer import Measurer

#: A collection that asks nothing of a device for so long has let go of it.
HOLD_S = 120.0
#: Failures in a row after which a device is set aside, and different networks among them.
MOST_FAILURES, FEWEST_NETWORKS = 6, 2
#: Failures that are the device's and not the network's.
OF_DEVICE = frozenset(
    {"device", "device-offline", "unauthorized", "device-full", "connection-lost"}
    | {"runtime-failed", "timeout"}
)
#: A device that was set aside is tried again after so long.
REST_S = 600.0


@dataclass
class DeviceState:
    """What a worker knows of one of its devices."""

    device: FarmDevice
    state: str = "idle"
    made: int = 0
    failed: int = 0
    last_error: str = ""
    set_aside_at: float | None = None
    failed_networks: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        state = self.state if self.set_aside_at is None else "set aside"
        counts = {"made": self.made, "failed": self.failed}
        return {"state": state, **counts, "last_error": self.last_error[:300]}

    def note(self, network: str, failure: Failure | None) -> None:
        """Keep what became of a visit; set the device aside where it keeps failing."""
        if failure is None:
            self.made += 1
            self.failed_networks.clear()
            return
        self.failed += 1
        self.last_error = failure.message
        if failure.code not in OF_DEVICE:
            return
        self.failed_networks.append(network)
        several = len(set(self.failed_networks)) >= FEWEST_NETWORKS
        if several and len(self.failed_networks) >= MOST_FAILURES:
            self.set_aside_at = time.monotonic()

    def aside(self) -> str:
        """Why the device is set aside; empty where it is not, or has rested."""
        if self.set_aside_at is not None and time.monotonic() - self.set_aside_at > REST_S:
            self.set_aside_at = None
            self.failed_networks.clear()
        if self.set_aside_at is None:
            return ""
        return (
            f"{self.device.name} is set aside after {len(self.failed_networks)} failed visits in a "
            f"row, the last one: {self.last_error}"
        )


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

    def close(self) -> None:
        """End the processes, and let go of the device."""
        self._measurer.close()
        self._device.close()


class DeviceDesk:
    """The devices of one worker.

    Parameters
    ----------
    devices : iterable of FarmDevice
    """

    def __init__(self, devices: tuple[FarmDevice, ...]) -> None:
        self.states = {device.name: DeviceState(device) for device in devices}
        self._held: dict[str, _Held] = {}
        self._locks = {device.name: threading.Lock() for device in devices}
        self._files = tempfile.TemporaryDirectory(prefix="latprof-farm-")

    def describe(self) -> dict[str, Any]:
        """What the worker says of its devices with every heartbeat."""
        return {name: state.to_dict() for name, state in self.states.items()}

    def visit(self, name: str, session: Mapping[str, Any], ask: Mapping[str, Any]) -> Any:
        """Make a visit, or time kernels; see :func:`visit`."""
        network = NetworkSource.from_dict(ask["network"], ask.get("model", b""))
        state = self.states[name]
        with self._locks[name]:
            if why := state.aside():
                return {"aside": why}
            placed = self._placed(network, ask)
            if placed is None:
                return {"wants": "content"}
            try:
                held = self._hold(state, session, ask)
                if held is None:
                    return {"busy": self._held[name].client}
                state.state = "measuring"
                measurer = held.measurer(ask["token"], ask["reference_runs"])
                if ask["do"] == "kernels":
                    found = measurer.profile(placed)
                    failure = found if isinstance(found, Failure) else None
                    return {"failure" if failure else "profile": found.to_dict()}
                visit = measurer.visit(placed)
                state.note(network.subject.key, visit.failure)
                return {"visit": visit.to_dict()}
            except LatprofError as error:
                state.note(network.subject.key, Failure.of(error))
                self._let_go(name)
                return {"failure": Failure.of(error).to_dict()}
            finally:
                state.state = "idle" if name not in self._held else "held"

    def _hold(
        self, state: DeviceState, session: Mapping[str, Any], ask: Mapping[str, Any]
    ) -> _Held | None:
        """The device in this collection's hands; None where it is in another's."""
        held = self._held.get(state.device.name)
        if held is not None and held.owner != session["owner"]:
            is_gone = ask.get("gone") == held.client
            if time.monotonic() - held.asked_at < HOLD_S and not is_gone:
                return None
            self._let_go(state.device.name)
            held = None
        if held is None:
            held = self._held[state.device.name] = _Held(state, session)
        held.asked_at, held.client = time.monotonic(), ask["client"]
        return held

    def _placed(self, network: NetworkSource, ask: Mapping[str, Any]) -> NetworkSource | None:
        """The network with its file in a folder of this worker; None where its content is asked."""
        if network.path is None:
            return network
        name = hashlib.sha256(ask["file"].encode()).hexdigest()[:32] + network.path.suffix
        path = Path(self._files.name) / name
        if not path.exists():
            if ask.get("content") is None:
                return None
            path.write_bytes(ask["content"])
        return NetworkSource.from_dict({**ask["network"], "path": str(path)})

    def release(self, name: str, owner: str) -> None:
        """Let go of a device, where it is in this collection's hands."""
        with self._locks[name]:
            held = self._held.get(name)
            if held is not None and held.owner == owner:
                self._let_go(name)
                self.states[name].state = "idle"

    def release_silent(self) -> None:
        """Let go of devices whose collection is silent: its client may have died."""
        for name, lock in self._locks.items():
            if not lock.acquire(blocking=False):
                continue
            with contextlib.ExitStack() as stack:
                stack.callback(lock.release)
                held = self._held.get(name)
                if held is not None and time.monotonic() - held.asked_at > HOLD_S:
                    self._let_go(name)
                    self.states[name].state = "idle"

    def _let_go(self, name: str) -> None:
        held = self._held.pop(name, None)
        if held is not None:
            # What cannot be put back now is put back by the next one that holds the device.
            with contextlib.suppress(LatprofError):
                held.close()

    def close(self) -> None:
        """Let go of all devices."""
        for name, lock in self._locks.items():
            with lock:
                self._let_go(name)
        self._files.cleanup()


_desk: DeviceDesk | None = None


@contextlib.contextmanager
def serving(devices: tuple[FarmDevice, ...]) -> Iterator[DeviceDesk]:
    """These are the devices of this process until the block ends."""
    global _desk  # noqa: PLW0603 - tasks find a worker's devices here, by the process they run in
    _desk = desk = DeviceDesk(devices)
    try:
        yield desk
    finally:
        _desk = None
        desk.close()


def _at_desk(name: str, do: Callable[[DeviceDesk], Any]) -> Any:
    if _desk is None or name not in _desk.states:
        return {"failure": Failure.of(DeviceError(f"{name} is not here any more")).to_dict()}
    return do(_desk)


def visit(name: str, session: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any]:
    """Make one visit to a network on a device, as a task.

    Parameters
    ----------
    name : str
        The device's.
    session : dict
        Of a collection: ``owner``, ``target``, ``options``, ``reference``, ``protocol``,
        ``timeout_s``.
    ask : dict
        ``do`` (``"visit"`` or ``"kernels"``), ``network``, ``token`` of the share of visits,
        ``reference_runs``, ``client`` that asks, for a model from a file ``file``, its SHA-256, and
        ``content``; ``gone`` names a client that held the device and is there no more.

    Returns
    -------
    dict
        ``visit``, ``profile`` or ``failure``; ``busy``, the client whose collection has the device,
        ``aside`` where it is set aside, ``wants`` where the file's content is missing. ``now`` is
        this host's Unix time, by which the client knows its clock.
    """
    answer = _at_desk(name, lambda desk: desk.visit(name, session, ask))
    return {**answer, "now": time.time()}


def release(name: str, owner: str) -> None:
    """Let go of a device, as a task."""
    if _desk is not None and name in _desk.states:
        _desk.release(name, owner)


def identify(name: str, target: str, options: dict[str, Any], shape: list[int] | None) -> Any:
    """Say what a target of a device is, as a task: its identity and its surroundings."""

    def found(desk: DeviceDesk) -> dict[str, Any]:
        device = desk.states[name].device
        spelling = device.ways.get(target, target)
        try:
            kind = profiler_class(spelling)
            profiler = kind(RunOptions.from_dict(options))
            if not kind.clusters:
                check_ready(spelling)
            identity = profiler.target(None if shape is None else tuple(shape))
            surroundings = profiler.surroundings() or {
                "facts": host_facts(),
                "checks": [vars(check) for check in run_checks()],
            }
        except LatprofError as error:
            return {"failure": Failure.of(error).to_dict()}
        return {
            "target": identity.to_dict(),
            "surroundings": surroundings,
            "caution": profiler.caution,
            "networks_per_process": profiler.networks_per_process,
        }

    return _at_desk(name, found)


def version() -> str:
    """The version of latprof in a scheduler's process."""
    return __version__
