"""``latprof search``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latprof.cli.console import (
    Json,
    Seed,
    complete_method,
    complete_pack,
    complete_space,
    note,
    parse_share,
    print_json,
)
from latprof.cli.search_output import (
    Outcome,
    check_outputs,
    print_outcome,
    values_of,
    write_outcome,
)
from latprof.errors import EXIT_FINDING, EXIT_INTERRUPTED, LatprofError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latprof.predictors.pack.pack import Pack
    from latprof.searchers.base import Evaluation
    from latprof.searchers.keeping import Kept
    from latprof.searchers.request import SearchRequest
    from latprof.searchers.studies.cross_target import CrossTarget
    from latprof.searchers.verification import Verification


def search(
    space: Annotated[
        str | None,
        typer.Option(
            help="Search space ({spaces}); without --pack, the one that comes with latprof "
            "answers.",
            autocompletion=complete_space,
        ),
    ] = None,
    pack: Annotated[
        str | None,
        typer.Option(
            "--pack",
            metavar="PACK",
            help="Predictor of the latencies: a file, or one that comes with latprof.",
            autocompletion=complete_pack,
        ),
    ] = None,
    latency: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="In place of a pack: measured latencies of every network, a data set's name or "
            "its .parquet file.",
        ),
    ] = None,
    limit_ms: Annotated[
        float,
        typer.Option("--limit-ms", help="Largest latency; left out, the front of both is sought."),
    ] = math.inf,
    method: Annotated[
        str,
        typer.Option(
            help="Search method: {methods}; by gradient, with --data: {gradient methods}.",
            autocompletion=complete_method,
        ),
    ] = "evolution",
    accuracy: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE|MODULE:FUNCTION",
            help="Where accuracies come from: a table's file, or a function of yours.",
        ),
    ] = None,
    column: Annotated[str, typer.Option(help="The column of the table.")] = "",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="digits|FOLDER",
            help="In place of --accuracy: images to train a supernet on; a folder holds one folder "
            "a class.",
        ),
    ] = None,
    image_size: Annotated[int, typer.Option(help="With --data: height and width.")] = 32,
    epochs: Annotated[
        int, typer.Option(help="With --data, for methods without gradients: of the supernet.")
    ] = 40,
    budget: Annotated[
        int | None, typer.Option(help="Networks evaluated (500); by gradient, epochs (50).")
    ] = None,
    upper: Annotated[
        str,
        typer.Option(
            metavar="95%",
            help="This share of measurements shall keep the limit; 0: the prediction shall.",
        ),
    ] = "95%",
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="An option of the method; repeatable."),
    ] = None,
    at_once: Annotated[
        int,
        typer.Option(
            help="Most networks that your function is asked about in one call; what it answers is "
            "kept when it returns."
        ),
    ] = 1,
    seed: Seed = 0,
    store: Annotated[
        str, typer.Option("--store", metavar="STORE", help="Where the trail is kept.")
    ] = "latprof.db",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write a page about the search."),
    ] = None,
    png: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write its plots as pictures.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the network found as ONNX.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Measure the network found on this host.")
    ] = False,
    visits: Annotated[
        int, typer.Option(help="With --verify: fresh loads of the network; more on a busy host.")
    ] = 16,
    other_target: Annotated[
        bool,
        typer.Option(
            "--other-target", help="With --verify: measure although the pack is of another host."
        ),
    ] = False,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PACK",
            help="Another target: its own network of the same accuracy is sought too, and all are "
            "told on all; repeatable.",
            autocompletion=complete_pack,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: Json = False,
) -> None:
    """Find the most accurate network that keeps a latency limit.

    Interrupt it as you like: the same command goes on where it was.

    For example:

    `latprof search --space proxyless --limit-ms 5 --method proxyless-g --data digits -o page.html`

    `latprof search --pack cpu.pack --limit-ms 5 --accuracy mine:accuracy --verify --export b.onnx`
    """
    from latprof.searchers.request import SearchRequest, open_latencies

    request = SearchRequest(
        open_latencies(pack, latency, space),
        method,
        accuracy,
        column,
        data,
        image_size,
        epochs,
        limit_ms,
        None if upper.strip(" 0.") in {"", "%"} else parse_share(upper, "upper"),
        budget,
        seed,
        _options(option or []),
        at_once,
    )
    if other_target and not verify:
        raise UsageError("--other-target is for --verify", field="other-target")
    check_outputs(output, export, png)
    packs = _packs(request, also or [], verify=verify, other_target=other_target)
    kept = _run(request, store, quiet=quiet)
    best = kept.found.best
    verified, table = None, None
    how = {"visits": visits, "other_target": other_target}
    if best is not None and verify:
        verified = _verify(packs[0], best, request.limit_ms, how)
    if best is not None and also:
        table = _cross_target(request, packs, best, how if verify else None)
    outcome = Outcome(request, kept, verified, table)
    if as_json:
        print_json(values_of(outcome))
    else:
        print_outcome(outcome)
    write_outcome(outcome, page=output, pictures=png, model=export)
    if best is None or (verified is not None and verified.same_target and not verified.keeps_limit):
        raise typer.Exit(EXIT_FINDING)


def _options(texts: list[str]) -> dict[str, Any]:
    """``NAME=VALUE``: numbers and lists as JSON has them, anything else as text."""
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError("not an option", field="option", expected="NAME=VALUE", got=text)
        try:
            read = json.loads(value)
        except ValueError:
            read = value
        options[name.strip().replace("-", "_")] = tuple(read) if isinstance(read, list) else read
    return options


def _packs(
    request: SearchRequest, also: list[str], *, verify: bool, other_target: bool
) -> list[Pack]:
    """The pack of the search and those of other targets; what is wrong is told before it starts."""
    from latprof.predictors.pack.pack import load_pack
    from latprof.predictors.pack.shipped import resolve
    from latprof.searchers.digests import digest
    from latprof.searchers.verification import target_here

    files = [request.latencies.digest, *(digest(resolve(name)) for name in also)]
    if len(set(files)) < len(files):
        raise UsageError("one target twice", field="also", got=", ".join(also))
    own = request.latencies.pack
    if own is None and (also or verify):
        raise UsageError("--verify and --also are for predictors", expected="--pack")
    if also and request.gradient:
        raise UsageError("--also is for methods without gradients", field="also")
    packs = [own, *(load_pack(name) for name in also)] if own is not None else []
    for pack in packs:
        pack.check_space(request.latencies.space)
        if verify:
            target_here(pack, other_target=other_target)
    return packs


def _run(request: SearchRequest, location: str, *, quiet: bool) -> Kept:
    from latprof.cli.progress import Line, progress_lines
    from latprof.measurement.store.store import Store

    problem, steps = request.problem, request.steps
    noun = "epoch" if request.gradient else "network"
    best: Evaluation | None = None
    with (
        Store.open(location, create=True) as store,
        progress_lines(quiet=quiet) as show,
    ):

        def on_step(number: int, step: Evaluation) -> None:
            nonlocal best
            inside = step.bound_ms <= problem.limit_ms
            if inside and (best is None or request.gradient or step.accuracy > best.accuracy):
                best = step
            words = f"{noun} {number}/{steps}"
            if best is not None:
                words += f", best {best.accuracy:.2f} at {best.latency_ms:.3f} ms"
            show(Line(words, number, steps))

        try:
            return request.run(store, on_step=on_step)
        except KeyboardInterrupt:
            note("latprof: interrupted; the same command goes on where it was")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except LatprofError:
            raise
        except Exception as error:
            if _interrupted(error):
                note("latprof: interrupted; the same command goes on where it was")
                raise typer.Exit(EXIT_INTERRUPTED) from None
            note(f"latprof: an accuracy failed; what was evaluated is in {location}")
            raise


def _interrupted(error: BaseException | None) -> bool:
    """Whether an interrupt is behind an error that a library made of it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _verify(pack: Pack, best: Evaluation, limit_ms: float, how: Mapping[str, Any]) -> Verification:
    from latprof.searchers.verification import verify

    note("latprof: measuring the network found")
    return verify(pack, best.architecture, limit_ms=limit_ms, **how)


def _cross_target(
    request: SearchRequest,
    packs: list[Pack],
    best: Evaluation,
    how: Mapping[str, Any] | None,
) -> CrossTarget:
    from latprof.searchers.studies.cross_target import search_each_target

    note(f"latprof: seeking the own network of each of {len(packs)} targets")
    return search_each_target(
        request.searcher(),
        request.problem,
        packs,
        best,
        request.steps,
        seed=request.seed,
        measured=how,
    )
