"""``latprof search``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from latprof.cli.commands import finish, resumable
from latprof.cli.console import (
    Json,
    Quiet,
    Seed,
    complete_method,
    complete_pack,
    complete_space,
    note,
    parse_duration,
    parse_share,
    remark,
)
from latprof.cli.formats import Form, Format, form_of, print_as
from latprof.cli.run_options import RequireQuiet, WaitQuiet
from latprof.cli.search_output import print_result
from latprof.common.limits import read_number
from latprof.errors import UsageError


def search(
    space: Annotated[
        str | None,
        typer.Option(
            help="Search space ({spaces}, or your own as MODULE:NAME); without --pack, the one "
            "that comes with latprof answers.",
            autocompletion=complete_space,
        ),
    ] = None,
    pack: Annotated[
        str | None,
        typer.Option(
            "--pack",
            metavar="PACK",
            help="Predictor of the latencies: a file, or the name of a bundled pack.",
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
        typer.Option(
            "--limit-ms",
            help="Largest latency; if omitted, the accuracy/latency Pareto front is searched.",
        ),
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
            help="Accuracy source: a table's file, or a function of yours.",
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
        int,
        typer.Option(help="With --data, for methods without gradients: epochs of the supernet."),
    ] = 40,
    budget: Annotated[
        int | None,
        typer.Option(help="Networks evaluated (500); for methods by gradient, epochs (50)."),
    ] = None,
    upper: Annotated[
        str,
        typer.Option(
            metavar="95%",
            help="Fraction of measurements that must stay within the limit; 0 uses the prediction "
            "itself.",
        ),
    ] = "95%",
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="An option of the method; repeatable."),
    ] = None,
    at_once: Annotated[
        int,
        typer.Option(
            help="Largest batch passed to your accuracy function; its answers are stored when it "
            "returns."
        ),
    ] = 1,
    seed: Seed = 0,
    store: Annotated[
        str, typer.Option("--store", metavar="STORE", help="Where the steps are stored.")
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
    wait_quiet: WaitQuiet = "",
    require_quiet: RequireQuiet = False,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PACK...",
            help="Other targets: also find an equally accurate network for each; report every "
            "network on every target.",
            autocompletion=complete_pack,
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Find the most accurate network that keeps a latency limit.

    Safe to interrupt: rerun the same command to resume. Progress is networks evaluated, or epochs,
    and the best network so far: its accuracy or score, and its predicted latency.

    For example:

    `latprof search --space proxyless --limit-ms 5 --method proxyless-g --data digits -o page.html`

    `latprof search --pack cpu.pack --limit-ms 5 --accuracy mine:accuracy --verify --export b.onnx`
    """
    from latprof.cli.progress import search_display
    from latprof.workflows.search import search as run

    form = form_of(form, as_json=as_json)
    with search_display(quiet=quiet) as show, resumable():
        result = run(
            space=space,
            pack=pack,
            latency=latency,
            limit_ms=limit_ms,
            method=method,
            accuracy=accuracy,
            column=column,
            data=data,
            image_size=image_size,
            epochs=epochs,
            budget=budget,
            upper=_upper(upper),
            options=_options(options or []),
            at_once=at_once,
            seed=seed,
            store=store,
            output=output,
            png=png,
            export=export,
            verify=verify,
            visits=visits,
            other_target=other_target,
            wait_quiet_s=parse_duration(wait_quiet, "wait_quiet") if wait_quiet else None,
            require_quiet=require_quiet,
            also=also or (),
            on_progress=show,
            on_note=remark,
        )
    print_as(form, result.to_dict(), lambda: print_result(result))
    for path in result.written:
        weights = ", with random weights" if path == export else ""
        note(f"{path} written{weights}")
    finish(result)


def _upper(text: str) -> float | None:
    """A share, or None for 0: the prediction itself."""
    if read_number(text.strip(" ").removesuffix("%")) == 0:
        return None
    return parse_share(text, "upper")


def _options(texts: list[str]) -> dict[str, Any]:
    """``NAME=VALUE``: numbers and lists as JSON has them, anything else as text."""
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError("not an option", field="options", expected="NAME=VALUE", got=text)
        try:
            read = json.loads(value)
        except (ValueError, RecursionError):
            read = value
        options[name.strip().replace("-", "_")] = tuple(read) if isinstance(read, list) else read
    return options
