"""Visits on a farm's device, as the campaign makes those on a device of this computer."""

from __future__ import annotations

import dataclasses
import math
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from latprof.errors import (
    DeviceOfflineError,
    LatprofError,
    RuntimeFailedError,
    UnsupportedModelError,
)
from latprof.farm import device_tasks
from latprof.farm.device_state import REST_S
from latprof.measurement.records import KernelProfile
from latprof.measurement.visits import Failure, Visit
from latprof.profilers.visits.sending import content_of, named

if TYPE_CHECKING:
    from latprof.farm.announcing import FarmDevice
    from latprof.farm.farm_client import FarmClient, Task
    from latprof.measurement.records import Subject
    from latprof.profilers.visits.network_source import NetworkSource

#: Between two attempts to get a device that another collection has, in seconds.
AGAIN_S = 1.0
#: Clocks that differ by more than this are known to: the visits get the client's time, in seconds.
_CLOCK_S = 5.0
#: Visits that are asked together take so long, in seconds, and are so many at most.
_TOGETHER_S, _MOST_TOGETHER = 1.0, 16
#: Visits for so many seconds are on their way to a device, which else would wait for the answers
#: to be stored; they are asked so many times at most.
_AHEAD_S, _MOST_TASKS = 3.0, 4
#: Visits that are to be told ahead.
LOOKAHEAD = 2 * _MOST_TOGETHER - 1

_Key: TypeAlias = "tuple[str, Subject, str | None]"


@dataclass(frozen=True)
class _Asked:
    """Visits that were asked together; ``alone``: one while nothing else was on its way."""

    task: Task
    do: str
    networks: Sequence[NetworkSource]
    alone: bool


