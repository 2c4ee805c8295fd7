"""What ``latprof predict`` prints for people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import typer

from latprof.cli.console import note, print_table
from latprof.common.short_reprs import whole_percent
from latprof.workflows.formatting import milliseconds, short_device

if TYPE_CHECKING:
    from latprof.predictors.pack.answering import Answer

#: Lines about what is not certain of one model.
_MOST_UNCERTAIN = 3


def print_answers(answers: list[Answer], upper: float | None, packs: list[str]) -> None:
    """Print the answers, each with its device where ``packs`` names theirs; notes on stderr."""
    shares = {answer.interval_coverage for answer in answers if answer.interval_coverage}
    interval = f"{max(shares):.0%} interval" if shares else "interval"
    bound = () if upper is None else (f"p{100 * upper:g} upper bound",)
    where = ("device", "runtime", "pack") if packs else ()
    print_table(
        ("network", *where, "ms", interval, *bound, "coverage"),
        [
            (
                answer.name,
                *(_where(answer, packs[row]) if packs else ()),
                *answer_cells(answer, bounded=bool(bound)),
                whole_percent(answer.coverage),
            )
            for row, answer in enumerate(answers)
        ],
        left=1 + len(where),
    )
    for answer in answers:
        if answer.distance is not None and answer.distance > 1:
            note(
                f"{answer.name} lies outside the region of the training networks (distance "
                f"{answer.distance:.1f}; 99% of them are within 1): its interval may be too narrow"
            )
    targets = dict.fromkeys(answer.target for answer in answers if answer.target is not None)
    for target in () if packs else targets:
        note(f"for {target.describe()}")
    for answer in answers:
        _print_notes(answer)


def _print_notes(answer: Answer) -> None:
    """What is to be known of one answer beside its numbers."""
    if answer.measured_here:
        note(f"{answer.name}: {answer.measured_here} of its kernels were measured on this host")
    for each in answer.uncertain[:_MOST_UNCERTAIN]:
        note(f"{answer.name}: {each}")
    if len(answer.uncertain) > _MOST_UNCERTAIN:
        note(f"{answer.name}: and {len(answer.uncertain) - _MOST_UNCERTAIN} more such")
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


def _where(answer: Answer, pack: str) -> tuple[str, str, str]:
    target = answer.target
    if target is None:
        return "unknown", "-", pack
    threads = f", {target.threads} threads" if target.threads > 1 else ""
    return short_device(target.device_name), f"{target.runtime}{threads}", pack


def answer_cells(answer: Answer, *, bounded: bool) -> tuple[str, ...]:
    """An answer's milliseconds, its interval and, where ``bounded``, its upper bound."""
    guess = "~ " if answer.is_guess else ""
    interval = f"{milliseconds(answer.low_ms)} to {milliseconds(answer.high_ms)}"
    bound = "n/a" if answer.upper_ms is None else milliseconds(answer.upper_ms)
    return (
        f"{guess}{milliseconds(answer.latency_ms)}",
        "n/a" if math.isnan(answer.low_ms) else interval,
        *((bound,) if bounded else ()),
    )


def print_operators(answer: Answer) -> None:
    """Print an answer's kernels, and what to change."""
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
