"""A collection's side of a farm: which devices are there, and tasks that outlive a scheduler."""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from latprof._version import __version__
from latprof.common.short_reprs import MOST_DEVICES, first_names
from latprof.errors import DeviceOfflineError, LatprofError, RuntimeFailedError, UsageError
from latprof.farm import device_tasks
from latprof.farm.addresses import use_settings
from latprof.farm.farm_connection import (
    CONNECT_S,
    AnnouncedDevice,
    address_and_keys,
    announced,
    connected,
)
from latprof.farm.farm_status import clients, no_farm, task_key

if TYPE_CHECKING:
    from distributed import Client, Future

    from latprof.farm.announcing import FarmDevice

#: How often whoever waits for a visit looks whether its device is still there, in seconds.
_LOOK_EVERY_S = 2.0
#: All threads together look about so often.
_LOOKS_A_SECOND = 100
#: What the scheduler knew so long ago is asked anew, in seconds.
_FRESH_S = 1.0
#: A connection that can be made is made in so many seconds.
_FEWEST_S = 4.0
#: What a call raises while its connection is being lost; afterwards it may raise anything.
_LOST = (CancelledError, OSError)


class Task:
    """A call of a function on a device, to be waited for with :meth:`FarmClient.result`."""

    def __init__(
        self,
        device: FarmDevice,
        function: Callable[..., Any],
        arguments: Any,
        priority: int,
        visits: int,
    ) -> None:
        self.device, self.function, self.arguments = device, function, arguments
        self.priority, self.visits = priority, visits
        self.future: Future | None = None
        self.connection = 0


