"""The family of reference networks: for each network one that takes about as long.

A reference that is much longer than a network is preempted more often on a busy host, and one that
is much shorter less often. So the target's own reference has siblings: ProxylessNAS-mobile as it,
but narrower or wider and for other resolutions, so that each takes at most sixteen times as long as
the next smaller one. What each takes as a multiple of the target's own is measured like a network's
ratio (its *tie*, :class:`latprof.measurement.quiet.target_constant.Tie`), so a target has one
constant whatever reference a network was measured against.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.proxyless import MOBILE_CHOICES, MOBILE_WIDTHS, ProxylessSpace
from latprof.measurement.protocol import LoadedModel, Rotation, calibrate, runs_per_burst
from latprof.measurement.records import PairedProtocol, Subject
from latprof.profilers.visits.network_source import NetworkSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latprof.profilers.base import Profiler

#: The siblings, each with the width of its channels as a multiple and its resolution; the target's
#: own reference stands between the second and the third.
SIBLINGS = ((0.25, 64), (0.5, 128), (2.0, 384), (4.0, 448))
_OWN_PLACE = 2
#: What a sibling takes over its smaller neighbour, before anybody has run it.
_TYPICAL_STEP = 8.0
#: The target's own reference is taken for networks within this factor of it: it needs no tie.
NEAR_OWN = 2.0


def sibling_name(width: float, resolution: int) -> str:
    """A sibling's name."""
    return f"proxyless-mobile-{width:g}x-{resolution}"


def siblings() -> dict[str, NetworkSource]:
    """The siblings by name, the smallest first."""
    return {sibling_name(*each): _sibling(*each) for each in SIBLINGS}


def _sibling(width: float, resolution: int) -> NetworkSource:
    widths = tuple(int(channels * width) // 8 * 8 for channels in MOBILE_WIDTHS)
    space = ProxylessSpace(
        widths=tuple(max(channels, 8) for channels in widths), resolution=resolution
    )
    return NetworkSource.of_architecture(space, Architecture(space.name, MOBILE_CHOICES))


def chain(name: str) -> list[tuple[str, str]]:
    """The pairs (sibling, its neighbour towards the target's own reference) that tie ``name``.

    Nearest to the own one, whose name is empty here, first.
    """
    names = list(siblings())
    place = names.index(name)
    path = names[place:_OWN_PLACE][::-1] if place < _OWN_PLACE else names[_OWN_PLACE : place + 1]
    return [*zip(path, ["", *path[:-1]], strict=True)]


def tie_source(name: str, neighbour: str) -> NetworkSource:
    """A sibling as a network that is measured against its neighbour."""
    found = siblings()[name]
    return NetworkSource(
        Subject("reference", found.subject.key, name, found.subject.space), reference=neighbour
    )


class References:
    """The references of one measuring process, each loaded when a network first needs it.

    Parameters
    ----------
    profiler : Profiler
        Has siblings beside the target's own reference where it says so
        (:attr:`latprof.profilers.base.Profiler.runs_on_host`).
    own : NetworkSource
        The target's own reference.
    protocol : PairedProtocol
    runs : mapping of str to int
        Counted runs in the bursts of each, by name, as far as other processes have settled them.
    """

    def __init__(
        self,
        profiler: Profiler,
        own: NetworkSource,
        protocol: PairedProtocol,
        runs: Mapping[str, int],
    ) -> None:
        self._profiler, self._protocol = profiler, protocol
        self._runs = dict(runs)
        self._sources = {"": own}
        if profiler.runs_on_host:
            found = list(siblings().items())
            smaller, larger = found[:_OWN_PLACE], found[_OWN_PLACE:]
            self._sources = dict([*smaller, ("", own), *larger])
        self._loaded: dict[str, Rotation] = {}
        self._latency_ms: dict[str, float] = {}
        self.load("")

    def load(self, name: str) -> tuple[LoadedModel, int]:
        """A reference and the counted runs of its bursts; raises KeyError for no such name."""
        if name not in self._loaded:
            source = self._sources[name]
            self._profiler.input_rules = source.rules
            self._profiler.random_weights = True
            model = source.model(self._profiler.options.batch_size)
            loads = [self._profiler.load(model) for _ in range(self._protocol.reference_loads)]
            if name not in self._runs or len(self._sources) > 1:
                calibrated = partial(calibrate, run_bursts=self._profiler.run_bursts)
                self._latency_ms[name] = min(map(calibrated, loads))
                self._runs.setdefault(name, runs_per_burst(self._latency_ms[name], self._protocol))
            self._loaded[name] = Rotation(loads)
        return self._loaded[name], self._runs[name]

    def nearest(self, latency_ms: float) -> str:
        """The name of the reference that takes about as long as a network."""
        if len(self._sources) == 1 or self._distance("", latency_ms) <= math.log(NEAR_OWN):
            return ""
        while True:
            best = min(self._sources, key=lambda name: self._distance(name, latency_ms))
            if best in self._loaded:
                return best
            self.load(best)

    def _distance(self, name: str, latency_ms: float) -> float:
        return abs(math.log(latency_ms / self._latency(name)))

    def _latency(self, name: str) -> float:
        """A reference's latency in ms; a guess from the nearest one that is loaded."""
        if name in self._latency_ms:
            return self._latency_ms[name]
        places = {each: place for place, each in enumerate(self._sources)}
        known = min(self._latency_ms, key=lambda each: abs(places[each] - places[name]))
        return self._latency_ms[known] * _TYPICAL_STEP ** (places[name] - places[known])

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)
