"""``latprof compare``."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latprof.cli.console import (
    Json,
    Shapes,
    complete_target,
    network_of,
    note,
    parse_shapes,
    print_json,
    print_table,
)
from latprof.cli.run_options import BatchSize, Dtype, Mode, Threads, TuneTrials, run_options
from latprof.errors import EXIT_FINDING, EXIT_PARTIAL, UsageError

if TYPE_CHECKING:
    from latprof.measurement.comparison import Comparison
    from latprof.profilers.base import RunOptions


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A model, an architecture, or a store.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What to compare it with.")],
    target: Annotated[
        str | None,
        typer.Option(
            help="What to measure on (cpu:onnxruntime where not given), or which of the stores' "
            "targets.",
            autocompletion=complete_target,
        ),
    ] = None,
    fail_if: Annotated[
        str | None,
        typer.Option(metavar="CONDITION", help="Exit with status 1 if it holds: 'slower>3%'."),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Rate of false verdicts that is accepted.")] = 0.05,
    processes: Annotated[int, typer.Option(help="Measuring processes, for two networks.")] = 8,
    visits: Annotated[int, typer.Option(help="Visits to each network in each process.")] = 3,
    threads: Threads = 1,
    batch_size: BatchSize = 1,
    dtype: Dtype = "",
    mode: Mode = "",
    tune_trials: TuneTrials = None,
    shape: Shapes = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="A field of two stores' targets that may differ."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether B is faster or slower than A, or that there is no evidence of either.

    Two networks are measured now, in turn, in fresh processes. Two stores are compared network by
    network, and all verdicts together keep the error rate (Holm's correction).
    """
    from latprof.measurement.comparison import Condition, check_alpha

    condition = None if fail_if is None else Condition.parse(fail_if)
    check_alpha(alpha)
    stores = [_is_store(text) for text in (a, b)]
    if any(stores) and not all(stores):
        raise UsageError("a store and a network cannot be compared", got=f"{a} and {b}")
    missing: tuple[str, ...] = ()
    if all(stores):
        found, missing = _stores(a, b, target, alpha, ignore or [])
    else:
        target = target or "cpu:onnxruntime"
        options = run_options(
            target, batch_size, threads, dtype=dtype, mode=mode, tune_trials=tune_trials
        )
        effort = {"alpha": alpha, "processes": processes, "visits": visits}
        found = [_networks((a, b), target, options, parse_shapes(shape), effort)]
    failed = [c for c in found if condition is not None and condition.holds(c)]
    if as_json:
        print_json([dataclasses.asdict(comparison) for comparison in found])
    else:
        _print(found)
    if failed:
        note(f"latprof: {fail_if} holds for {', '.join(c.name for c in failed)}")
        raise typer.Exit(EXIT_FINDING)
    if missing:
        names = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        note(f"latprof: {len(missing)} networks of {a} have no usable visits in {b}: {names}")
        raise typer.Exit(EXIT_PARTIAL)


def _is_store(text: str) -> bool:
    from latprof.common.files import what_is_at

    if "://" in text:
        return True
    path = Path(text)
    if path.suffix == ".db":
        return True
    if what_is_at(path) != "file":
        return False
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def _stores(
    a: str, b: str, target: str | None, alpha: float, ignore: list[str]
) -> tuple[list[Comparison], tuple[str, ...]]:
    from latprof.measurement.store.store import Store
    from latprof.profilers.comparing import compare_stores

    with Store.open(a) as first, Store.open(b) as second:
        found = compare_stores(
            (first, first.only_target(target)),
            (second, second.only_target(target)),
            alpha=alpha,
            ignore=ignore,
        )
    if found.in_milliseconds:
        note(
            "latprof: the targets differ, so milliseconds are compared; the error of what each "
            "store calls a millisecond is not in the intervals"
        )
    return list(found.comparisons), found.missing


def _networks(
    texts: tuple[str, str],
    target: str,
    options: RunOptions,
    shapes: dict[str | None, tuple[int, ...]],
    effort: dict[str, Any],
) -> Comparison:
    from latprof.measurement.records import PairedProtocol
    from latprof.profilers.comparing import compare_networks
    from latprof.profilers.visits.measuring_process import RemoteBench
    from latprof.profilers.visits.network_source import (
        Network,
        check_batch_size_of_models,
        reference_network,
    )

    networks = []
    for text in texts:
        found = network_of(text)
        if isinstance(found, str):
            check_batch_size_of_models(options.batch_size)
            networks.append(Network.of_model(found, shapes or None))
        else:
            networks.append(Network.of_architecture(*found))
    _, reference = reference_network()
    make_measurer = partial(RemoteBench, target, options, reference, PairedProtocol())
    return compare_networks(networks[0], networks[1], make_measurer, **effort)


def _print(found: list[Comparison]) -> None:
    print_table(
        ("network", "verdict", "effect", "interval", "p", "corrected p"),
        [
            (
                c.name,
                c.verdict,
                f"{c.effect:+.2%}",
                f"{c.low:+.2%} to {c.high:+.2%}",
                f"{c.p_value:.2g}",
                f"{c.adjusted_p_value:.2g}",
            )
            for c in found
        ],
        left=2,
    )
    counts = {verdict: sum(c.verdict == verdict for c in found) for verdict in ("faster", "slower")}
    if len(found) > 1:
        note(
            f"{len(found)} networks: {counts['faster']} faster, {counts['slower']} slower, "
            f"{len(found) - sum(counts.values())} without evidence"
        )