class FarmClient:
    """A connection to a farm, for any number of threads; a context manager.

    Where the scheduler goes away it is connected to anew, and what was asked is asked again.

    Parameters
    ----------
    farm : str
        The scheduler's address.
    keys : path, optional
        Folder of the keys; the default one where there is one.
    queue_timeout_s : float
        How long a scheduler or a device that is not there is waited for.
    """

    def __init__(self, farm: str, keys: str | Path | None, queue_timeout_s: float) -> None:
        self.address, self._keys = address_and_keys(farm, keys)
        self.queue_timeout_s = queue_timeout_s
        self._lock = threading.RLock()
        self._number = 0
        self._known: tuple[float, list[AnnouncedDevice]] = (0.0, [])
        self._names: frozenset[str] = frozenset()
        #: Set to end every wait of every thread.
        self.stopped = threading.Event()
        #: The error that ended them, where one did.
        self.stopped_by: LatprofError | None = None

    def __enter__(self) -> Self:
        use_settings()
        self._client = self._connect()
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)

    def _connect(self) -> Client:
        deadline = time.monotonic() + self.queue_timeout_s
        timeout_s = min(CONNECT_S, max(self.queue_timeout_s, _FEWEST_S))
        while True:
            try:
                return connected(self.address, self._keys, timeout_s=timeout_s)
            except OSError as error:
                if time.monotonic() >= deadline or self.stopped.is_set():
                    raise no_farm(self.address, error) from None
                time.sleep(_FRESH_S)

    def stop(self, error: LatprofError) -> None:
        """End every wait of every thread, because of an error that is not one device's alone."""
        if not self.stopped.is_set():
            self.stopped_by = error
            self.stopped.set()

    def check_stopped(self) -> None:
        """Raise DeviceOfflineError where the collection was stopped."""
        if self.stopped.is_set():
            raise DeviceOfflineError("the collection was stopped")

    @property
    def client_id(self) -> str:
        """What the scheduler calls this connection."""
        return str(self._client.id)

    def is_connected(self, client_id: str) -> bool:
        """Whether the scheduler still has the connection of a client."""
        known = self._ask(lambda client: client.run_on_scheduler(clients))
        return client_id in known

    # Devices -----------------------------------------------------------------------------------

    def devices(self) -> list[AnnouncedDevice]:
        """What is there now, of this version of latprof or another."""
        with self._lock:
            at, found = self._known
            if time.monotonic() - at >= _FRESH_S:
                identity = self._ask(
                    # scheduler_info() would tell what it knew last where it gets no answer.
                    lambda client: client.sync(client.scheduler.identity, n_workers=-1)
                )
                found = announced(identity)
                self._known = time.monotonic(), found
                self._names = frozenset(each.device.name for each in found)
            return found

    def _is_there(self, device: FarmDevice) -> bool:
        with self._lock:
            self.devices()
            return device.name in self._names

    def await_devices(
        self, wanted: str, on_wait: Callable[[str], None], *, most_s: float = math.inf
    ) -> list[AnnouncedDevice]:
        """The devices with a target, once there are some; ``on_wait`` is told again and again.

        Raises DeviceOfflineError after the queue's time-out, or ``most_s`` seconds, with what is
        there; UsageError where a worker has another version of latprof, or two have one device.
        """
        deadline = time.monotonic() + min(self.queue_timeout_s, most_s)
        while not (found := [each for each in self.devices() if each.device.spelling(wanted)]):
            if time.monotonic() >= deadline or self.stopped.is_set():
                raise self._missing(f"no device of {self.address} has the target {wanted}")
            on_wait(f"waiting for a device with the target {wanted}")
            time.sleep(_FRESH_S)
        for each in found:
            if each.version != __version__:
                raise UsageError(
                    f"{each.host} runs another version of latprof",
                    expected=__version__,
                    got=each.version,
                    hint="install the same version on all hosts of the farm",
                )
        for one, other in itertools.pairwise(found):  # in the order of names
            if one.device.name == other.device.name:
                raise UsageError(
                    f"{one.device.name} is in the farm twice",
                    got=f"{one.address} of {one.host} and {other.address} of {other.host}",
                    hint="end one of the two workers; hosts of one name need --host-label",
                )
        return found

    def _missing(self, problem: str) -> DeviceOfflineError:
        targets = sorted(
            {
                f"{target}@{each.device.host}" if each.device.host else target
                for each in self.devices()
                for target in each.device.targets
            }
        )
        there = first_names(targets, MOST_DEVICES) or "no device at all"
        return DeviceOfflineError(problem, hint=f"there are: {there}")

    # Tasks -------------------------------------------------------------------------------------

    def submit(
        self,
        device: FarmDevice,
        function: Callable[..., Any],
        *arguments: Any,
        priority: int = 0,
        visits: int = 0,
    ) -> Task:
        """Have a function called on a device's worker.

        Calls of a higher priority come first, else in the order of submission. ``visits`` says how
        many are made by it, for who asks what is in the farm.
        """
        task = Task(device, function, arguments, priority, visits)
        self._send(task)
        return task

    def _send(self, task: Task) -> None:
        def send(client: Client) -> None:
            task.future = client.submit(
                task.function,
                task.device.name,
                *task.arguments,
                resources={task.device.resource: 1},
                priority=task.priority,
                key=task_key(task.function.__name__, task.visits),
                pure=False,
            )
            task.connection = self._number

        self._ask(send)

    def _ask(self, do: Callable[[Client], Any]) -> Any:
        """Do something with the client; again with a new connection as often as it is lost.

        Raises DeviceOfflineError where that lasts for longer than the queue's time-out.
        """
        give_up_at = math.inf
        with self._lock:
            while True:
                try:
                    if self._is_over(self._number):
                        raise ConnectionError("the connection is lost")
                    return do(self._client)
                except Exception as error:
                    if not (isinstance(error, _LOST) or self._is_over(self._number)):
                        raise
                    if time.monotonic() >= give_up_at:
                        raise no_farm(self.address, error) from None
                    give_up_at = min(give_up_at, time.monotonic() + self.queue_timeout_s)
                self._renew(self._number)

    def _is_over(self, number: int) -> bool:
        """Whether the connection of this number is lost, or another has taken its place."""
        return number != self._number or self._client.status != "running"

    def _renew(self, number: int) -> None:
        """Connect anew, unless another thread has since the connection ``number``."""
        with self._lock:
            if self._number != number:
                return
            with contextlib.suppress(Exception):
                self._client.close(timeout=1)
            self._client = self._connect()
            self._number += 1
            self._known = (0.0, [])

    def result(self, task: Task) -> Any:
        """Wait for what a task returns.

        Raises DeviceOfflineError where its device is away for longer than the queue's time-out,
        RuntimeFailedError where it ended its worker again and again, or raised something.
        """
        gone_since = math.inf
        # Many devices' threads look less often: each look costs.
        look_every_s = max(_LOOK_EVERY_S, len(self._names) / _LOOKS_A_SECOND)
        while True:
            assert task.future is not None
            if self.stopped.is_set():
                self.cancel(task)
            self.check_stopped()
            try:
                # result(timeout) would end all threads' transfers with its own: they share one.
                task.future.exception(timeout=look_every_s)
                return task.future.result()
            except Exception as error:
                if task.future.status == "error":  # its own, or dask's KilledWorker
                    why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                    raise RuntimeFailedError(f"a visit failed with its worker: {why}") from None
                is_over = self._is_over(task.connection)
                if isinstance(error, TimeoutError) and not is_over:
                    gone_since = self._gone_since(task, gone_since)
                elif isinstance(error, _LOST) or is_over:
                    self._renew(task.connection)
                    self._send(task)
                else:
                    raise

    def _gone_since(self, task: Task, before: float) -> float:
        """Since when a task's device is away; raises where that is too long ago."""
        if self._is_there(task.device):
            return math.inf
        now = time.monotonic()
        if now - before >= self.queue_timeout_s:
            self.cancel(task)
            raise self._missing(f"{task.device.name} has been away for {now - before:.0f} s")
        return min(before, now)

    def cancel(self, task: Task) -> None:
        """Do not wait for a task any more; one that runs ends by itself."""
        if task.future is not None:
            with contextlib.suppress(Exception):  # its connection may be lost
                task.future.cancel()

    def call(self, device: FarmDevice, function: Callable[..., Any], *arguments: Any) -> Any:
        """Submit and wait."""
        return self.result(self.submit(device, function, *arguments))

    def release(self, device: FarmDevice, owner: str) -> None:
        """Tell a device's worker that a collection is over; it finds out by itself, too."""
        with contextlib.suppress(Exception):
            if not self._is_there(device):
                return
            task = self.submit(device, device_tasks.release, owner)
            assert task.future is not None
            task.future.exception(timeout=_LOOK_EVERY_S * 5)
