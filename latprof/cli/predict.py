"""``latprof predict``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latprof.cli.budget_options import AllowOpen, FailIf, finish_within, print_verdicts, say_failed
from latprof.cli.commands import finish
from latprof.cli.console import (
    Json,
    OwnSpace,
    Quiet,
    complete_pack,
    note,
    parse_shapes,
    parse_share,
    remark,
)
from latprof.cli.curve_output import has_range, parse_ranges, print_curve
from latprof.cli.formats import Form, Format, form_of, print_as, print_junit
from latprof.cli.predict_output import print_answers, print_failures, print_operators
from latprof.cli.run_options import parse_numbers
from latprof.errors import EXIT_OK, EXIT_PARTIAL, UsageError
from latprof.measurement.budgets import BudgetResult, read_budgets
from latprof.predictors.pack.shipped import DEFAULT_PACK

#: Characters of a list of networks.
_MOST_LISTED = 64 << 20
_COMMENT = re.compile(r"(?:^|\s)#")

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
    space: OwnSpace = None,
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
    mode: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="The same for the execution mode, as opt-basic."),
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
    shapes: Annotated[
        list[str] | None,
        typer.Option(
            "--shape",
            metavar="[INPUT=]N,C,H,W",
            help="Shape of a model's input with dynamic dimensions; repeat for each input. With a "
            "range such as 1..32 (doubling) or 128..512..64 (in steps) a curve is printed.",
        ),
    ] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(
            metavar="1,2,4", help="Items a run of models; several give a curve over them."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write a page with that curve."),
    ] = None,
    png: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the plots of that page as pictures.")
    ] = None,
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
    measure_missing: Annotated[
        bool,
        typer.Option(
            "--measure-missing",
            help="First measure the kernels that the pack lacks, where its target is this host or "
            "a phone; later predictions know them too.",
        ),
    ] = False,
    quiet: Quiet = False,
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
    interval. Coverage is the share of the predicted time from kernels within the training range;
    the less it is, the wider is the interval, and below 90 % the answer is marked "~". The target
    that an answer holds for is printed with it.

    With a range in a shape, or several batch sizes, the latency at each:

    `latprof predict model.onnx --shape input=1..32,3,224,224 -o page.html`
    """
    from latprof.workflows.arguments import space_of
    from latprof.workflows.budget_checks import OF_ONE, answer_verdicts

    form = form_of(form, as_json=as_json, budgets=fail_if or ())
    if pack and (on is not None or every):
        raise UsageError("`on` and `every` choose packs by themselves", field="pack")
    budgets = read_budgets(fail_if, OF_ONE, "a prediction")
    networks = [each for word in networks for each in _lines(word)]
    batches = () if batch_size is None else parse_numbers(batch_size, "batch_size")
    share = parse_share(upper, "upper") if upper else None
    if _asks_for_a_curve(shapes, batches, output, png):
        _check_alone(networks, budgets or operators or measure_missing or on or every)
        common: dict[str, Any] = {"target": target, "threads": threads, "mode": mode}
        common |= {"strict": strict, "upper": share}
        _curve(networks[0], pack, (shapes, batches), common, (output, png), form)
        return
    failed: dict[str, LatprofError] = {}

    def on_error(name: str, error: LatprofError) -> None:
        if len(networks) == 1:
            raise error
        failed[name] = error

    options: dict[str, Any] = {"target": target, "threads": threads, "mode": mode}
    options |= {"strict": strict, "space": space_of(space)}
    options |= {"shapes": parse_shapes(shapes)} | _batch(batches)
    asked = _Asked(networks, pack, on, every, options)
    with _measuring(measure_missing, alone=not (on or every), quiet=quiet) as measuring:
        packs, answers = asked.answers(share, on_error, advise=operators, **measuring)
    print_failures(failed, len(networks))
    lost = _status(failed, answers)
    if failed and not answers and form not in {Form.JSON, Form.JUNIT}:
        raise typer.Exit(lost)
    verdicts = answer_verdicts(
        _with_packs(answers, packs),
        budgets,
        lambda share: asked.answers(share, lambda _name, _error: None)[1],
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
    say_failed(kept, form)
    finish_within(kept, lost)


def _with_packs(answers: list[Answer], packs: list[str]) -> list[Answer]:
    """The answers, each named with its pack where these are named."""
    pairs = zip(packs, answers, strict=False)
    return [replace(each, name=f"{each.name} by {pack}") for pack, each in pairs] or answers


def _status(failed: dict[str, LatprofError], answers: list[Answer]) -> int:
    """0, 5 where some networks failed, and where all did the first one's."""
    if not failed:
        return EXIT_OK
    return EXIT_PARTIAL if answers else next(iter(failed.values())).exit_status


@dataclass(frozen=True)
class _Asked:
    """What is predicted, and by which packs."""

    networks: list[str]
    pack: str | None
    on: str | None
    every: bool
    options: dict[str, Any]

    def answers(
        self, upper: float | None, on_error: OnError, **more: Any
    ) -> tuple[list[str], list[Answer]]:
        """The answers; with --on and --all also the names of their packs."""
        options = self.options | {"upper": upper, "on_error": on_error} | more
        if self.on is None and not self.every:
            from latprof.workflows.predict import predict as predict_networks

            return [], predict_networks(self.networks, self.pack, **options)
        from latprof.workflows.predict_on import predict_on

        found = predict_on(self.networks, self.on, every=self.every, **options)
        return [name for name, _ in found], [answer for _, answer in found]


def _batch(batches: tuple[int, ...]) -> dict[str, int]:
    """The batch size as an option, where one is given."""
    return {"batch_size": batches[0]} if batches else {}


@contextmanager
def _measuring(asked: bool, *, alone: bool, quiet: bool) -> Iterator[dict[str, Any]]:
    """Yield what asks a prediction to measure first, with its progress shown."""
    if not asked:
        yield {"on_note": remark}
        return
    if not alone:
        raise UsageError("`measure_missing` is for one pack", field="measure_missing")
    from latprof.cli.progress import progress_display

    with progress_display(quiet=quiet) as show:
        yield {"measure_missing": True, "on_progress": show, "on_note": remark}


def _asks_for_a_curve(
    shapes: list[str] | None, batches: tuple[int, ...], output: Path | None, png: Path | None
) -> bool:
    return has_range(shapes) or len(batches) > 1 or output is not None or png is not None


def _check_alone(networks: list[str], more: object) -> None:
    if more or len(networks) > 1:
        raise UsageError(
            "a curve is for one model, without `fail_if`, `operators` and `measure_missing`"
        )


def _curve(
    network: str,
    pack: str | None,
    sizes: tuple[list[str] | None, tuple[int, ...]],
    common: dict[str, Any],
    files: tuple[Path | None, Path | None],
    form: Form,
) -> None:
    """Predict one model at several sizes, and print the curve."""
    from latprof.workflows.predict_curve import predict_curve

    result = predict_curve(
        network,
        pack,
        shapes=parse_ranges(sizes[0]),
        batch_sizes=sizes[1],
        output=files[0],
        png=files[1],
        **common,
    )
    document = result.to_dict()
    print_as(form, document, lambda: print_curve(result.curve, common["upper"]), rows="points")
    for path in (*([] if result.page is None else [result.page]), *result.pictures):
        note(f"{path} written")
    finish(result)


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
    # A file's name may hold the sign that begins a comment.
    lines = [_COMMENT.split(line, maxsplit=1)[0].strip() for line in text.split("\n")]
    found = [line for line in lines if line]
    if not found:
        raise UsageError(f"{'standard input' if word == '-' else word} names no network")
    return found
