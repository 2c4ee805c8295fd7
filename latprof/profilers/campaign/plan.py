"""What a campaign shall do: which networks are visited, in which pass and in which order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from latprof.common.limits import POSITIVE, SEED, SHARE, check_limits
from latprof.common.short_reprs import ShortRepr
from latprof.errors import InvalidValueError
from latprof.measurement.quiet.busy import MOST_TIMES
from latprof.measurement.records import PairedProtocol
from latprof.profilers.visits.schedule import PlannedVisit

if TYPE_CHECKING:
    from latprof.profilers.visits.network_source import NetworkSource

#: A share is measured again, but at least this many where there are as many: fewer pairs than this
#: say little about noise.
FEWEST_REPEATS = 20
MOST_SHARDS = 10_000
#: Whether a network, in one of its two measurements, should be visited again.
Wanting: TypeAlias = Callable[["NetworkSource", int], bool]


_LIMITS = {
    "repeat_fraction": SHARE,
    "time_limit_s": replace(POSITIVE, optional=True),
    "seed": SEED,
}


@dataclass(frozen=True, repr=False)
class Plan(ShortRepr):
    """What a campaign shall do.

    Parameters
    ----------
    networks : sequence of NetworkSource
        All distinct.
    protocol : PairedProtocol
    repeat_fraction : float
        Share of the networks that is measured a second time, for the noise floor; from 0 to 1.
    seed : int
        Of the order of visits and of the choice of repeated networks.
    ops : bool
        Also time every network's kernels, once.
    time_limit_s : float, optional
        No visit starts later than this after the campaign did.
    source : mapping
        What the networks are, as plain JSON values for the store: space, seed, number...
    shard : pair of int
        ``(i, n)``: every n-th visit, from the i-th, counted from 1. The n shards together are all
        visits, each once, and the visits to each network are spread over them.
    """

    networks: Sequence[NetworkSource]
    protocol: PairedProtocol = field(default_factory=PairedProtocol)
    repeat_fraction: float = 0.05
    seed: int = 0
    ops: bool = False
    time_limit_s: float | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    shard: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        check_limits(self, _LIMITS)
        number, shards = self.shard
        if not 1 <= number <= shards <= MOST_SHARDS:
            raise InvalidValueError(
                "no such shard",
                field="shard",
                expected=f"i/n with 1 <= i <= n <= {MOST_SHARDS}",
                got=f"{number}/{shards}",
            )

    @property
    def total(self) -> int:
        """Visits without those that the protocol adds."""
        if self.shard[1] > 1:
            return sum(map(len, self.passes()))
        return (len(self.networks) + self.repeated) * self.protocol.visits

    def sharded(self, networks: Sequence[NetworkSource]) -> Sequence[NetworkSource]:
        """The shard of what is done once a network."""
        return networks[self.shard[0] - 1 :: self.shard[1]]

    @property
    def repeated(self) -> int:
        """How many networks are measured again."""
        if self.repeat_fraction == 0:
            return 0
        wanted = max(math.ceil(self.repeat_fraction * len(self.networks)), FEWEST_REPEATS)
        return min(wanted, len(self.networks))

    def passes(
        self, wanting: Wanting = lambda _network, _label: False
    ) -> Iterator[list[PlannedVisit]]:
        """The passes over the networks; each list is for processes of its own.

        Every network has the protocol's visits; after these, ``wanting(network, label)`` tells at
        the start of a pass which are visited once more, up to the protocol's most and those that a
        busy host needs (:mod:`latprof.measurement.quiet.busy`). A repeated
        network's second measurement lags a full pass behind the first, and no process makes visits
        of both: what it does to all its networks would be in both, and the floor would not show it.
        """
        generator = np.random.default_rng(self.seed)
        again = generator.permutation(len(self.networks))[: self.repeated].tolist()
        fewest = self.protocol.visits
        most = max(self.protocol.most_visits, MOST_TIMES * fewest)
        shard, shards = self.shard

        def visits(
            networks: Iterable[NetworkSource], label: int, number: int
        ) -> list[PlannedVisit]:
            if not 0 <= number < most:
                return []
            return [
                PlannedVisit(network, label, number)
                for index, network in enumerate(networks)
                if (index + number + 1 - shard) % shards == 0
                if number < fewest or wanting(network, label)
            ]

        for number in range(most + bool(again)):
            first = visits(self.networks, 0, number)
            second = visits((self.networks[index] for index in again), 1, number - 1)
            if not first and not second and shards == 1:
                return
            for found in filter(None, (first, second)):
                yield [found[index] for index in generator.permutation(len(found))]
