"""``latprof predict``."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.budget_options import AllowOpen, FailIf, finish_within, print_verdicts
from latprof.cli.console import (
    Json,
    Shapes,
    complete_pack,
    note,
    parse_shapes,
    print_json,
    print_table,
)
from latprof.common.short_reprs import whole_percent
from latprof.errors import EXIT_OK, EXIT_PARTIAL, UsageError
from latprof.measurement.budgets import BudgetResult, read_budgets
from latprof.predictors.pack.shipped import DEFAULT_PACK
from latprof.workflows.formatting import milliseconds

#: Characters of a list of networks.
_MOST_LISTED = 64 << 20

if TYPE_CHECKING:
    from latprof.errors import LatprofError
    from latprof.predictors.pack.answering import Answer
    from latprof.workflows.predict_answers import OnError


def predict(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL.onnx|ARCHITECTURE...",
            help="ONNX files, or architectures as numbers separated by commas; a file that ends in "
            ".txt, or - for standard input, has one a line.",
        ),
    ],
    pack: Annotated[
        str | None,
        typer.Option(
            "--pack",
            metavar="PACK",
            help="A pack made by train, or the name of one that comes with latprof "
            f"[default: {DEFAULT_PACK}].",
            autocompletion=complete_pack,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE:RUNTIME",
            help="Refuse a pack of another target; without --pack, choose one of this target.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="The same for the number of threads inside an operator."),
    ] = None,
    shapes: Shapes = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a model that is not fully covered.")
    ] = False,
    operators: Annotated[
        bool,
        typer.Option("--operators", help="Also print each kernel's latency, and what to change."),
    ] = False,
    upper: Annotated[
        float | None,
        typer.Option(
            metavar="0.95", help="Also print the bound that this share of measurements stays below."
        ),
    ] = None,
    fail_if: FailIf = None,
    allow_open: AllowOpen = False,
    as_json: Json = False,
) -> None:
    """Predict latency from a pack, without running the networks.

    With a pack of a search space its members are recognised by their operators, whoever exported
    them, and answered by its predictor. Any other model is a guess then, marked "~" and without an
    interval.

    With a pack of kernels (`latprof collect --kernels`, then `train`; none comes with latprof yet)
    any model is predicted from its kernels, with a 90 % interval. Coverage is the share of the
    predicted time from kernels within the training range; the less it is, the wider is the
    interval, and below 90 % the answer is marked "~". The target that an answer holds for is
    printed with it.
    """
    from latprof.workflows.budget_checks import OF_ONE, answer_verdicts
    from latprof.workflows.predict import predict as predict_networks

    budgets = read_budgets(fail_if, OF_ONE, "a prediction")
    networks = [each for word in networks for each in _lines(word)]
    failed: list[LatprofError] = []

    def on_error(name: str, error: LatprofError) -> None:
        if len(networks) == 1:
            raise error
        failed.append(error)
        note(f"latprof: {name}: {error} [{error.code}]")

    def run(upper: float | None, on_error: OnError, *, advise: bool = False) -> list[Answer]:
        return predict_networks(
            networks,
            pack,
            target=target,
            threads=threads,
            shapes=given_shapes,
            strict=strict,
            upper=upper,
            advise=advise,
            on_error=on_error,
        )

    given_shapes = parse_shapes(shapes)
    answers = run(upper, on_error, advise=operators)
    if failed and not answers and not as_json:
        raise typer.Exit(failed[0].exit_status)
    verdicts = answer_verdicts(
        answers, budgets, lambda share: run(share, lambda _name, _error: None)
    )
    kept = BudgetResult(tuple(verdicts), allow_open)
    if as_json:
        shown = [answer.to_dict() for answer in answers]
        print_json([each | kept.shown(row, len(answers)) for row, each in enumerate(shown)])
    else:
        _print(answers, upper)
    if operators and not as_json:
        for answer in answers:
            _print_operators(answer)
    if not as_json:
        print_verdicts(kept)
    lost = EXIT_PARTIAL if answers else failed[0].exit_status if failed else EXIT_OK
    finish_within(kept, lost if failed else EXIT_OK)


def _lines(word: str) -> list[str]:
    """What a list names, one a line without comments; any other word is itself."""
    if word == "-":
        text = sys.stdin.read(_MOST_LISTED + 1)
    elif word.endswith(".txt"):
        from latprof.datasets.importers.files.reading import read_text

        text = read_text(word, _MOST_LISTED)
    else:
        return [word]
    if len(text) > _MOST_LISTED:
        raise UsageError("the list is too long", expected=f"at most {_MOST_LISTED >> 20} MiB")
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    found = [line for line in lines if line]
    if not found:
        raise UsageError(f"{'standard input' if word == '-' else word} names no network")
    return found


def _print(answers: list[Answer], upper: float | None) -> None:
    shares = {answer.interval_coverage for answer in answers if answer.interval_coverage}
    interval = f"{max(shares):.0%} interval" if shares else "interval"
    bound = () if upper is None else (f"p{100 * upper:g} upper bound",)
    print_table(
        ("network", "ms", interval, *bound, "coverage"),
        [
            (
                answer.name,
                ("~ " if answer.is_guess else "") + milliseconds(answer.latency_ms),
                _interval(answer),
                *([_bound(answer)] if bound else []),
                whole_percent(answer.coverage),
            )
            for answer in answers
        ],
    )
    for answer in answers:
        if answer.distance is not None and answer.distance > 1:
            note(
                f"{answer.name} lies outside the region of the training networks (distance "
                f"{answer.distance:.1f}; 99% of them are within 1): its interval may be too narrow"
            )
    targets = dict.fromkeys(answer.target for answer in answers if answer.target is not None)
    for target in targets:
        note(f"for {target.describe()}")
    for answer in answers:
        if answer.differences:
            note(f"{answer.name} differs from the pack: {'; '.join(answer.differences)}")
        missing = ", ".join(answer.unknown)
        if answer.how == "operators":
            missing = f"; not covered: {missing}" if missing else ""
            note(
                f"{answer.name} is outside the pack's search space: rough estimate, summed from "
                f"per-operator costs{missing}"
            )
        elif answer.is_guess and missing:
            note(f"{answer.name}: kernels outside the training range: {missing}")


def _bound(answer: Answer) -> str:
    return "n/a" if answer.upper_ms is None else milliseconds(answer.upper_ms)


def _interval(answer: Answer) -> str:
    if math.isnan(answer.low_ms):
        return "n/a"
    return f"{milliseconds(answer.low_ms)} to {milliseconds(answer.high_ms)}"


def _print_operators(answer: Answer) -> None:
    if not answer.operators:
        note(f"{answer.name} was predicted as a whole; it has no operator table")
        return
    typer.echo(f"\n{answer.name}")
    floors = any(op.floor_ms for op in answer.operators)
    print_table(
        ("operator", "kind", "ms", *(["at the best rate"] if floors else []), "covered"),
        [
            (
                op.name,
                op.kind,
                milliseconds(op.latency_ms, 4),
                *([milliseconds(op.floor_ms, 4)] if floors else []),
                "yes" if op.known else "no",
            )
            for op in answer.operators
        ],
        left=2,
    )
    if answer.changes:
        saved = sum(change.saves_ms for change in answer.changes)
        typer.echo(
            f"\nwhat to change, of {milliseconds(answer.latency_ms)} ms "
            f"({milliseconds(saved)} ms in all)"
        )
        for change in answer.changes:
            typer.echo(f"  {change}")
