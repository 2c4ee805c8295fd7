"""``latprof predict``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latprof.cli.budget_options import AllowOpen, FailIf, finish_within, print_verdicts
from latprof.cli.console import (
    Json,
    Shapes,
    complete_pack,
    note,
    parse_shapes,
    parse_share,
)
from latprof.cli.formats import Form, Format, form_of, print_as, print_junit
from latprof.cli.predict_output import print_answers, print_operators
from latprof.errors import EXIT_OK, EXIT_PARTIAL, UsageError
from latprof.measurement.budgets import BudgetResult, read_budgets
from latprof.predictors.pack.shipped import DEFAULT_PACK

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
    on: Annotated[
        str | None,
        typer.Option(
            "--on", metavar="DEVICE", help="With the first pack of such a device, as pixel1."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="A row for each pack that knows the network.")
    ] = False,
    shapes: Shapes = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a model that is not fully covered.")
    ] = False,
    operators: Annotated[
        bool,
        typer.Option("--operators", help="Also print each kernel's latency, and what to change."),
    ] = False,
    upper: Annotated[
        str,
        typer.Option(
            metavar="95%", help="Also print the bound that this share of measurements stays below."
        ),
    ] = "",
    fail_if: FailIf = None,
    allow_open: AllowOpen = False,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Predict latency from a pack, without running the networks.

    With a pack of a search space its members are recognised by their operators, whoever exported
    them, and answered by its predictor. Any other model is a guess then, marked "~" and without an
    interval.

    With a pack of kernels (`kernels-epyc-ort1` comes along; `latprof collect --kernels`, then
    `train`, make one for your device) any model is predicted from its kernels, with a 90 %
    interval. Coverage is the share of the
    predicted time from kernels within the training range; the less it is, the wider is the
    interval, and below 90 % the answer is marked "~". The target that an answer holds for is
    printed with it.
    """
    from latprof.workflows.budget_checks import OF_ONE, answer_verdicts

    form = form_of(form, as_json=as_json, budgets=fail_if or ())
    if pack is not None and (on is not None or every):
        raise UsageError("`on` and `every` choose packs by themselves", field="pack")
    budgets = read_budgets(fail_if, OF_ONE, "a prediction")
    networks = [each for word in networks for each in _lines(word)]
    failed: dict[str, LatprofError] = {}

    def on_error(name: str, error: LatprofError) -> None:
        if len(networks) == 1:
            raise error
        failed[name] = error
        note(f"latprof: {name}: {error} [{error.code}]")

    options = {"target": target, "threads": threads, "shapes": parse_shapes(shapes)}
    asked = _Asked(networks, pack, on, every, options | {"strict": strict})
    share = parse_share(upper, "upper") if upper else None
    packs, answers = asked.answers(share, on_error, advise=operators)
    lost = EXIT_OK
    if failed:
        lost = EXIT_PARTIAL if answers else next(iter(failed.values())).exit_status
    if failed and not answers and form not in {Form.JSON, Form.JUNIT}:
        raise typer.Exit(lost)
    verdicts = answer_verdicts(
        answers, budgets, lambda share: asked.answers(share, lambda _name, _error: None)[1]
    )
    kept = BudgetResult(tuple(verdicts), allow_open)

    def for_people() -> None:
        print_answers(answers, share, packs)
        for answer in answers if operators else ():
            print_operators(answer)
        print_verdicts(kept)

    shown = [answer.to_dict() for answer in answers]
    if packs:
        shown = [{"pack": name} | each for name, each in zip(packs, shown, strict=True)]
    document = [each | kept.shown(row, len(answers)) for row, each in enumerate(shown)]
    print_as(form, document, for_people)
    if form is Form.JUNIT:
        print_junit("predict", kept, failed)
    finish_within(kept, lost)


@dataclass(frozen=True)
class _Asked:
    """What is predicted, and by which packs."""

    networks: list[str]
    pack: str | None
    on: str | None
    every: bool
    options: dict[str, Any]

    def answers(
        self, upper: float | None, on_error: OnError, *, advise: bool = False
    ) -> tuple[list[str], list[Answer]]:
        """The answers; with --on and --all also the names of their packs."""
        options = self.options | {"upper": upper, "advise": advise, "on_error": on_error}
        if self.on is None and not self.every:
            from latprof.workflows.predict import predict as predict_networks

            return [], predict_networks(self.networks, self.pack, **options)
        from latprof.workflows.predict_on import predict_on

        found = predict_on(self.networks, self.on, every=self.every, **options)
        return [name for name, _ in found], [answer for _, answer in found]


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
