"""Ranges of sizes in ``latprof predict --shape``, and what it prints of the curve over them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import typer

from latprof.cli.console import note, one_line, print_table
from latprof.cli.predict_output import answer_cells
from latprof.common.short_reprs import whole_percent
from latprof.errors import InvalidValueError
from latprof.workflows.formatting import milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latprof.predictors.pack.curve import Curve, CurvePoint
    from latprof.workflows.predict_curve import Dimension

_RANGE = re.compile(r"([0-9]{1,11})\.\.([0-9]{1,11})(?:\.\.([0-9]{1,11}))?")
_SIZE = re.compile(r"[0-9]{1,11}")
#: Sizes of one range.
_MOST = 256


def has_range(texts: Sequence[str] | None) -> bool:
    """Whether a ``--shape`` has a dimension such as ``1..32``."""
    return any(".." in text.rpartition("=")[2] for text in texts or ())


def parse_ranges(texts: Sequence[str] | None) -> dict[str | None, tuple[Dimension, ...]]:
    """Read ``--shape`` options with ranges: ``"input=1..32,3,224,224"``.

    ``1..32`` doubles from 1 to 32, ``128..512..64`` goes in steps of 64; the end always belongs to
    it. The key None is a shape without a name. Raises InvalidValueError for anything else.
    """
    shapes: dict[str | None, tuple[Dimension, ...]] = {}
    for text in texts or ():
        name, equals, sizes = text.rpartition("=")
        parts = [part.strip(" ") for part in sizes.replace("x", ",").split(",")]
        if (equals and not name.strip()) or not all(map(_is_dimension, parts)):
            raise InvalidValueError(
                f"not a shape: {text!r}",
                field="shapes",
                expected="NAME=1,3,224,224, with ranges such as 1..32 (doubling) or "
                "128..512..64 (in steps)",
            )
        key = name.strip() if equals else None
        if key in shapes:
            raise InvalidValueError(
                "two shapes for one input", field="shapes", got=key or "two without a name"
            )
        shapes[key] = tuple(map(_dimension, parts))
    return shapes


def _is_dimension(text: str) -> bool:
    return bool(_SIZE.fullmatch(text) or _RANGE.fullmatch(text))


def _dimension(text: str) -> Dimension:
    found = _RANGE.fullmatch(text)
    if found is None:
        return int(text)
    low, high = int(found[1]), int(found[2])
    step = None if found[3] is None else int(found[3])
    if low > high or step == 0 or (step and (high - low) // step >= _MOST):
        raise InvalidValueError(
            f"not a range: {text}",
            field="shapes",
            expected=f"LOW..HIGH or LOW..HIGH..STEP, at most {_MOST} sizes",
        )
    sizes = []
    size = low
    while size < high:
        sizes.append(size)
        size = size + step if step else max(2 * size, 1)
    return (*sizes, high)


def print_curve(curve: Curve, upper: float | None) -> None:
    """Print the latency at each size."""
    shares = {a.interval_coverage for _, a in curve.answered if a.interval_coverage}
    interval = f"{max(shares):.0%} interval" if shares else "interval"
    bound = () if upper is None else (f"p{100 * upper:g} upper bound",)
    rates = ("ms an item", "items/s") if curve.batch_axis else ()
    typer.echo(f"{one_line(curve.name)}\n")
    print_table(
        (*map(one_line, curve.axes), "ms", interval, *bound, *rates, "coverage", ""),
        [_row(curve, point, bounded=upper is not None) for point in curve.points],
        left=0,
    )
    answers = [answer for _, answer in curve.answered]
    for target in dict.fromkeys(a.target for a in answers if a.target is not None):
        note(f"for {target.describe()}")
    for difference in dict.fromkeys(d for answer in answers for d in answer.differences):
        note(f"differs from the pack: {difference}")
    guesses = sum(answer.is_guess for answer in answers)
    if guesses:
        missing = ", ".join(dict.fromkeys(name for answer in answers for name in answer.unknown))
        note(f"{guesses} of {len(answers)} are guesses; not covered: {missing or 'their sizes'}")


def _row(curve: Curve, point: CurvePoint, *, bounded: bool) -> tuple[str, ...]:
    sizes, answer = tuple(map(str, point.sizes)), point.answer
    if answer is None:
        failure = "" if point.failure is None else f"{point.failure.message} [{point.failure.code}]"
        blank = 2 + bounded + (2 if curve.batch_axis else 0) + 1
        return (*sizes, *[""] * blank, failure)
    rates: tuple[str, ...] = ()
    batch, rate = curve.batch_of(point), curve.throughput(point)
    if batch is not None and rate is not None:
        rates = (milliseconds(answer.latency_ms / batch) if batch else "n/a", f"{rate:.1f}")
    return (
        *sizes,
        *answer_cells(answer, bounded=bounded),
        *rates,
        whole_percent(answer.coverage),
        "",
    )
