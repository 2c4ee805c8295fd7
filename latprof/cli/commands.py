"""What a command does beyond its function: options of several words, errors, exit statuses."""

from __future__ import annotations

import inspect
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from latprof.cli.configuration import defaults_for
from latprof.cli.console import note, one_line, print_error
from latprof.cli.registered import NamingCommand
from latprof.cli.signals import say_when_left
from latprof.common.limits import read_number
from latprof.errors import (
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    InvalidValueError,
    LatprofError,
    did_you_mean,
    shortened,
    without_passwords,
)

_RESUME = "latprof: interrupted; rerun the same command to resume"
_NUMBERS = {int, float}
_NAMED = re.compile(r"`(\w+)`")
_NOT_ONE_OF = re.compile("'(.*?)' is not one of (.*)", re.DOTALL)


class Commands(TyperGroup):
    """All commands, each imported and read when it is called.

    A message about how they are called quotes no more than a line or two.
    """

    #: Of each command its heading in ``--help``, and ``module:function`` within ``latprof.cli``.
    table: ClassVar[dict[str, tuple[str, str]]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Loaded(self.table)  # type: ignore[assignment] # nothing is added

    def list_commands(self, _ctx: Any) -> list[str]:
        """Their names, none of them loaded."""
        return list(self.table)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the page, for which nobody needs the commands' own options."""
        loaded, self.commands = self.commands, {name: self._line(name) for name in self.table}
        try:
            super().format_help(ctx, formatter)
        finally:
            self.commands = loaded

    def _line(self, name: str) -> TyperCommand:
        panel, where = self.table[name]
        return TyperCommand(name, help=inspect.getdoc(_function(where)), rich_help_panel=panel)

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command line, standard streams that are closed first put to nothing.

        Else the next file that is opened would be taken for them, and be printed into. Letters that
        a terminal's encoding lacks are escaped.
        """
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)
            if getattr(sys, name) is None:  # Python's name for a stream that was closed
                setattr(sys, name, Path(os.devnull).open("w" if number else "r", encoding="utf-8"))  # noqa: SIM115
            if number and isinstance(stream := getattr(sys, name), io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*arguments, **options)

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the words before the command."""
        with _short_messages():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Read the command's own words and run it."""
        with _short_messages():
            return super().invoke(ctx)


class _Loaded(Mapping[str, Any]):
    """Commands of a table by their names, each made when it is first asked for."""

    def __init__(self, table: Mapping[str, tuple[str, str]]) -> None:
        self._table, self._made = table, dict[str, Any]()

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            panel, where = self._table[name]
            alone = typer.Typer(
                add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False
            )
            alone.command(name, cls=Command, rich_help_panel=panel)(_function(where))
            self._made[name] = typer.main.get_command(alone)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def _function(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(import_module(f"latprof.cli.{module}"), name)


@contextmanager
def _short_messages() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Of typer's own exceptions; their classes are no public names.
        if isinstance(message := getattr(error, "message", None), str):
            if found := _NOT_ONE_OF.search(message):
                guess = did_you_mean(found[1], re.findall("'(.*?)'", found[2]))
                message = f"{message.rstrip('.')}; {guess}" if guess else message
            error.message = one_line(shortened(without_passwords(message)))  # type: ignore[attr-defined]
        raise


class Command(NamingCommand):
    """A command whose errors name its options, and whose options may take several words.

    ``--from A B`` is ``--from A --from B`` for an option whose metavar ends in ``...``. Words that
    the command's own arguments still need are left to them: the last ones.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat options of several words for each of their words; numbers are plain ones."""
        words = self._one_word_each(args)
        given = self.make_parser(ctx).parse_args([*words])[0]
        self._check_numbers(given)
        if not (ctx.resilient_parsing or given.get("help")):
            with self._errors_in_one_line():
                ctx.default_map = defaults_for(self.name or "", given)
        return super().parse_args(ctx, words)

    def _check_numbers(self, given: Mapping[str, Any]) -> None:
        """Raise InvalidValueError for a word that is no number where one is asked for."""
        kinds = get_type_hints(self.callback)
        for parameter in self.params:
            found = {kinds.get(parameter.name or ""), *get_args(kinds.get(parameter.name or ""))}
            words = given.get(parameter.name or "")
            for word in (words if isinstance(words, list) else [words]) if found & _NUMBERS else ():
                is_whole = int in found
                if isinstance(word, str) and read_number(word, is_whole=is_whole) is None:
                    raise InvalidValueError(
                        f"{_spelling(parameter)} is no number",
                        field=parameter.name,
                        expected="a whole number" if is_whole else "a number",
                        got=repr(word),
                    )

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error becomes one line and the documented exit status."""
        from latprof.common.own_code.calling import called_by_command

        with (
            self._errors_in_one_line(ctx.params),
            called_by_command(lambda text: note(f"latprof: {text}")),
        ):
            return super().invoke(ctx)

    @contextmanager
    def _errors_in_one_line(self, given: Mapping[str, Any] | None = None) -> Iterator[None]:
        try:
            yield
        except LatprofError as error:
            print_error(error, spelled(str(error), self, error.field))
            if (given or {}).get("form") == "junit" and error.exit_status != EXIT_USAGE:
                self._print_as_test_case(error, given or {})
            raise typer.Exit(error.exit_status) from None
        except typer.Exit:
            raise
        except (Exception, SystemExit) as error:
            from latprof.common.own_code.calling import error_of_own_code
            from latprof.registry import registered_roots

            found = error_of_own_code(error, registered_roots())
            if found is None:
                raise
            print_error(found)
            raise typer.Exit(found.exit_status) from None

    def _print_as_test_case(self, error: LatprofError, given: Mapping[str, Any]) -> None:
        """Print JUnit's XML of what has no verdict: who reads it would find nothing else."""
        from latprof.cli.formats import print_junit
        from latprof.measurement.budgets import BudgetResult

        words = [given.get(p.name or "") for p in self.params if p.param_type_name == "argument"]
        named = " ".join(w if isinstance(w, str) else " ".join(w) for w in words if w)
        print_junit(self.name or "", BudgetResult(), {shortened(named): error})

    def _one_word_each(self, args: list[str]) -> list[str]:
        options = {
            name: option
            for option in self.params
            if isinstance(option, TyperOption)
            for name in (*option.opts, *option.secondary_opts)
        }
        several = {name for name, o in options.items() if (o.metavar or "").endswith("...")}
        needed = sum(p.required for p in self.params if p.param_type_name == "argument")
        found: list[str] = []
        extra: list[int] = []  # positions in found of words behind an option's first one
        current = ""
        taken = alone = 0
        for number, word in enumerate(args):
            if word == "--":
                found += args[number:]
                alone += len(args) - number - 1
                break
            if word.startswith("-") and word != "-":
                name, equals, _ = word.partition("=")
                option = options.get(name)
                current = name if name in several else ""
                taken = int(option is not None and not option.is_flag and not equals)
                found.append(word)
            elif taken:
                taken = 0
                found.append(word)
            elif current:
                extra.append(len(found) + 1)
                found += [current, word]
            else:
                alone += 1
                found.append(word)
        # What the arguments lack is taken from the end of the words of options.
        for position in extra[max(len(extra) - max(needed - alone, 0), 0) :][::-1]:
            del found[position - 1]
        return found


def spelled(text: str, command: TyperCommand, field: str | None = None) -> str:
    """An error's text with the command's options where it names parameters.

    A sentence names them in backquotes, and may begin with the one at fault, ``field``.
    """
    names = {parameter.name or "": _spelling(parameter) for parameter in command.params}
    if field is not None and field in names and text.startswith(f"{field} "):
        text = f"`{field}`{text.removeprefix(field)}"
    return _NAMED.sub(lambda found: names.get(found[1], found[1]), text)


def _spelling(parameter: Any) -> str:
    """What a person writes: the option, or the argument's place in the usage line."""
    if parameter.param_type_name == "option":
        return str(parameter.opts[0])
    return str(parameter.metavar or parameter.name.upper())


class Result(Protocol):
    """What a workflow returns, where it may end a command with another status than 0."""

    @property
    def exit_status(self) -> int:
        """The documented exit status."""


def finish(result: Result) -> None:
    """Leave with the result's exit status."""
    if result.exit_status:
        raise typer.Exit(result.exit_status)


@contextmanager
def resumable() -> Iterator[None]:
    """Work that a signal ends with a line, also where a library made an error of it."""
    say_when_left(_RESUME)
    try:
        yield
    except BaseException as error:
        if isinstance(error, LatprofError) or not _interrupted(error):
            raise
        note(_RESUME)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _interrupted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
