"""What ``latprof predict`` prints for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import typer

from latprof.cli.console import note, print_table, remark
from latprof.common.short_reprs import first_names, whole_percent
from latprof.workflows.formatting import milliseconds, short_devices

if TYPE_CHECKING:
    from latprof.errors import LatprofError
    from latprof.predictors.pack.answering import Answer

#: Lines about what is not certain of one model.
_MOST_UNCERTAIN = 3
#: Lines of remarks.
_MOST_LINES = 3
#: Dtypes that a table does not name.
_USUAL = ("float32", "as published")


def print_answers(answers: list[Answer], upper: float | None, packs: list[str]) -> None:
    """Print the answers, each with its device where ``packs`` names theirs; notes on stderr."""
    shares = {answer.interval_coverage for answer in answers if answer.interval_coverage}
    interval = f"{max(shares):.0%} interval" if shares else "interval"
    bound = () if upper is None else (f"p{100 * upper:g} upper bound",)
    where = ("device", "runtime", "pack") if packs else ()
    short = short_devices(each.target.device_name for each in answers if each.target is not None)
    print_table(
        ("network", *where, "ms", interval, *bound, "coverage"),
        [
            (
                answer.name,
                *(_where(answer, short, packs[row]) if packs else ()),
                *answer_cells(answer, bounded=bool(bound)),
                whole_percent(answer.coverage),
            )
            for row, answer in enumerate(answers)
        ],
        left=1 + len(where),
    )
    targets = dict.fromkeys(answer.target for answer in answers if answer.target is not None)
    if targets and not packs:
        note(f"for {'; '.join(target.describe() for target in targets)}")
    _print_remarks([each for answer in answers for each in _remarks(answer)], len(answers))


def print_failures(failed: Mapping[str, LatprofError], asked: int) -> None:
    """Say why some of the networks have no answer: a line each, or one where they are many."""
    lines = [f"{name}: {error} [{error.code}]" for name, error in failed.items()]
    if len(lines) > _most_alone(asked):
        lines = [f"{len(lines)} networks have no answer: {'; '.join(lines)}"]
    for line in lines:
        remark(line)


def _most_alone(asked: int) -> int:
    """How many lines of one kind may stand: of many networks one, so that all are three at most."""
    return 1 if asked > _MOST_LINES else _MOST_LINES - 1


class _Remark(NamedTuple):
    """What is to be said of one answer: a sentence of its own, and what it shares with others."""

    name: str
    sentence: str
    shared: str


def _remarks(answer: Answer) -> Iterator[_Remark]:
    name = answer.name
    if answer.distance is not None and answer.distance > 1:
        yield _Remark(
            name,
            f"{name} lies outside the region of the training networks (distance "
            f"{answer.distance:.1f}; 99% of them are within 1): its interval may be too narrow",
            "outside the region of the training networks, so that intervals may be too narrow",
        )
    if answer.measured_here:
        count = answer.measured_here
        said = f"{name}: {count} of its kernels were measured on this host"
        yield _Remark(name, said, "with kernels that were measured on this host")
    more = len(answer.uncertain) - _MOST_UNCERTAIN
    for each in (*answer.uncertain[:_MOST_UNCERTAIN], *([f"and {more} more such"] * (more > 0))):
        yield _Remark(name, f"{name}: {each}", "not certain")
    if answer.differences:
        said = f"{name} differs from the pack: {'; '.join(answer.differences)}"
        yield _Remark(name, said, "different from the pack")
    missing = ", ".join(answer.unknown)
    if answer.how == "operators":
        missing = f"; not covered: {missing}" if missing else ""
        rough = "outside the pack's search space: rough estimate, summed from per-operator costs"
        yield _Remark(name, f"{name} is {rough}{missing}", rough)
    elif answer.is_guess and missing:
        known = "kernels outside the training range"
        yield _Remark(name, f"{name}: {known}: {missing}", f"with {known}")


def _print_remarks(remarks: Sequence[_Remark], answered: int) -> None:
    """A line each, or one line for all where they are many and of several networks."""
    few = answered <= _MOST_LINES and len({each.name for each in remarks}) == 1
    if few or len(remarks) <= _most_alone(answered):
        for each in remarks:
            note(each.sentence)
        return
    names: dict[str, list[str]] = {}
    for each in remarks:
        names.setdefault(each.shared, []).append(each.name)
    parts = []
    for shared, found in names.items():
        parts.append(f"{shared}: {first_names([*dict.fromkeys(found)])}")
    note(f"{'; '.join(parts)} (--json has the reasons)")


def _where(answer: Answer, short: Mapping[str, str], pack: str) -> tuple[str, str, str]:
    target = answer.target
    if target is None:
        return "unknown", "-", pack
    unusual = [
        *([] if target.precision in _USUAL else [target.precision]),
        *([f"batch {target.batch_size}"] if target.batch_size != 1 else []),
        *([f"{target.threads} threads"] if target.threads > 1 else []),
    ]
    mode = f" {target.mode}" if target.mode else ""
    return short[target.device_name], ", ".join((f"{target.runtime}{mode}", *unusual)), pack


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
