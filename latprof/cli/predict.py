"""``latprof predict``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.console import (
    Json,
    Shapes,
    complete_pack,
    milliseconds,
    note,
    parse_shapes,
    print_json,
    print_table,
)
from latprof.predictors.pack.shipped import DEFAULT_PACK

if TYPE_CHECKING:
    from latprof.predictors.pack.answering import Answer
    from latprof.predictors.pack.pack import Pack


def predict(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL.onnx|ARCHITECTURE",
            help="ONNX files, or architectures as numbers with commas between them.",
        ),
    ],
    pack: Annotated[
        str,
        typer.Option(
            "--pack",
            metavar="PACK",
            help="A pack made by train, or the name of one that comes with latprof.",
            autocompletion=complete_pack,
        ),
    ] = DEFAULT_PACK,
    shape: Shapes = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a model with operators the pack does not know.")
    ] = False,
    operators: Annotated[
        bool, typer.Option("--operators", help="Also print what each operator takes.")
    ] = False,
    upper: Annotated[
        float | None,
        typer.Option(
            metavar="0.95", help="Also print what measurements stay below with this probability."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell the latency of networks from a pack, without running them.

    Without `--pack` the answer is for the processor on which latprof's own data were measured; what
    it holds for is printed with it.

    A model of the pack's search space is recognised by its shapes, whoever exported it. Any other
    is predicted operator by operator, and the share of its work that the pack knows is printed.
    """
    from latprof.predictors.pack.pack import load_pack

    loaded = load_pack(pack)
    shapes = parse_shapes(shape)
    answers = [_answer(loaded, text, shapes, strict=strict, upper=upper) for text in networks]
    if as_json:
        print_json([answer.to_dict() for answer in answers])
        return
    _print(loaded, answers, upper)
    if operators:
        for answer in answers:
            _print_operators(answer)


def _answer(
    pack: Pack,
    text: str,
    shapes: dict[str | None, tuple[int, ...]],
    *,
    strict: bool,
    upper: float | None,
) -> Answer:
    from latprof.common.files import what_is_at
    from latprof.errors import InvalidValueError
    from latprof.graph.reader import read_network
    from latprof.predictors.pack.answering import predict_architectures, predict_network

    space = pack.predictor.space
    path = Path(text)
    if path.suffix == ".onnx" or what_is_at(path):
        network = read_network(path, shapes=shapes or None)
        return predict_network(pack, network, text, strict=strict, upper=upper)
    try:
        architecture = space.parse(text)
    except InvalidValueError as error:
        raise InvalidValueError(
            f"{text[:200]!r} is neither a file nor an architecture of {space.name}: {error}"
        ) from None
    return predict_architectures(pack, [architecture], upper=upper)[0]


def _print(pack: Pack, answers: list[Answer], upper: float | None) -> None:
    coverage = f"{pack.interval_coverage:.0%} interval" if pack.interval_coverage else "interval"
    bound = () if upper is None else (f"{100 * upper:g}% stay below",)
    print_table(
        ("network", "ms", coverage, *bound, "known"),
        [
            (
                answer.name,
                milliseconds(answer.latency_ms),
                _interval(answer) if pack.interval_coverage else "not known",
                *([_bound(answer)] if bound else []),
                f"{answer.coverage:.0%}",
            )
            for answer in answers
        ],
    )
    for answer in answers:
        if answer.distance is not None and answer.distance > 1:
            note(
                f"{answer.name} lies outside the region of the networks that the pack was trained "
                f"on (distance {answer.distance:.1f}; 99% of them are within 1): its interval may "
                "be too narrow"
            )
    if pack.target is not None:
        note(f"for {pack.target.describe()}")
    for answer in answers:
        if answer.how == "operators":
            unknown = f"; unknown: {', '.join(answer.unknown)}" if answer.unknown else ""
            note(
                f"{answer.name} is not of the space {pack.predictor.space.name} that the pack was "
                f"trained on: predicted from its operators, more roughly{unknown}"
            )


def _bound(answer: Answer) -> str:
    return "not known" if answer.upper_ms is None else milliseconds(answer.upper_ms)


def _interval(answer: Answer) -> str:
    if math.isnan(answer.low_ms):
        return "not known"
    return f"{milliseconds(answer.low_ms)} to {milliseconds(answer.high_ms)}"


def _print_operators(answer: Answer) -> None:
    if not answer.operators:
        note(f"{answer.name} was predicted as a whole; it has no operator table")
        return
    typer.echo(f"\n{answer.name}")
    print_table(
        ("operator", "kind", "ms", "known"),
        [
            (op.name, op.kind, milliseconds(op.latency_ms, 4), "yes" if op.known else "no")
            for op in answer.operators
        ],
        left=2,
    )
