"""Concurrent sessions: how many inferences a second several processes make side by side.

Each stream is a process of its own with its own session, as servers run them: no lock of Python is
shared, and neither are weights. The figures are what this host gave, not paired with a reference;
the numbers of streams take turns in rounds, so that a drift falls on all alike.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from latprof.errors import RuntimeFailedError
from latprof.profilers.sessions.percentiles import RawPercentiles
from latprof.profilers.sessions.session_process import SessionProcess
from latprof.profilers.visits.measuring_process import DEFAULT_TIMEOUT_S

if TYPE_CHECKING:
    from latprof.profilers.base import RunOptions
    from latprof.profilers.sessions.load_figures import LoadFigures
    from latprof.profilers.visits.network_source import NetworkSource

#: Rounds in which every number of streams runs once.
ROUNDS = 3
#: Time for which streams run side by side, at least, in seconds.
WINDOW_S = 1.0
#: And at least so many runs of the first inference's time.
_RUNS = 6
#: From the order to run until the first run starts, in seconds: all processes are told by then.
_LEAD_S = 0.1
#: Streams at once.
MOST_STREAMS = 256


@dataclass(frozen=True)
class StreamFigures:
    """The throughput of so many streams at once.

    Parameters
    ----------
    streams, threads, batch_size : int
        Processes at once, threads inside an operator, and items a run.
    throughput : float
        Items a second of all streams together, the median over the rounds.
    lowest, highest : float
        Of the rounds.
    speedup : float
        Over one stream in the same round, the median; NaN where one stream was not asked for.
    latency : RawPercentiles
        Of the runs of all streams, as a caller felt them.
    cores : int
        That this process may use.
    """

    streams: int
    threads: int
    batch_size: int
    throughput: float
    lowest: float
    highest: float
    speedup: float
    latency: RawPercentiles
    cores: int

    @property
    def oversubscribed(self) -> bool:
        """Whether the streams have more threads than there are cores, and take turns on them."""
        return self.streams * self.threads > self.cores

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return {
            "streams": self.streams,
            "threads": self.threads,
            "batch_size": self.batch_size,
            "items_per_s": self.throughput,
            "items_per_s_lowest": self.lowest,
            "items_per_s_highest": self.highest,
            "speedup": self.speedup,
            **self.latency.to_dict(),
            "cores": self.cores,
            "oversubscribed": self.oversubscribed,
        }


def measure_streams(
    target: str,
    options: RunOptions,
    network: NetworkSource,
    batch_size: int,
    streams: Sequence[int],
    *,
    cores: int,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    window_s: float = WINDOW_S,
    on_round: Callable[[], None] = lambda: None,
) -> tuple[StreamFigures, ...]:
    """Run a network in several processes at once, for each number of ``streams``.

    Raises what a runtime says of a network that it cannot run.
    """
    found: dict[int, list[list[list[float]]]] = defaultdict(list)
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(SessionProcess(target, options, network, timeout_s))
            for _ in range(max(streams))
        ]
        loads = [session.load() for session in sessions]
        seconds = max(window_s, _RUNS * _slowest_s(loads))
        for number in range(ROUNDS):
            turn = number % len(streams)
            for count in (*streams[turn:], *streams[:turn]):
                found[count].append(_side_by_side(sessions[:count], seconds, timeout_s))
                on_round()
    alone = [throughput_of(runs, batch_size) for runs in found.get(1, [])]
    return tuple(
        _figures(count, options.threads, batch_size, found[count], alone, cores)
        for count in streams
    )


def _slowest_s(loads: Sequence[LoadFigures]) -> float:
    return max((each.first_inference_ms or 0.0) for each in loads) / 1000


def _side_by_side(
    sessions: Sequence[SessionProcess], seconds: float, timeout_s: float
) -> list[list[float]]:
    start = time.monotonic() + _LEAD_S
    for session in sessions:
        session.begin(start, start + seconds)
    runs = [session.runs_ms(seconds + timeout_s) for session in sessions]
    if not all(runs):
        raise RuntimeFailedError(
            f"a stream made no run in {seconds:.1f} s", hint="ask for fewer --streams"
        )
    return runs


def throughput_of(runs: Sequence[Sequence[float]], batch_size: int) -> float:
    """Items a second: each stream's runs over the time that they took, added up."""
    return sum(1000 * batch_size * len(each) / sum(each) for each in runs)


def _figures(
    count: int,
    threads: int,
    batch_size: int,
    rounds: Sequence[Sequence[Sequence[float]]],
    alone: Sequence[float],
    cores: int,
) -> StreamFigures:
    throughputs = [throughput_of(runs, batch_size) for runs in rounds]
    ratios = [many / one for many, one in zip(throughputs, alone, strict=False)]
    return StreamFigures(
        count,
        threads,
        batch_size,
        median(throughputs),
        min(throughputs),
        max(throughputs),
        median(ratios) if ratios else math.nan,
        RawPercentiles.of([ms for runs in rounds for each in runs for ms in each]),
        cores,
    )
