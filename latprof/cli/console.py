"""What every command shares: options, output, and the line that an error becomes.

Results go to stdout, progress and errors to stderr; nothing is coloured outside a terminal.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from latprof.errors import LatprofError
    from latprof.measurement.visits import VisitCounts


def complete_space() -> list[str]:
    """Names of search spaces, for shell completion."""
    from latprof.registry import SPACES

    return SPACES.names(special=True)


def complete_target() -> list[str]:
    """Spellings of targets, for shell completion."""
    from latprof.registry import PROFILERS

    return PROFILERS.names()


def complete_pack() -> list[str]:
    """Names of the packs that come with latprof, for shell completion."""
    from latprof.predictors.pack.shipped import pack_names

    return pack_names()


def complete_predictor() -> list[str]:
    """Names of predictors, for shell completion."""
    from latprof.registry import PREDICTORS

    return PREDICTORS.names()


def complete_method() -> list[str]:
    """Names of search methods, for shell completion."""
    from latprof.registry import SEARCHERS

    return SEARCHERS.names(special=True)


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Seed = Annotated[
    int, typer.Option(help="Seed of every random choice; the same seed gives the same result.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="[INPUT=]N,C,H,W",
        help="Shape of a model's input with dynamic dimensions; repeat for each input.",
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=FILE.npy",
        help="NumPy file with the values of a model's input; repeat for each input.",
    ),
]
OwnSpace = Annotated[
    str | None,
    typer.Option(
        "--space",
        metavar="MODULE:NAME",
        help="Your own search space: a class, a space, or a function that returns one; MODULE may "
        "be a file, as lab/mine.py.",
    ),
]
StoreFile = Annotated[
    str, typer.Argument(metavar="STORE", help="A store: a file or a database URL.")
]
StoredTargetName = Annotated[
    str | None,
    typer.Option(
        "--target",
        help="Which of the store's targets, where it holds several: its spelling or a part of "
        "its description.",
    ),
]


#: Of what ``--json`` prints; grows when a key goes or changes its meaning.
SCHEMA_VERSION = 2


def print_json(value: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Print one JSON document, each object with the schema's version; not finite becomes null."""
    version = {"schema_version": SCHEMA_VERSION}
    document: Any = (
        version | dict(value)
        if isinstance(value, Mapping)
        else [version | dict(each) for each in value]
    )
    typer.echo(json.dumps(_finite(document), indent=2))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not (float("-inf") < value < float("inf")):
        return None
    return value


#: Begins a line of a table while tables are printed as Markdown; no text has it.
TABLE_MARK = "\0"
_in_markdown = False
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&#])")


@contextlib.contextmanager
def tables_as_markdown() -> Iterator[None]:
    """Have tables printed as Markdown, each line behind :data:`TABLE_MARK`."""
    global _in_markdown  # noqa: PLW0603 - of what this process prints
    _in_markdown = True
    try:
        yield
    finally:
        _in_markdown = False


def is_markdown() -> bool:
    """Whether tables are printed as Markdown, where no drawing of characters keeps its shape."""
    return _in_markdown


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, width: int = 0
) -> None:
    """Print aligned columns: the first ``left`` to the left, the others to the right.

    With a ``width`` in characters the last column is wrapped.
    """
    lines = [list(header), *([one_line(cell) for cell in row] for row in rows)]
    if _in_markdown:
        sides = [":---" if column < left else "---:" for column in range(len(header))]
        escaped = [[_SPECIAL.sub(r"\\\1", cell) for cell in line] for line in lines]
        for cells in (escaped[0], sides, *escaped[1:]):
            typer.echo(f"{TABLE_MARK}| {' | '.join(cells)} |")
        return
    if width:
        lines = _wrapped(lines, width)
    widths = [max(_columns(line[column]) for line in lines) for column in range(len(header))]
    for number, line in enumerate(lines):
        cells = []
        for column, cell in enumerate(line):
            space = " " * (widths[column] - _columns(cell))
            cells.append(cell + space if column < left else space + cell)
        text = "  ".join(cells).rstrip()
        typer.secho(text, bold=number == 0)


