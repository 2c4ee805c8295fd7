"""Visits on a farm's device, as the campaign makes those on a device of this computer."""

from __future__ import annotations

import dataclasses
import hashlib
import time
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from latprof.errors import DeviceOfflineError, LatprofError
from latprof.farm import device_tasks
from latprof.measurement.records import KernelProfile
from latprof.measurement.visits import Failure, Visit

if TYPE_CHECKING:
    from latprof.farm.announcing import FarmDevice
    from latprof.farm.farm_client import FarmClient, Task
    from latprof.profilers.visits.network_source import NetworkSource

#: Between two attempts to get a device that another collection has, in seconds.
_AGAIN_S = 1.0
#: Clocks that differ by more than this are known to: the visits get the client's time, in seconds.
_CLOCK_S = 5.0


class RemoteMeasurer:
    """Visits networks on a device of a farm; satisfies ``Measurer``.

    The next visit is on its way while the present one is made, so that the device does not wait.

    Parameters
    ----------
    farm : FarmClient
    device : FarmDevice
    session : mapping
        See :func:`latprof.farm.device_tasks.visit`.
    reference_runs : mapping of str to int
    specimen : bool
        Whether each visit says which device made it: of several that share a target.
    """

    def __init__(
        self,
        farm: FarmClient,
        device: FarmDevice,
        session: Mapping[str, Any],
        reference_runs: Mapping[str, int],
        *,
        specimen: bool = False,
    ) -> None:
        self._own = {"specimen": device.name} if specimen else {}
        self._farm, self._device, self._session = farm, device, dict(session)
        self._share = {"token": uuid.uuid4().hex, "reference_runs": dict(reference_runs)}
        self._following: Sequence[NetworkSource] = ()
        self._ahead: dict[tuple[Any, ...], Task] = {}
        #: The least difference of clocks seen, here less there.
        self._clock_s: float | None = None

    def expect(self, networks: Sequence[NetworkSource]) -> None:
        """Remember which visit is on its way during the next one."""
        self._following = networks

    def visit(self, network: NetworkSource) -> Visit:
        """Make a visit; a device that is gone or set aside is a failure of the device's."""
        started_at, start = time.time(), time.perf_counter()
        try:
            return self._in_our_time(Visit.from_dict(self._answer("visit", network)["visit"]))
        except LatprofError as error:
            return Visit.failed(error, started_at, time.perf_counter() - start)

    def profile(self, network: NetworkSource) -> KernelProfile | Failure:
        """Time a network's kernels."""
        try:
            found = KernelProfile.from_dict(self._answer("kernels", network)["profile"])
        except LatprofError as error:
            return Failure.of(error)
        return dataclasses.replace(found, started_at=found.started_at + self._off())

    def _answer(self, do: str, network: NetworkSource) -> Any:
        task = self._ahead.pop(_key(do, network), None) or self._submit(do, network)
        following, self._following = self._following, ()
        for other in following[:1]:
            key = _key("visit", other)
            if key not in self._ahead:
                self._ahead[key] = self._submit("visit", other)
        give_up_at = time.monotonic() + self._farm.queue_timeout_s
        while True:
            answer = self._farm.result(task)
            if "wants" in answer:
                task = self._submit(do, network, content=_content(network))
            elif "busy" in answer:
                task = self._submit(do, network, gone=self._await_turn(answer["busy"], give_up_at))
            else:
                break
        self._note_clock(answer)
        if "aside" in answer:
            raise DeviceOfflineError(answer["aside"])
        if "failure" in answer:
            raise Failure.from_dict(answer["failure"]).error()
        return answer

    def _await_turn(self, holder: str, give_up_at: float) -> str:
        """Wait while another collection's client has the device; its name where it is gone."""
        if not self._farm.is_connected(holder):
            return holder
        if time.monotonic() >= give_up_at:
            raise DeviceOfflineError(f"another collection has {self._device.name}")
        time.sleep(_AGAIN_S)
        return ""

    def _submit(
        self, do: str, network: NetworkSource, content: bytes | None = None, gone: str = ""
    ) -> Task:
        told, model = network.handed_over(self._session["options"]["batch_size"])
        ask: dict[str, Any] = {"do": do, "network": told, "model": model, **self._share}
        ask |= {"client": self._farm.client_id}
        if network.path is not None:
            ask |= {"file": _digest(network.path), "content": content}
        if gone:
            ask["gone"] = gone
        return self._farm.submit(self._device, device_tasks.visit, self._session, ask)

    def _note_clock(self, answer: Mapping[str, Any]) -> None:
        off = time.time() - answer["now"]
        if self._clock_s is None or abs(off) < abs(self._clock_s):
            self._clock_s = off

    def _off(self) -> float:
        """What is added to the device's host's times: its clock may be an hour off."""
        off = self._clock_s or 0.0
        return off if abs(off) > _CLOCK_S else 0.0

    def _in_our_time(self, visit: Visit) -> Visit:
        return dataclasses.replace(
            visit,
            started_at=visit.started_at + self._off(),
            conditions={**visit.conditions, **self._own},
        )

    def close(self) -> None:
        """Wait for no more visits; the device stays in this collection's hands."""
        for task in self._ahead.values():
            self._farm.cancel(task)
        self._ahead.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _key(do: str, network: NetworkSource) -> tuple[Any, ...]:
    return do, network.subject, network.reference


@cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _content(network: NetworkSource) -> bytes:
    assert network.path is not None
    return network.path.read_bytes()
