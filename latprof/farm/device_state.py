"""What a worker knows of a device, and whose turn it is to use it."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latprof.farm.announcing import FarmDevice
    from latprof.measurement.visits import Failure

#: Failures in a row after which a device is set aside, and different networks among them.
MOST_FAILURES, FEWEST_NETWORKS = 6, 2
#: Failures that are the device's and not the network's.
OF_DEVICE = frozenset(
    {"device", "device-offline", "unauthorized", "device-full", "connection-lost"}
    | {"runtime-failed", "timeout"}
)
#: A device that was set aside is tried again after so long.
REST_S = 600.0
#: The time over which a device's rate is told.
RATE_S = 300.0


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
    _made_at: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        state = self.state if self.set_aside_at is None else "set aside"
        counts = {"made": self.made, "failed": self.failed, "visits_per_minute": self._rate()}
        return {"state": state, **counts, "last_error": self.last_error[:300]}

    def _rate(self) -> float:
        """Visits a minute over the last minutes, or since the first of them."""
        now = time.monotonic()
        lately = [at for at in self._made_at if now - at < RATE_S]
        if len(lately) < 2:
            return 0.0
        since_s = RATE_S if len(lately) < len(self._made_at) else now - lately[0]
        return round(60.0 * len(lately) / max(since_s, 1.0), 1)

    def note(self, network: str, failure: Failure | None) -> None:
        """Keep what became of a visit; set the device aside where it keeps failing."""
        if failure is None:
            self.made += 1
            self._made_at.append(time.monotonic())
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


class Turns:
    """One at a time uses a device, in the order in which they came; whoever is ``first`` before."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[bool, int]] = []
        self._numbers = itertools.count()
        self._is_taken = False

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    @contextlib.contextmanager
    def mine(self, *, first: bool = False) -> Iterator[None]:
        """Wait for the turn, and have it until the block ends."""
        with self._changed:
            own = (not first, next(self._numbers))
            heapq.heappush(self._waiting, own)
            self._changed.wait_for(lambda: not self._is_taken and self._waiting[0] == own)
            heapq.heappop(self._waiting)
            self._is_taken = True
        try:
            yield
        finally:
            self._give_back()

    @contextlib.contextmanager
    def mine_if_free(self) -> Iterator[bool]:
        """Have the turn until the block ends, where nobody has it or waits for it."""
        with self._changed:
            is_mine = not self._is_taken and not self._waiting
            self._is_taken |= is_mine
        try:
            yield is_mine
        finally:
            if is_mine:
                self._give_back()

    def _give_back(self) -> None:
        with self._changed:
            self._is_taken = False
            self._changed.notify_all()
