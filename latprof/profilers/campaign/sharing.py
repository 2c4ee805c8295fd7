"""The visits of a campaign among the processes that make them into one store."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from latprof.measurement.visits import VisitKey

if TYPE_CHECKING:
    from latprof.measurement.records import Subject
    from latprof.measurement.store.claims import Claims
    from latprof.measurement.visits import Measurement
    from latprof.profilers.campaign.stored_campaign import StoredCampaign
    from latprof.profilers.visits.schedule import PlannedVisit

#: Visits that are claimed together, at most.
_MOST = 16
#: That many claims, each smaller than the one before, a process has left of the visits that it
#: shares: few hosts then wait for another one's at the end.
_CLAIMS_LEFT = 4
#: Visits whose claims are looked at together.
_AT_ONCE = 64
#: Between two looks at what others do, in seconds.
LOOK_EVERY_S = 1.0
#: Of the claim on a network's kernels, which is like one on a visit.
_KERNELS = -1


class SharedWork:
    """Which visits are made here, where other processes make some of the same campaign.

    Parameters
    ----------
    claims : Claims
        Entered.
    stored : StoredCampaign
    on_found : callable
        Takes each visit that others have stored.
    on_wait : callable
        Takes what others are waited for.
    ahead : int
        Visits after the present one that a measurer is told of ahead: they are claimed before.
    left : callable
        From the length of a queue to how many visits are left to all processes together.
    """

    def __init__(
        self,
        claims: Claims,
        stored: StoredCampaign,
        on_found: Callable[[Measurement], None],
        on_wait: Callable[[str], None],
        ahead: int,
        left: Callable[[int], int],
    ) -> None:
        self._ahead, self._left, self._enough = ahead, left, 2
        self._claims, self._stored = claims, stored
        self._on_found, self._on_wait = on_found, on_wait
        self._ours: set[VisitKey] = set()
        self._theirs: list[PlannedVisit] = []
        self._shared = False
        #: Visits of the plan that others have made, or have given up, since this run began.
        self.elsewhere = 0

    def await_references(self, time_is_up: Callable[[], bool]) -> None:
        """Let whoever was here first settle how often the references run in a burst."""
        while self._claims.others and not self._stored.references.runs and not time_is_up():
            self._on_wait("waiting for the first visit of another process")
            time.sleep(LOOK_EVERY_S)
            self._claims.take((), 0)
            self._refresh()

    def claim(self, queue: deque[PlannedVisit]) -> bool:
        """Claim the first visits of a queue; those that others make are taken out of it.

        Two of them or more, so that a device at a distance can be told of the next ones ahead.
        """
        while queue:
            if self._ours_of(queue, self._enough) >= min(self._enough, len(queue)):
                return True
            most = self._size(len(queue))
            looked = self._first_unfinished(queue)
            taken = self._claims.take([visit.key for visit in looked], most)
            if self._is_shared():
                self._refresh()
            finished = self._stored.finished
            self._ours |= taken.ours - finished
            self._give_up(taken.ours & finished)
            left = []
            for visit in looked:
                if visit.key in finished or visit.key in taken.settled:
                    self.elsewhere += 1
                elif visit.key in taken.held:
                    self._theirs.append(visit)
                else:
                    left.append(visit)
            queue.extendleft(reversed(left))
            # Half of them are made before others are claimed.
            self._enough = max(2, min(self._ahead + 1, self._ours_of(queue, _AT_ONCE) // 2))
        return False

    def _first_unfinished(self, queue: deque[PlannedVisit]) -> list[PlannedVisit]:
        """Take the first visits out of a queue, and out of these what is known to be made."""
        found = [queue.popleft() for _ in range(min(_AT_ONCE, len(queue)))]
        left = [visit for visit in found if visit.key not in self._stored.finished]
        self.elsewhere += len(found) - len(left)
        return left

    def _ours_of(self, queue: deque[PlannedVisit], most: int) -> int:
        """How many visits at the front of a queue are claimed here, at most so many."""
        front = itertools.islice(queue, most)
        return sum(1 for _ in itertools.takewhile(self.is_ours, front))

    def _size(self, length: int) -> int:
        """How many visits are claimed now: whole passes at first, two at the end.

        A share of a pass that is made elsewhere has a measuring process, and its bias, of its own.
        """
        others = self._claims.others
        most = _MOST if others else max(_MOST, self._ahead + 1)
        return max(2, min(self._left(length) // (_CLAIMS_LEFT * (1 + others)), most))

    def others_visits(self, time_is_up: Callable[[], bool]) -> Sequence[PlannedVisit]:
        """Visits that others had claimed and may be free now; waits until some are, or none is."""
        while self._theirs and not time_is_up():
            waiting, self._theirs = deque(self._theirs), []
            if self.claim(waiting):
                return waiting
            if self._theirs:
                count = len(self._theirs)
                plural = "" if count == 1 else "s"
                self._on_wait(f"waiting for {count} visit{plural} of another process")
                time.sleep(LOOK_EVERY_S)
        return ()

    def is_ours(self, visit: PlannedVisit) -> bool:
        """Whether a visit is claimed here already."""
        return visit.key in self._ours

    def settled(self, key: VisitKey, *, counts: bool) -> None:
        """A visit needs no more tries, and nothing of it is stored now."""
        with self._stored.writing() as connection:
            self._claims.settle(connection, key, counts=counts)
        self._ours.discard(key)

    def settle(self, key: VisitKey, *, counts: bool) -> Callable[..., None]:
        """What settles a visit in the transaction that stores it."""
        self._ours.discard(key)
        return lambda connection: self._claims.settle(connection, key, counts=counts)

    def may_time_kernels(self, network: Subject) -> bool:
        """Whether the kernels of a network are timed here."""
        if not self._is_shared():
            return True
        key = VisitKey(network, _KERNELS, 0)
        if key not in self._claims.take([key], 1).ours:
            return False
        self.settled(key, counts=False)
        return True

    def _is_shared(self) -> bool:
        self._shared |= self._claims.others > 0
        return self._shared

    def _give_up(self, keys: frozenset[VisitKey]) -> None:
        if keys:
            with self._stored.writing() as connection:
                for key in keys:
                    self._claims.settle(connection, key, counts=True)
        self._ours -= keys

    def _refresh(self) -> None:
        for made in self._stored.refresh():
            self._on_found(made)
