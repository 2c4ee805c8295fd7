"""Measuring many networks into a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from latprof.common.extras import needs
from latprof.errors import UnknownNameError, UsageError
from latprof.workflows.arguments import (
    Inputs,
    OnNote,
    PackLike,
    PathLike,
    RunArguments,
    Shapes,
    SpaceLike,
    StoreLike,
    open_store,
    packs_of,
    paths_of,
    protocol_of,
    quiet_of,
    run_options,
    space_of,
)
from latprof.workflows.collect_kernels import KERNELS, VISITS_WITH_KERNELS, collect_kernels
from latprof.workflows.collect_networks import most_informative, usable_models
from latprof.workflows.collect_result import CollectResult, costs_of, labels_of

if TYPE_CHECKING:
    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.quiet.target_constant import Constant
    from latprof.measurement.records import Target
    from latprof.measurement.store.store import Store
    from latprof.profilers.base import Profiler
    from latprof.profilers.campaign.campaign import Progress
    from latprof.profilers.host.checks import Check
    from latprof.profilers.host.host_report import HostReport
    from latprof.profilers.watching import Watch
    from latprof.workflows.collect_farm import FarmCollectResult
    from latprof.workflows.collect_kernels import KernelCollectResult

#: Architectures that are measured where nobody says how many, by plan.
NUMBERS = {"random": 5000, "transfer": 10}
#: Fresh loads of each network.
VISITS = 8
#: Share of architectures that is measured twice; models named by hand are not.
REPEAT_FRACTION = 0.05
#: How long a farm's device that is not there is waited for, in seconds.
QUEUE_TIMEOUT_S = 300.0


@needs("collect", "pandas", "scipy", "sqlalchemy")
def collect(
    models: PathLike | Sequence[PathLike] = (),
    *,
    space: SpaceLike | None = None,
    zoo: bool | None = None,
    kernels: bool = False,
    store: StoreLike = "latprof.db",
    target: str = "cpu:onnxruntime",
    n: int | None = None,
    plan: str = "random",
    sources: PackLike | Sequence[PackLike] = (),
    resolution: int | None = None,
    shapes: Shapes = None,
    inputs: Inputs = None,
    seed: int = 0,
    ops: bool = False,
    repeat_fraction: float | None = None,
    visits: int | None = None,
    half_width: float | None = None,
    max_visits: int | None = None,
    rounds: int = 2,
    burst_ms: float = 16.0,
    time_limit_s: float | None = None,
    shard: tuple[int, int] = (1, 1),
    host_label: str = "",
    farm: str | None = None,
    pool: bool = False,
    keys: PathLike | None = None,
    queue_timeout_s: float = QUEUE_TIMEOUT_S,
    tag: str = "",
    timeout_s: float = 300.0,
    wait_quiet_s: float | None = None,
    require_quiet: bool = False,
    known_constant: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_note: OnNote | None = None,
    **run: Unpack[RunArguments],
) -> CollectResult | FarmCollectResult | KernelCollectResult:
    """Measure networks and keep every measurement as it is made.

    Safe to interrupt: the same call resumes. Several processes that make the same call with one
    store share the visits. What can be refused is refused before a store is made.

    Parameters
    ----------
    models : path, or sequence of path
        ONNX files to measure, in place of ``space``.
    space : SearchSpace or str, optional
        Search space to sample from; ``"module:Class"`` is one of your own. With
        ``plan="transfer"``, that of the packs where it is one of your own.
    zoo : bool, optional
        Measure networks of :mod:`latprof.datasets.zoo`: those that ``models`` names, such as
        ``"resnet-18"`` or ``"resnet-18@160x0.5"`` (resolution and width), or all.
        False with ``kernels`` leaves out the zoo, which packs need for their intervals.
    kernels : bool
        Time kernels inside networks of the zoo and random ones, for a pack that answers for any
        network: :func:`~latprof.workflows.collect_kernels.collect_kernels`.
    store : path, URL or Store
        Where the measurements go; made where there is none.
    target : str
        What to measure on; :func:`latprof.devices` lists the spellings.
    n : int, optional
        Architectures: 5000, or 10 with ``plan="transfer"``. With ``kernels``: different kernels,
        3000.
    plan : str
        ``"random"``, or ``"transfer"``: the architectures that most reduce the predictive variance
        of the rest on a new device, given packs of other devices.
    sources : pack, or sequence of packs
        With ``plan="transfer"``: of the other devices.
    resolution : int, optional
        Height and width of the space's or the zoo's images, where not their own default.
    shapes : mapping of str to sequence of int, optional
        Shapes of the models' inputs whose own are dynamic.
    inputs : mapping of str to path, optional
        NumPy files (``.npy``) with the values of the models' inputs, by name.
    seed : int
        Of every random choice.
    ops : bool
        Also time the kernels of each network.
    repeat_fraction : float, optional
        Share of the networks that is measured twice, for the noise floor: 0.05 of architectures,
        none of models that are named, where not given.
    visits : int, optional
        Fresh loads of each network: 8, or 2 with ``kernels``.
    half_width : float, optional
        Confidence half-width as a share of the latency: visit each network until half of its 90 %
        interval is this narrow.
    max_visits : int, optional
        With ``half_width``: most fresh loads of a network (64, or ``visits``).
    rounds : int
        Bursts of the network in each visit.
    burst_ms : float
        Time of one burst in milliseconds; on a GPU 3 are enough.
    time_limit_s : float, optional
        Stop after this time, in seconds.
    shard : pair of int
        ``(i, n)``: make only every n-th visit, from the i-th (from 1); n collections with the
        other shards, into one store or into stores that are merged, make the rest.
    host_label : str
        A name for this host: a part of the target's identity, so that measurements of two hosts
        with the same processor stay apart.
    farm : str, optional
        Address of a farm's scheduler (``tls://HOST:PORT``): measure there, on every device that has
        the target; ``cpu:onnxruntime@HOST`` is that of one host, ``adb:litert`` of any phone.
    pool : bool
        With ``farm``: the devices, which have to be of one kind, share the visits and have one
        target; what each specimen is off by is divided out of the labels.
    keys : path, optional
        With ``farm``: folder of its keys, where not the default one.
    queue_timeout_s : float
        With ``farm``: how long a device, or the scheduler, is waited for while it is not there.
    tag : str
        What this state of the sources is called; it is stored with the commit and the branch of
        the working folder, for :func:`latprof.history`.
    timeout_s : float
        Longest time for one visit, in seconds.
    wait_quiet_s : float, optional
        Before the first visit, wait at most so long for a quiet host, in seconds.
    require_quiet : bool
        Begin nothing on a busy host.
    known_constant : bool
        Where this host was too busy to tell what a millisecond is, take what an earlier quiet
        measurement of the same target on it left in the user's data folder, as a version of the
        store's constant.
    on_progress : callable, optional
        Called after every visit.
    on_note : callable, optional
        Called with remarks, such as what the target's profiler cautions against.
    **run
        How networks run: ``batch_size``, ``threads``, ``cores``, ``dtype``, ``mode``,
        ``tune_trials`` (:class:`~latprof.workflows.arguments.RunArguments`).

    Returns
    -------
    CollectResult
        On a farm FarmCollectResult, with one for each device; with ``kernels`` KernelCollectResult.

    Raises
    ------
    UsageError
        For arguments that do not go together; its subclasses for single ones.
    UnsupportedModelError
        Where the target cannot be measured here.
    InputFileError
        For a model, a pack or a store that cannot be used.
    HostBusyError
        Where a quiet host is required and this one is busy.
    """
    from latprof.measurement.store.store import Store
    from latprof.measurement.summary import summarize
    from latprof.profilers.campaign.collection import Collection
    from latprof.profilers.host.git_revision import revision_here
    from latprof.profilers.targets import profiler_class
    from latprof.profilers.watching import Watch

    if kernels:
        _check_alone(
            {
                "models": models,
                "space": space,
                "plan": plan != "random",
                "sources": sources,
                "resolution": resolution,
                "shapes": shapes,
                "inputs": inputs,
                "repeat_fraction": repeat_fraction is not None,
                "half_width": half_width is not None,
                "max_visits": max_visits,
                "shard": shard != (1, 1),
                "host_label": host_label,
                "farm": farm,
                "pool": pool,
                "keys": keys,
                "known_constant": known_constant,
            }
        )
        return collect_kernels(
            store,
            target=target,
            n=KERNELS if n is None else n,
            visits=VISITS_WITH_KERNELS if visits is None else visits,
            zoo=zoo is not False,
            seed=seed,
            rounds=rounds,
            burst_ms=burst_ms,
            time_limit_s=time_limit_s,
            tag=tag,
            timeout_s=timeout_s,
            wait_quiet_s=wait_quiet_s,
            require_quiet=require_quiet,
            on_progress=on_progress,
            on_note=on_note,
            **run,
        )
    paths, packs = paths_of(models), packs_of(sources)
    _check_subject(paths, space, plan, packs, resolution, zoo=bool(zoo))
    visits = VISITS if visits is None else visits
    protocol = protocol_of(visits, half_width, max_visits, rounds=rounds, burst_ms=burst_ms)
    quiet = quiet_of(wait_quiet_s, require_quiet=require_quiet)
    spelling = target if farm is None else target.partition("@")[0]
    how = run_options(spelling, run, on_note, here=farm is None)
    rest: dict[str, Any] = {
        "target": spelling,
        "options": how,
        "protocol": protocol,
        "host_label": host_label,
    }
    number, unusable = NUMBERS[plan] if n is None else n, dict[str, str]()
    own = space_of(space, **({} if resolution is None else {"resolution": resolution}))
    if plan == "transfer":
        collection = most_informative(packs, own, number, seed, rest)
    elif own is not None:
        collection = Collection.of_space(own, number, seed=seed, **rest)
    elif zoo:
        collection = Collection.of_zoo([*map(str, paths)], resolution=resolution, **rest)
    else:
        files: dict[str, Any] = {"shapes": shapes or None, "inputs": inputs or None}
        collection, unusable = usable_models(
            paths, files | rest, on_note, all_of_them=farm is not None
        )
    _check_farm(
        farm,
        [host_label, wait_quiet_s, require_quiet, known_constant, isinstance(store, Store)],
        {"pool": pool, "keys": keys},
    )
    # All that can be refused is refused before a store is made.
    planned: dict[str, Any] = {
        "repeat_fraction": (0.0 if paths else REPEAT_FRACTION)
        if repeat_fraction is None
        else repeat_fraction,
        "seed": seed,
        "ops": ops,
        "time_limit_s": time_limit_s,
        "shard": shard,
    }
    if farm is not None:
        from latprof.workflows.collect_farm import collect_on_farm

        assert not isinstance(store, Store)
        return collect_on_farm(
            collection,
            collection.plan(**planned),
            store,
            target=target,
            farm=farm,
            pool=pool,
            keys=keys,
            queue_timeout_s=queue_timeout_s,
            timeout_s=timeout_s,
            revision=revision_here(tag),
            on_progress=on_progress,
            on_note=on_note,
        )
    prepared = collection.prepare(timeout_s=timeout_s, **planned)
    watch = Watch(quiet, on_note=on_note or (lambda _text: None))
    with open_store(store, create=True, on_wait=watch.on_note) as opened:
        collection.check_store(opened)
        profiler = profiler_class(target)(how)
        checks = watch.before(profiler)
        found, outcome = prepared.run(opened, revision=revision_here(tag), on_progress=on_progress)
        costs = costs_of(collection)
        if not outcome.made + outcome.resumed + outcome.elsewhere:
            return CollectResult(found, outcome, None, costs, unusable=unusable)
        known = _known(opened, found, profiler, watch, known_constant=known_constant)
        host = _host(profiler, known, checks, outcome.made + outcome.repeated)
        return CollectResult(
            found,
            outcome,
            summarize(known),
            costs,
            host=host,
            labels=labels_of(known, collection, host) if paths else (),
            table=known.labels,
            unusable=unusable,
        )


def _known(
    store: Store, target: Target, profiler: Profiler, watch: Watch, *, known_constant: bool
) -> TargetLabels:
    """What a store knows of a target, by a constant that an earlier quiet hour left, if asked."""
    from latprof.measurement.labels import TargetLabels
    from latprof.profilers.watching import remembered

    known = TargetLabels.of(store, target)
    better = remembered(profiler, known)
    if better is not None and known_constant:
        store.freeze_constant(target, better, after=known.constant.number)
        return TargetLabels.of(store, target)
    if better is not None:
        watch.on_note(_offer(known.constant, better))
    return known


def _offer(own: Constant, better: Constant) -> str:
    return (
        f"the host was busy, so the reference's {own.reference_ms:.3f} ms are in doubt by "
        f"{own.doubt:.1%}; --known-constant (known_constant=True) takes the constant "
        f"{better.describe()}: {better.reference_ms:.3f} ms"
    )


def _host(
    profiler: Profiler, known: TargetLabels, checks: tuple[Check, ...], tries: int
) -> HostReport:
    """What the host did before and during the visits of this run, the last ones in the store."""
    from latprof.profilers.host.host_report import HostReport, VisitSeen
    from latprof.profilers.watching import quiet_memory

    visits = known.visits
    made = visits.tail(tries)
    made = made[made["failure_code"].isna()]
    columns = ["memory_quotient", "others_memory_gb_s", "preempted"]
    columns += ["waited", "other_load", "withheld"]
    seen = [VisitSeen(*row) for row in made[columns].itertuples(index=False, name=None)]
    disturbed = int(made["disturbed"].sum())
    return HostReport.of_seen(checks, seen, disturbed, len(made), quiet_memory(seen, profiler))


def _check_alone(others: Mapping[str, object]) -> None:
    """Raise UsageError for what a collection of kernels does not take."""
    given = [f"`{name}`" for name, value in others.items() if value]
    if given:
        raise UsageError(
            f"`kernels` measures the zoo's networks and random ones, without {', '.join(given)}",
            field="kernels",
        )


def _check_farm(
    farm: str | None, asked_here: Sequence[object], asked_there: Mapping[str, object]
) -> None:
    """Raise UsageError for what is only for a farm, and what no farm takes."""
    for name, value in asked_there.items():
        if value and farm is None:
            raise UsageError(f"`{name}` is for `farm`", field=name)
    if farm is not None and any(asked_here):
        raise UsageError(
            "`farm` takes a store's file or URL, and neither `host_label`, `wait_quiet`, "
            "`require_quiet` nor `known_constant`",
            field="farm",
        )


def _check_subject(
    models: Sequence[object],
    space: object,
    plan: str,
    sources: Sequence[object],
    resolution: int | None,
    *,
    zoo: bool,
) -> None:
    """Raise UsageError unless the arguments name one thing to measure."""
    if plan not in [*NUMBERS]:
        raise UnknownNameError("plan", str(plan), NUMBERS)
    named = isinstance(space, str) and ":" not in space
    sampled = space is not None and (plan != "transfer" or named)
    given = [bool(models) or zoo, sampled, plan == "transfer"]
    if sum(given) != 1:
        raise UsageError(
            "several things to measure" if any(given) else "nothing to measure",
            expected="one of `space`, `models`, `zoo`, and `plan` transfer with `sources`",
        )
    if sources and plan != "transfer":
        raise UsageError("`sources` is for `plan` transfer", field="sources")
    if resolution is not None and not isinstance(space, str) and not zoo:
        raise UsageError("`resolution` is for the name of a `space` and `zoo`", field="resolution")
