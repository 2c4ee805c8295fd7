"""Measuring kernels, for a pack that answers for any network."""

from __future__ import annotations

import itertools
import math
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from latprof.common.extras import needs
from latprof.common.limits import whole
from latprof.common.short_reprs import ShortRepr
from latprof.errors import EXIT_OK, EXIT_PARTIAL, InvalidValueError, NotEnoughDataError
from latprof.workflows.arguments import (
    OnNote,
    RunArguments,
    StoreLike,
    open_store,
    protocol_of,
    quiet_of,
    run_options,
    watch_of,
)

if TYPE_CHECKING:
    from latprof.datasets.zoo.entries import ZooNetwork
    from latprof.measurement.records import PairedProtocol, Target
    from latprof.measurement.store.store import Store
    from latprof.predictors.kernels.learning.network_fitting import KernelTable
    from latprof.profilers.base import RunOptions
    from latprof.profilers.campaign.campaign import Progress
    from latprof.profilers.campaign.collection import Collection

_NUMBER = whole(1, 100_000)
#: Different kernels, and fresh loads of each network, where nobody says how many.
KERNELS, VISITS_WITH_KERNELS = 3000, 2
#: Networks of one round, and candidates that those of the next are chosen from.
_ROUND, _CANDIDATES = 24, 72
#: Factors of the resolution and the width of the zoo's networks, and most work of one, in
#: multiply-accumulates.
_SIZES, _WIDTHS, _MOST_MACS = (0.5, 0.75, 1.0, 1.25), (0.35, 0.5, 0.75, 1.0, 1.25), 1.2e9
#: Multiply-accumulates above which a network of the zoo comes last, whatever its family.
_LARGE_MACS, _LAST = 1e10, 1000
#: Kernels that a network adds, about.
_KERNELS_EACH = 20
#: Trees a family of the models that only say where to sample.
_TREES = 60
#: Rounds without a new kernel after which collecting ends.
_PATIENCE = 3


