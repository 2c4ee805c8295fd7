"""Registered names in help texts, gathered when somebody asks for help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand


def _list(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _lists() -> dict[str, str]:
    """What stands in help texts, and the names that come in its place."""
    from latprof.registry import PREDICTORS, PROFILERS, SEARCHERS, SPACES

    return {
        "{spaces}": _list(SPACES.names(special=True)),
        "{targets}": _list(PROFILERS.names()),
        "{predictors}": _list(PREDICTORS.names()),
        "{methods}": _list(SEARCHERS.names()),
        "{gradient methods}": _list(sorted(SEARCHERS.special)),
    }


class NamingCommand(TyperCommand):
    """A command whose options' help texts list registered names, as in ``"One of {spaces}."``."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        lists = _lists()
        for parameter in self.params:
            text = getattr(parameter, "help", None) or ""
            for place, names in lists.items():
                text = text.replace(place, names)
            if text:
                parameter.help = text  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)
