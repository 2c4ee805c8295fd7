"""``latprof collect``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.commands import finish, resumable
from latprof.cli.console import (
    Inputs,
    Json,
    Quiet,
    Seed,
    Shapes,
    complete_pack,
    complete_space,
    note,
    one_line,
    parse_duration,
    parse_inputs,
    parse_shapes,
    parse_share,
    print_table,
    remark,
)
from latprof.cli.farm import Keys
from latprof.cli.formats import Form, Format, form_of, print_as
from latprof.cli.run_options import (
    BatchSize,
    Cores,
    Dtype,
    HalfWidth,
    Mode,
    RequireQuiet,
    Target,
    Threads,
    Timeout,
    TuneTrials,
    WaitQuiet,
    parse_cores,
    parse_shard,
)
from latprof.common.short_reprs import first_names
from latprof.workflows.formatting import interval, milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latprof.workflows.arguments import RunArguments
    from latprof.workflows.collect_farm import FarmCollectResult
    from latprof.workflows.collect_kernels import KernelCollectResult
    from latprof.workflows.collect_result import CollectResult, Label


def collect(
    models: Annotated[
        list[Path] | None,
        typer.Argument(metavar="MODEL.onnx", help="Your own models, in place of --space."),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            help="Search space to sample from: {spaces}, or your own as MODULE:NAME.",
            autocompletion=complete_space,
        ),
    ] = None,
    zoo: Annotated[
        bool | None,
        typer.Option(
            "--zoo/--no-zoo",
            help="Networks of the zoo (`latprof zoo`): those named like models, or all. With "
            "--kernels one of each family is measured first, for the intervals, unless with "
            "--no-zoo.",
            show_default=False,
        ),
    ] = None,
    target: Target = "cpu:onnxruntime",
    n: Annotated[
        int | None,
        typer.Option(
            "-n",
            help="Architectures: 5000, or 10 with --plan transfer. With --kernels: different "
            "kernels, 3000.",
        ),
    ] = None,
    kernels: Annotated[
        bool,
        typer.Option(
            "--kernels",
            help="Time kernels inside networks of the zoo and random ones, for a pack that "
            "answers for any network; with --dtype int8 on cpu:onnxruntime inside quantised ones.",
        ),
    ] = False,
    plan: Annotated[
        str,
        typer.Option(
            help="random, or transfer: the architectures that most reduce the predictive variance "
            "of the rest on a new device, given packs of other devices."
        ),
    ] = "random",
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="PACK...",
            help="With --plan transfer: packs of other devices.",
            autocompletion=complete_pack,
        ),
    ] = None,
    store: Annotated[
        str,
        typer.Option(
            "--store", metavar="STORE", help="Where measurements go: a file or a database URL."
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
        typer.Option(help="Height and width of images, if not the space's or the zoo's own."),
    ] = None,
    shapes: Shapes = None,
    inputs: Inputs = None,
    repeat_fraction: Annotated[
        float | None,
        typer.Option(
            help="Share of the networks measured twice, for the noise floor: 0.05 with --space, "
            "none of your own models where not given."
        ),
    ] = None,
    visits: Annotated[
        int | None,
        typer.Option(help="Fresh loads of each network: 8, or 2 with --kernels."),
    ] = None,
    half_width: HalfWidth = "",
    max_visits: Annotated[
        int | None,
        typer.Option(help="With --half-width: most fresh loads of a network (64, or --visits)."),
    ] = None,
    time_limit: Annotated[
        str, typer.Option(metavar="2h", help="Stop after this time: seconds, or 90s, 30m, 2h.")
    ] = "",
    shard: Annotated[
        str,
        typer.Option(
            metavar="i/n",
            help="Make only every n-th visit, from the i-th. Several processes that run the same "
            "command with one store share the visits without it.",
        ),
    ] = "",
    host_label: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A name for this host in the target, to keep hosts of one kind apart.",
        ),
    ] = "",
    farm: Annotated[
        str | None,
        typer.Option(
            metavar="tls://HOST:PORT",
            help="Measure on a farm's devices that have the target (`latprof farm`): "
            "cpu:onnxruntime@HOST is one host's, adb:litert any phone's.",
        ),
    ] = None,
    pool: Annotated[
        bool,
        typer.Option(
            "--pool",
            help="With --farm: devices of one kind share the visits and have one target.",
        ),
    ] = False,
    keys: Keys = None,
    queue_timeout: Annotated[
        str,
        typer.Option(
            metavar="5m", help="With --farm: how long a device that is not there is waited for."
        ),
    ] = "5m",
    tag: Annotated[
        str,
        typer.Option(
            help="What this state of your sources is called, beside its commit and branch; for "
            "`latprof history`."
        ),
    ] = "",
    rounds: Annotated[int, typer.Option(help="Bursts of the network in each visit.")] = 2,
    burst_ms: Annotated[
        float, typer.Option(help="Time of one burst, in milliseconds; on a GPU 3 are enough.")
    ] = 16.0,
    timeout_s: Timeout = 300.0,
    wait_quiet: WaitQuiet = "",
    require_quiet: RequireQuiet = False,
    known_constant: Annotated[
        bool,
        typer.Option(
            "--known-constant",
            help="If this host is too busy to tell what a millisecond is, take what an earlier "
            "quiet measurement of the target here has left.",
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Measure networks and store every measurement as it is made.

    Safe to interrupt: rerun the same command to resume. Progress is visits: done, failed and left;
    ETA is the time left at the pace of the last ones; host slowdown is how much longer the
    reference network takes than at its fastest in this run.

    For example:

    `latprof collect --space proxyless -n 5000 --store lat.db`

    `latprof collect model.onnx other.onnx --store mine.db`

    `latprof collect --zoo resnet-18 mobilenet-v2@160 --store zoo.db`

    `latprof collect --plan transfer --from a.pack b.pack --store new.db`

    `latprof collect --kernels -n 3000 --store k.db`

    `latprof collect --space proxyless --shard 1/2 --store half.db`
    """
    from latprof.cli.progress import progress_display
    from latprof.workflows.collect import collect as run
    from latprof.workflows.collect_kernels import KernelCollectResult
    from latprof.workflows.collect_result import CollectResult

    form = form_of(form, as_json=as_json)
    how: RunArguments = {
        "batch_size": batch_size,
        "threads": threads,
        "cores": parse_cores(cores),
        "dtype": dtype,
        "mode": mode,
        "tune_trials": tune_trials,
    }
    with progress_display(quiet=quiet) as show, resumable():
        result = run(
            models or (),
            space=space,
            zoo=zoo,
            kernels=kernels,
            store=store,
            target=target,
            n=n,
            plan=plan,
            sources=sources or (),
            resolution=resolution,
            shapes=parse_shapes(shapes),
            inputs=parse_inputs(inputs),
            seed=seed,
            ops=ops,
            repeat_fraction=repeat_fraction,
            visits=visits,
            half_width=parse_share(half_width, "half_width") if half_width else None,
            max_visits=max_visits,
            rounds=rounds,
            burst_ms=burst_ms,
            time_limit_s=parse_duration(time_limit, "time_limit") if time_limit else None,
            shard=parse_shard(shard),
            host_label=host_label,
            farm=farm,
            pool=pool,
            keys=keys,
            queue_timeout_s=parse_duration(queue_timeout, "queue_timeout"),
            tag=tag,
            timeout_s=timeout_s,
            wait_quiet_s=parse_duration(wait_quiet, "wait_quiet") if wait_quiet else None,
            require_quiet=require_quiet,
            known_constant=known_constant,
            on_progress=show,
            on_note=remark,
            **how,
        )
    if isinstance(result, CollectResult):
        _print_notes(result)
        shown = result.summary is not None
        for_people = partial(_print, result)
    elif isinstance(result, KernelCollectResult):
        _note_kernels(result)
        shown, for_people = True, partial(_print_kernels, result)
    else:
        _note_devices(result)
        shown, for_people = True, partial(_print_devices, result)
    if shown:
        rows = "labels" if isinstance(result, CollectResult) else "devices"
        print_as(form, result.to_dict(), for_people, rows=rows)
    finish(result)