def _columns(text: str) -> int:
    """The columns that a terminal takes for a text: two for a wide letter, none for its accents."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    widths = (2 if east_asian_width(letter) in "WF" else 1 for letter in text)
    return sum(widths) - sum(category(letter) in {"Mn", "Me"} for letter in text)


def _wrapped(lines: list[list[str]], width: int) -> list[list[str]]:
    from textwrap import wrap

    before = sum(max(map(len, column)) + 2 for column in list(zip(*lines, strict=True))[:-1])
    found = []
    for line in lines:
        first, *more = wrap(line[-1], max(width - before, 20)) or [""]
        found.append([*line[:-1], first])
        found += [[*[""] * (len(line) - 1), text] for text in more]
    return found


def one_line(text: str) -> str:
    """Text from outside, with what would break a line or steer a terminal written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def note(text: str) -> None:
    """Print a line for people to stderr; a stderr that is full or closed ends no work."""
    from latprof.errors import without_passwords

    with contextlib.suppress(OSError):
        typer.echo(one_line(without_passwords(text)), err=True)


def remark(text: str) -> None:
    """Print a workflow's remark to stderr."""
    note(f"latprof: {text}")


def remark_on_visits(visits: VisitCounts | None) -> None:
    """Say on stderr what a result lacks of the visits that were planned for it."""
    for text in () if visits is None else visits.notes():
        remark(text)


#: Bytes of an error's line, without what stands before it.
_MOST_BYTES = 990


def print_error(error: LatprofError, text: str = "") -> None:
    """Print an error, or ``text`` in its place, as one line of at most 1,000 bytes on stderr."""
    from latprof.errors import shortened

    line = one_line(f"{text or error} [{error.code}]")
    while (size := len(line.encode(errors="replace"))) > _MOST_BYTES:
        line = shortened(line, len(line) * _MOST_BYTES // size)  # letters of several bytes
    with contextlib.suppress(OSError):  # stderr is full or closed: the exit status says it
        typer.echo(typer.style("latprof: ", bold=True) + line, err=True)


def parse_shapes(texts: Sequence[str] | None) -> dict[str | None, tuple[int, ...]]:
    """Read ``--shape`` options; the key None is a shape without a name, for the only input."""
    from latprof.errors import InvalidValueError
    from latprof.graph.reader import parse_shape

    shapes: dict[str | None, tuple[int, ...]] = {}
    for name, shape in map(parse_shape, texts or []):
        if name in shapes:
            raise InvalidValueError(
                "two shapes for one input", field="shape", got=name or "two without a name"
            )
        shapes[name] = shape
    return shapes


def parse_inputs(texts: Sequence[str] | None) -> dict[str, str]:
    """Read ``--input`` options: files by the names of inputs."""
    from latprof.errors import InvalidValueError

    inputs: dict[str, str] = {}
    for text in texts or []:
        name, equals, file = text.rpartition("=")
        if not equals or not name or not file or name in inputs:
            raise InvalidValueError(
                "two files for one input" if name in inputs else "not a file of an input",
                field="input",
                expected="NAME=FILE.npy",
                got=text,
            )
        inputs[name] = file
    return inputs


def parse_share(text: str, option: str) -> float:
    """Read a share: ``"1%"`` or ``"0.01"``; raises UsageError for what is not above 0, below 1."""
    from latprof.common.limits import read_number

    number, percent, rest = text.strip(" ").partition("%")
    share = (read_number(number) or 0) / (100 if percent else 1)
    if rest or not 0 < share < 1:
        from latprof.errors import UsageError

        raise UsageError(
            f"`{option}` is not a share",
            field=option,
            expected=f"for example {'95% or 0.95' if option == 'upper' else '1% or 0.01'}",
            got=text,
        )
    return share


#: A century: longer is a mistake.
_LONGEST_S = 100 * 366 * 86400
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str, option: str) -> float:
    """Read seconds from ``"90"``, ``"90s"``, ``"30m"`` or ``"2h"``; or raise UsageError."""
    from latprof.common.limits import read_number

    stripped = text.strip(" ")
    unit = _UNITS_S.get(stripped[-1:], 0)
    seconds = (read_number(stripped[:-1] if unit else stripped) or 0) * (unit or 1)
    if not 0 < seconds <= _LONGEST_S:
        from latprof.errors import UsageError

        raise UsageError(
            "not a duration", field=option, expected="for example 90s, 30m or 2h", got=text
        )
    return seconds


def is_terminal() -> bool:
    """Whether a person is looking at stderr."""
    return sys.stderr.isatty()
