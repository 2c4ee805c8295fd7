"""``latprof collect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latprof.cli.console import (
    Json,
    Seed,
    Shapes,
    complete_pack,
    complete_space,
    complete_target,
    note,
    parse_duration,
    parse_shapes,
    parse_share,
    print_json,
)
from latprof.cli.run_options import (
    BatchSize,
    Cores,
    Dtype,
    Mode,
    Threads,
    TuneTrials,
    run_options,
)
from latprof.errors import EXIT_DEVICE, EXIT_INTERRUPTED, EXIT_PARTIAL, EXIT_TIMEOUT, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latprof.measurement.records import Target
    from latprof.measurement.store.store import Store
    from latprof.profilers.campaign.campaign import Outcome
    from latprof.profilers.campaign.collection import Collection


def collect(
    models: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="MODEL.onnx",
            help="Your own models, in place of --space; with --plan transfer, more packs.",
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(help="Search space to sample from: {spaces}.", autocompletion=complete_space),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            help="What to measure on, of {targets}; `latprof devices` says what is ready.",
            autocompletion=complete_target,
        ),
    ] = "cpu:onnxruntime",
    n: Annotated[
        int | None,
        typer.Option("-n", help="Architectures: 5000, or 10 with --plan transfer."),
    ] = None,
    plan: Annotated[
        str,
        typer.Option(
            help="random, or transfer: those that tell most about a new device, given the packs of "
            "others."
        ),
    ] = "random",
    packs: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="PACK",
            help="With --plan transfer: a pack of another device.",
            autocompletion=complete_pack,
        ),
    ] = None,
    store: Annotated[
        str,
        typer.Option(
            "--store", metavar="STORE", help="Where to keep them: a file or a database URL."
        ),
    ] = "latprof.db",
    seed: Seed = 0,
    ops: Annotated[
        bool, typer.Option("--ops", help="Also time the kernels of each network.")
    ] = False,
    batch_size: BatchSize = 1,
    threads: Threads = 1,
    cores: Cores = "",
    dtype: Dtype = "",
    mode: Mode = "",
    tune_trials: TuneTrials = None,
    resolution: Annotated[
        int | None,
        typer.Option(help="Height and width of the space's images, if not its own default."),
    ] = None,
    shape: Shapes = None,
    repeat_fraction: Annotated[
        float, typer.Option(help="Share measured again, a pass later, for the noise floor.")
    ] = 0.05,
    visits: Annotated[int, typer.Option(help="Fresh loads of each network.")] = 8,
    precision: Annotated[
        str,
        typer.Option(
            metavar="1%",
            help="Visit each network until its 90 % interval is this narrow (to either side).",
        ),
    ] = "",
    max_visits: Annotated[
        int | None,
        typer.Option(help="With --precision: most fresh loads of a network (64, or --visits)."),
    ] = None,
    time_limit: Annotated[
        str, typer.Option(metavar="2h", help="Stop after this time: seconds, or 90s, 30m, 2h.")
    ] = "",
    rounds: Annotated[int, typer.Option(help="Bursts of the network in each visit.")] = 2,
    burst_ms: Annotated[
        float, typer.Option(help="Time of one burst, in milliseconds; on a GPU 3 are enough.")
    ] = 16.0,
    timeout: Annotated[float, typer.Option(help="Longest time for one visit, in seconds.")] = 300.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: Json = False,
) -> None:
    """Measure networks and keep every measurement as it is made.

    Interrupt it as you like: the same command goes on where it was.

    For example:

    `latprof collect --space proxyless -n 5000 --store lat.db`

    `latprof collect model.onnx other.onnx --store mine.db`

    `latprof collect --plan transfer --from a.pack b.pack --store new.db`
    """
    from latprof.measurement.records import PairedProtocol
    from latprof.measurement.store.store import Store
    from latprof.profilers.campaign.collection import Collection
    from latprof.profilers.visits.measuring_process import check_timeout

    if max_visits is not None and not precision:
        raise UsageError(
            "--max-visits is for --precision", hint="--visits sets the number of visits"
        )
    if plan == "transfer":
        packs, models = [*(packs or []), *map(str, models or [])], None
    if plan not in ("random", "transfer"):
        raise UsageError("no such plan", field="plan", expected="random or transfer", got=plan)
    given = [bool(models), bool(space), plan == "transfer"]
    if sum(given) != 1:
        raise UsageError(
            "several things to measure" if any(given) else "nothing to measure",
            expected="one of --space NAME, model files, and --plan transfer --from PACK",
        )
    if packs and plan != "transfer":
        raise UsageError("--from is for --plan transfer", field="from")
    if resolution is not None and not space:
        raise UsageError("--resolution is for --space", field="resolution")
    rest: dict[str, Any] = {
        "target": target,
        "options": run_options(target, batch_size, threads, cores, dtype, mode, tune_trials),
        "protocol": PairedProtocol(
            rounds=rounds,
            burst_ms=burst_ms,
            visits=visits,
            precision=parse_share(precision, "precision") if precision else 0.0,
            max_visits=max(64, visits) if max_visits is None else max_visits,
        ),
    }
    options: dict[str, Any] = {
        "repeat_fraction": repeat_fraction,
        "seed": seed,
        "ops": ops,
        "time_limit_s": parse_duration(time_limit, "time-limit") if time_limit else None,
    }
    if space:
        from latprof.datasets.spaces.named import get_space

        wanted = get_space(space, **({} if resolution is None else {"resolution": resolution}))
        collection = Collection.of_space(wanted, 5000 if n is None else n, seed=seed, **rest)
    elif plan == "transfer":
        collection = _transfer_plan(packs or [], 10 if n is None else n, seed, rest)
    else:
        collection = Collection.of_models(models or [], shapes=parse_shapes(shape), **rest)
    # All that can be refused is refused before a store is made.
    collection.identity()
    collection.plan(**options)
    check_timeout(timeout)
    with Store.open(store, create=True) as opened:
        found, outcome = _run(collection, opened, quiet=quiet, timeout_s=timeout, **options)
        _print_outcome(opened, found, outcome, as_json=as_json)
    if outcome.failures or not outcome.made + outcome.resumed:
        raise typer.Exit(_status(outcome))


def _transfer_plan(packs: Sequence[str], n: int, seed: int, rest: dict[str, Any]) -> Collection:
    """The architectures that tell most about a new device, given packs of others."""
    from latprof.predictors.models.transfer import choose_for_transfer
    from latprof.predictors.training.transfer_training import load_sources
    from latprof.profilers.campaign.collection import Collection

    sources = load_sources(packs)
    space = sources[0].space
    chosen = choose_for_transfer(space, [pack.predictor for pack in sources], n, seed=seed)
    source = {"n": n, "seed": seed, "plan": "transfer", "from": list(packs)}
    return Collection.of_architectures(space, space.architectures(chosen), source, **rest)


def _status(outcome: Outcome) -> int:
    """Exit status of a run with failures, or without anything."""
    if outcome.made + outcome.resumed or not outcome.failures:
        return EXIT_PARTIAL
    only_timeouts = {failure.code for _, failure in outcome.failures} == {"timeout"}
    return EXIT_TIMEOUT if only_timeouts else EXIT_DEVICE


def _run(
    collection: Collection, store: Store, *, quiet: bool, **options: Any
) -> tuple[Target, Outcome]:
    from latprof.cli.progress import progress_display

    with progress_display(quiet=quiet) as show:
        try:
            return collection.run(store, on_progress=show, **options)
        except KeyboardInterrupt:
            note("latprof: interrupted; the same command goes on where it was")
            raise typer.Exit(EXIT_INTERRUPTED) from None


def _print_outcome(store: Store, target: Target, outcome: Outcome, *, as_json: bool) -> None:
    from latprof.measurement.summary import summarize

    for name, failure in outcome.failures[:10]:
        note(f"latprof: failed: {name}: {failure.message} [{failure.code}]")
    if len(outcome.failures) > 10:
        note(f"latprof: and {len(outcome.failures) - 10} more failures, all in the store")
    left = [
        f"{number} {what}"
        for number, what in (
            (outcome.left, "visits"),
            (outcome.kernels_left, "networks' kernels"),
        )
        if number
    ]
    if left:
        note(f"latprof: the time is up with {' and '.join(left)} left; the same command goes on")
    if outcome.busy:
        note(
            "latprof: this host disturbed half of the visits or more, so they were not made again; "
            "latprof doctor may say why"
        )
    if not outcome.made + outcome.resumed:
        return
    summary = summarize(store, target)
    values = summary.to_dict() | {
        "visits_made": outcome.made,
        "visits_resumed": outcome.resumed,
        "visits_failed": outcome.failed,
        "visits_disturbed": outcome.disturbed,
        "visits_left": outcome.left,
    }
    if as_json:
        print_json(values)
        return
    for line in summary.lines():
        typer.echo(line)
    typer.echo(
        f"this run        {outcome.made} visits made, {outcome.resumed} found done, "
        f"{outcome.failed} failed, {outcome.disturbed} disturbed"
    )