@dataclass(frozen=True, repr=False)
class KernelCollectResult(ShortRepr):
    """What a collection of kernels did, and what the store holds of the target after it.

    ``kernels`` counts different configurations, of which ``wanted`` were asked for; ``timed`` all
    that were timed, ``networks`` those that they stand in; ``failures`` are names of networks and
    why they failed.
    """

    target: Target
    kernels: int
    timed: int
    networks: int
    wanted: int
    failures: tuple[tuple[str, str], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the store holds as many kernels as were wanted."""
        return self.kernels >= self.wanted

    @property
    def exit_status(self) -> int:
        """5 where kernels are left, else 0."""
        return EXIT_OK if self.complete else EXIT_PARTIAL

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return {
            "target": self.target.to_dict(),
            "kernels": self.kernels,
            "timed": self.timed,
            "networks": self.networks,
            "failures": [{"network": name, "why": why} for name, why in self.failures],
            "complete": self.complete,
        }


@needs("collect", "pandas", "scipy", "sqlalchemy")
def collect_kernels(
    store: StoreLike = "kernels.db",
    *,
    target: str = "cpu:onnxruntime",
    n: int = KERNELS,
    zoo: bool = True,
    visits: int = VISITS_WITH_KERNELS,
    seed: int = 0,
    rounds: int = 2,
    burst_ms: float = 16.0,
    time_limit_s: float | None = None,
    tag: str = "",
    timeout_s: float = 300.0,
    wait_quiet_s: float | None = None,
    require_quiet: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_note: OnNote | None = None,
    **run: Unpack[RunArguments],
) -> KernelCollectResult:
    """Time kernels inside networks, until ``n`` different ones are known.

    With ``dtype="int8"`` on ONNX Runtime the networks are quantised ones, in every form that its
    tools write (:data:`~latprof.graph.convert.quantized.forms.FORMS`).

    One network of each family of the zoo comes first. Then rounds of the others take turns with
    rounds of the same at other sizes and random ones of published block families, whose widths,
    windows and resolutions lie between theirs: a model fitted to what is there chooses among these
    the ones with the kernels that it knows least. Safe to interrupt: the same call resumes.

    Parameters
    ----------
    store : path, URL or Store
        Where the measurements go; made where there is none.
    target : str
        What to measure on; its runtime has to tell the times of kernels.
    n : int
        Different kernel configurations.
    zoo : bool
        Whether to measure the zoo's networks; packs need them for their intervals.
    visits : int
        Fresh loads of each network, for its latency end to end.
    seed : int
        Of the order of visits.
    rounds, burst_ms : int and float
        Bursts of the network in each visit, and the time of one in milliseconds.
    time_limit_s : float, optional
        No visit starts later than this after the beginning, in seconds.
    tag, timeout_s, wait_quiet_s, require_quiet
        As of :func:`latprof.collect`.
    on_progress : callable, optional
        Called after every visit, with how far its round is.
    on_note : callable, optional
        Called with remarks.
    **run
        As of :func:`latprof.collect`.

    Raises
    ------
    InvalidValueError, UsageError
        For arguments out of range.
    UnsupportedModelError
        Where the target cannot be measured here.
    HostBusyError
        Where a quiet host is required and this one is busy.
    """
    from latprof.profilers.campaign.collection import Collection
    from latprof.profilers.host.git_revision import revision_here
    from latprof.profilers.targets import profiler_class

    _NUMBER.check("n", n)
    options = run_options(target, run, on_note)
    protocol = protocol_of(visits, None, None, rounds=rounds, burst_ms=burst_ms)
    watch = watch_of(quiet_of(wait_quiet_s, require_quiet=require_quiet), None, on_note)
    deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
    failures: list[tuple[str, str]] = []
    known, idle = -1, 0
    table: KernelTable | None = None
    identity = Collection((), None, {}, target=target, options=options).identity()
    revision = revision_here(tag)
    with open_store(store, create=True) as opened:
        watch.before(profiler_class(target)(options))
        for keys in _rounds(opened, identity, zoo=zoo):
            table = _table(opened, identity)
            before, known = known, _distinct(table)
            idle = idle + 1 if known == before else 0
            left_s = None if deadline is None else deadline - time.monotonic()
            if known >= n or idle > _PATIENCE or (left_s is not None and left_s <= 0):
                break
            size = min(_ROUND, math.ceil((n - max(known, 0)) / _KERNELS_EACH))
            chosen = keys[:size] if table is None else _worth_most(table, keys, size, identity)
            collection = _collection(chosen, target, options, protocol)
            prepared = collection.prepare(
                timeout_s=timeout_s, repeat_fraction=0.0, seed=seed, ops=True, time_limit_s=left_s
            )
            _, outcome = prepared.run(opened, revision=revision, on_progress=on_progress)
            failures += [(name, failure.message) for name, failure in outcome.failures]
        table = _table(opened, identity)
    count = 0 if table is None else int(table.timed.sum())
    networks = 0 if table is None else len(table.names)
    return KernelCollectResult(identity, _distinct(table), count, networks, n, tuple(failures))


def _rounds(store: Store, target: Target, *, zoo: bool) -> Iterator[Sequence[str]]:
    """Networks that the store does not hold, a round at a time; random ones without end."""
    from latprof.datasets.zoo.built_models import random_keys, zoo_key
    from latprof.datasets.zoo.catalogue import facts, names

    stored = {s.key for s in store.subjects_with_kernels(target)}
    batch = target.batch_size
    as_run = _quantized if _runs_quantized(target) else str
    first, *others = families_in_turn({name: facts(name) for name in names()}) if zoo else [[]]
    firsts, later = (
        [key for name in part if (key := as_run(zoo_key(name, batch_size=batch))) not in stored]
        for part in (first, itertools.chain(*others))
    )
    yield from _in_rounds(firsts)
    rounds = iter(_in_rounds(later))
    seed = 0
    while True:
        candidates: list[str] = []
        while len(candidates) < _CANDIDATES:
            drawn = random_keys(seed, batch_size=batch)
            if as_run is not str or target.runtime != "onnxruntime":  # who else runs all of them?
                drawn = [key for key in drawn if not key.startswith("modules:")]
            drawn += _other_size(seed, batch) if zoo else []
            seed += 1
            candidates += [key for each in drawn if (key := as_run(each)) not in stored]
        yield candidates
        yield from itertools.islice(rounds, 1)


def _runs_quantized(target: Target) -> bool:
    """Whether a target runs the files of ONNX Runtime's tools as they are."""
    return target.precision == "int8" and target.runtime == "onnxruntime"


def _quantized(key: str) -> str:
    """A network in one of the forms, always the same; in 4 bits where that changes most of it."""
    from latprof.datasets.zoo.built_models import built_model, quantized_key
    from latprof.graph.convert.quantized.forms import FORMS

    products = Counter(node.op_type for node in built_model(key).graph.node)
    forms = FORMS if products["MatMul"] > products["Conv"] else FORMS[:-1]
    return quantized_key(key, forms[zlib.crc32(key.encode()) % len(forms)])


def _in_rounds(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[start : start + _ROUND] for start in range(0, len(keys), _ROUND)]


def families_in_turn(networks: Mapping[str, ZooNetwork]) -> list[list[str]]:
    """Names of networks: the one with the least work of each family, the second, and so on.

    In each part those with little work come first: a time limit then leaves out the fewest. What
    takes many times the work of others is a part of its own, the last.
    """
    by_work = sorted(networks, key=lambda name: networks[name].macs)
    parts: dict[int, list[str]] = {}
    seen: Counter[str] = Counter()
    for name in by_work:
        large = networks[name].macs > _LARGE_MACS
        parts.setdefault(_LAST if large else seen[networks[name].family], []).append(name)
        seen[networks[name].family] += 1
    return [parts[number] for number in sorted(parts)]


def _other_size(seed: int, batch_size: int) -> list[str]:
    """A network of the zoo at another resolution and width, of little work; at times none."""
    from latprof.datasets.zoo.built_models import built_model, zoo_key
    from latprof.datasets.zoo.catalogue import facts, names
    from latprof.graph.reader import read_network

    generator = np.random.default_rng([seed, 2])
    name = str(generator.choice(names()))
    published = facts(name)
    step = max(published.step, 8)
    size = step * max(round(published.resolution * float(generator.choice(_SIZES)) / step), 1)
    key = zoo_key(
        name, resolution=size, width=float(generator.choice(_WIDTHS)), batch_size=batch_size
    )
    try:
        macs = read_network(built_model(key)).macs
    except InvalidValueError:  # too small for the network
        return []
    return [key] if macs <= _MOST_MACS else []


def _table(store: Store, target: Target) -> KernelTable | None:
    """The kernels that the store holds; None for too few to learn from."""
    from latprof.measurement.labels import TargetLabels
    from latprof.predictors.training.kernel_training import stored_kernels

    if not any(stored.target == target for stored in store.targets()):
        return None
    try:
        return stored_kernels(TargetLabels.of(store, target))
    except NotEnoughDataError:
        return None


def _distinct(table: KernelTable | None) -> int:
    return 0 if table is None else len(set(table.rows(table.timed).kernels.digests()))


def _worth_most(
    table: KernelTable, keys: Sequence[str], size: int, target: Target
) -> Sequence[str]:
    """The networks with the most of what a model of the known kernels does not know.

    Each new kernel counts with the error that the model expects of it, and its share of the time of
    its network: what is rare, or out of range, comes first.
    """
    from latprof.datasets.zoo.built_models import built_model
    from latprof.graph.reader import read_network
    from latprof.predictors.kernels.graph_kernels import kernels_of
    from latprof.predictors.kernels.learning.kernel_fitting import fit_kernel_model

    if len(keys) <= _ROUND:  # of the zoo, which is measured whole
        return keys
    timed = table.rows(table.timed)
    model = fit_kernel_model(timed.kernels, timed.latency_ms, trees=_TREES)
    seen = set(timed.kernels.digests())
    scores = []
    for key in keys:
        network = read_network(built_model(key))
        kernels = kernels_of(network, target, table.rules).configurations
        times = model.predict(kernels)
        new = np.array([digest not in seen for digest in kernels.digests()])
        share = times.latency_ms / times.latency_ms.sum()
        scores.append(float(np.sum(new * times.error * np.sqrt(share))))
    best = np.argsort(-np.array(scores), kind="stable")[:size]
    return [keys[index] for index in sorted(best.tolist())]


def _collection(
    keys: Sequence[str], target: str, options: RunOptions, protocol: PairedProtocol
) -> Collection:
    """Networks that latprof builds, to be visited, and their kernels timed."""
    from latprof.profilers.campaign.collection import Collection
    from latprof.profilers.visits.network_source import NetworkSource

    return Collection(
        [NetworkSource.of_built(key) for key in keys],
        None,
        {"kernels": True, "networks": len(keys)},
        target=target,
        options=options,
        protocol=protocol,
    )