class RemoteMeasurer:
    """Visits networks on a device of a farm; satisfies ``Measurer``.

    The next visits are on their way while one is made, short ones several at a time: the device
    does not wait until what it made before has come back and is stored.

    Parameters
    ----------
    farm : FarmClient
    device : FarmDevice
    session : mapping
        See :func:`latprof.farm.device_tasks.visits`.
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
        self._asked: dict[_Key, _Asked] = {}
        self._answers: dict[_Key, Any] = {}
        self._tasks_waiting = 0
        #: What a visit took on the device, of late.
        self._took_s: deque[float] = deque(maxlen=4)
        #: Our clock less that of the device's host, the least of late.
        self._clock_s: float | None = None

    def expect(self, networks: Sequence[NetworkSource]) -> None:
        """Remember which visits are on their way during the next one."""
        self._following = networks

    def visit(self, network: NetworkSource) -> Visit:
        """Make a visit; a device that is gone or set aside is a failure of the device's."""
        started_at, start = time.time(), time.perf_counter()
        try:
            answer = self._answer("visit", network)
            made = Visit.from_dict(answer["visit"])
        except LatprofError as error:
            return Visit.failed(error, started_at, time.perf_counter() - start)
        self._note_clock(answer["ended_at"] - made.wall_s - made.started_at)
        return dataclasses.replace(
            made,
            started_at=made.started_at + self._off(),
            conditions={**made.conditions, **self._own},
        )

    def profile(self, network: NetworkSource) -> KernelProfile | Failure:
        """Time a network's kernels."""
        try:
            answer = self._answer("kernels", network)
            found = KernelProfile.from_dict(answer["profile"])
        except LatprofError as error:
            return Failure.of(error)
        return dataclasses.replace(found, started_at=found.started_at + self._off())

    def _answer(self, do: str, network: NetworkSource) -> Any:
        key = _key(do, network)
        if key not in self._asked:
            self._ask(do, [network])
        self._ask_ahead()
        give_up_at = time.monotonic() + self._farm.queue_timeout_s
        while True:
            answer = self._received(key)
            if "wants" in answer:
                self._ask(do, [network], with_files=True)
            elif "busy" in answer:
                self._forget()  # what was asked ahead has the same answer
                self._ask(do, [network], gone=self._await_turn(answer["busy"], give_up_at))
            else:
                break
        if "aside" in answer:
            raise DeviceOfflineError(
                answer["aside"],
                hint="repair it and restart its worker, or run the same command again later: it is "
                f"tried again after {REST_S / 60:.0f} minutes",
            )
        if "failure" in answer:
            raise Failure.from_dict(answer["failure"]).error()
        return answer

    def _await_turn(self, holder: str, give_up_at: float) -> str:
        """Wait while another collection's client has the device; its name where it is gone."""
        if not self._farm.is_connected(holder):
            return holder
        if time.monotonic() >= give_up_at:
            raise DeviceOfflineError(
                f"another collection has {self._device.name}",
                hint="run the same command again when that has ended, or allow more with "
                "`queue_timeout`",
            )
        time.sleep(AGAIN_S)
        return ""

    # Asking ------------------------------------------------------------------------------------

    def _ask_ahead(self) -> None:
        """Ask for what follows, as long as the device has too little to do."""
        following, self._following = self._following, ()
        visit_s = max(self._took_s, default=math.inf)
        together = max(1, min(int(_TOGETHER_S / visit_s), _MOST_TOGETHER))
        wanted = max(2 * together, min(math.ceil(_AHEAD_S / visit_s) + 1, LOOKAHEAD + 1))
        if len(self._asked) - len(self._answers) > wanted - together:
            return
        new = {_key("visit", network): network for network in following}
        left = [network for key, network in new.items() if key not in self._asked]
        while left and (waiting := len(self._asked) - len(self._answers)) < wanted:
            if self._tasks_waiting >= _MOST_TASKS or len(left) < together <= waiting:
                return  # and ask more at a time
            try:
                self._ask("visit", left[:together], following=left[together:])
            except UnsupportedModelError:  # a later visit's, which says so when its turn comes
                return
            left = left[together:]

    def _ask(
        self,
        do: str,
        networks: Sequence[NetworkSource],
        *,
        following: Sequence[NetworkSource] = (),
        with_files: bool = False,
        gone: str = "",
        alone: bool = False,
    ) -> None:
        asks = [self._told(do, network, with_files=with_files) for network in networks]
        if gone:
            asks[0]["gone"] = gone
        then = self._told(do, following[0]) if following else None
        # Kernels are timed before the visits that are on their way: somebody waits for them.
        priority = int(do == "kernels")
        work = device_tasks.visits, self._session, asks, then
        task = self._farm.submit(self._device, *work, priority=priority, visits=len(asks))
        self._tasks_waiting += 1
        asked = _Asked(task, do, networks, alone)
        for network in networks:
            self._asked[_key(do, network)] = asked

    def _told(self, do: str, network: NetworkSource, *, with_files: bool = False) -> dict[str, Any]:
        """What the device's worker is told of a visit."""
        told, model, files = named(network, self._session["options"]["batch_size"])
        ask = {"do": do, "network": told, "model": model, **self._share}
        ask["client"] = self._farm.client_id
        if with_files:
            ask["files"] = {name: content_of(*file) for name, file in files.items()}
        return ask

    # Answers -----------------------------------------------------------------------------------

    def _received(self, key: _Key) -> Any:
        """The answer to what was asked, when it is here."""
        while key not in self._answers:
            self._receive(self._asked[key], key)
        del self._asked[key]
        return self._answers.pop(key)

    def _receive(self, asked: _Asked, wanted: _Key) -> None:
        """Wait for the answers to what was asked together with ``wanted``."""
        keys = [_key(asked.do, network) for network in asked.networks]
        try:
            found = self._farm.result(asked.task)
        except RuntimeFailedError:
            # A visit ended its worker, as often as is tried: this one, or another on its way?
            self._forget()
            if asked.alone:
                raise
            self._ask(asked.do, [asked.networks[keys.index(wanted)]], alone=True)
            return
        except LatprofError:
            self._forget()
            raise
        self._tasks_waiting -= 1
        if found["took_s"]:
            self._took_s.append(found["took_s"] / len(keys))
        now = time.time()
        for key, answer in zip(keys, found["answers"], strict=True):
            self._answers[key] = {**answer, "ended_at": now - answer.get("ago_s", 0.0)}

    def _note_clock(self, off_s: float) -> None:
        """Keep what the clock of the device's host is off by, also where it jumps.

        Answers are under way for a while, so the least difference counts until there is another.
        """
        known = self._clock_s
        if known is None or abs(off_s) < abs(known) or abs(off_s - known) > _CLOCK_S:
            self._clock_s = off_s

    def _off(self) -> float:
        """What is added to the times of the device's host."""
        known = self._clock_s or 0.0
        return known if abs(known) > _CLOCK_S else 0.0

    def close(self) -> None:
        """Wait for no more visits; the device stays in this collection's hands."""
        self._forget()

    def _forget(self) -> None:
        """Wait for nothing that was asked."""
        for task in {asked.task for asked in self._asked.values()}:
            self._farm.cancel(task)
        self._asked.clear()
        self._answers.clear()
        self._tasks_waiting = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _key(do: str, network: NetworkSource) -> _Key:
    return do, network.subject, network.reference