def _note_devices(result: FarmCollectResult) -> None:
    devices: dict[str, list[str]] = {}
    for each in result.devices:
        if each.error is not None:
            devices.setdefault(f"{each.error} [{each.error.code}]", []).append(each.device)
        if each.result is not None:
            _print_notes(each.result)
    for why, names in devices.items():  # a store that fails does so for all at once
        note(f"latprof: {first_names(names, 3)}: {why}")


def _print_devices(result: FarmCollectResult) -> None:
    for each in result.devices:
        if each.result is not None and each.result.summary is not None:
            typer.echo(f"device          {one_line(each.device)}")
            _print(each.result)
            typer.echo()


def _note_kernels(result: KernelCollectResult) -> None:
    for name, why in result.failures[:10]:
        note(f"latprof: failed: {name}: {why}")
    if not result.complete:
        note(
            f"latprof: {result.kernels:,} of {result.wanted:,} kernels; rerun the same command to "
            "resume"
        )


def _print_kernels(result: KernelCollectResult) -> None:
    typer.echo(f"target          {result.target.describe()}")
    typer.echo(
        f"kernels         {result.kernels:,} different ones, {result.timed:,} timed, in "
        f"{result.networks:,} networks"
    )


def _print_notes(result: CollectResult) -> None:
    outcome = result.outcome
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
        note(
            f"latprof: the time limit is reached with {' and '.join(left)} left; rerun the same "
            "command to resume"
        )
    if outcome.busy:
        note(
            "latprof: this host disturbed at least half of the visits, so they were not retried; "
            "latprof doctor may say why"
        )


def _print_labels(labels: Sequence[Label]) -> None:
    print_table(
        ("network", "ms", "90% interval", "visits"),
        [
            (
                label.network,
                "host too busy" if label.too_busy else milliseconds(label.latency_ms),
                interval(label.low_ms, label.high_ms),
                str(label.visits),
            )
            for label in labels
        ],
    )
    typer.echo()


def _print(result: CollectResult) -> None:
    assert result.summary is not None
    if result.labels:
        _print_labels(result.labels)
    for line in result.summary.lines(result.batch):
        typer.echo(line)
    unknown = {name: costs for name, costs in result.costs.items() if costs.unknown}
    for name, costs in [*unknown.items()][:10]:
        typer.echo(f"costs of        {one_line(name)}: {one_line(costs.describe())}")
    if len(unknown) > 10:
        typer.echo(f"                and {len(unknown) - 10} more models whose costs are not known")
    if result.host is not None:
        typer.echo(f"host            {result.host.describe()}")
    outcome = result.outcome
    disturbed = f" ({outcome.disturbed} of them disturbed)" if outcome.disturbed else ""
    elsewhere = f", {outcome.elsewhere} by other processes" if outcome.elsewhere else ""
    repeated = f"; tries repeated: {outcome.repeated}" if outcome.repeated else ""
    typer.echo(
        f"this run        {outcome.made} visit{'s' * (outcome.made != 1)} made{disturbed}, "
        f"{outcome.resumed} already "
        f"complete{elsewhere}, {outcome.failed} failed{repeated}"
    )
