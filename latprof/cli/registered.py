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


#: Headings of the commands with most options, and the parameters under each; others stand first.
_OUTPUT = {"quiet", "as_json", "form", "output", "png", "export"}
_HOST = {"timeout_s", "wait_quiet", "require_quiet"}
_PANELS: dict[str, dict[str, set[str]]] = {
    "collect": {
        "What is measured": {"space", "zoo", "kernels", "n", "plan", "sources", "seed"}
        | {"resolution", "shapes", "inputs", "ops"},
        "How networks run": {"target", "batch_size", "threads", "cores", "dtype", "mode"}
        | {"tune_trials"},
        "Effort": {"visits", "half_width", "max_visits", "repeat_fraction", "time_limit"}
        | {"rounds", "burst_ms"},
        "A busy host": _HOST | {"known_constant"},
        "Several hosts": {"shard", "host_label", "farm", "pool", "keys", "queue_timeout"},
        "Output": {"store", "tag"} | _OUTPUT,
    },
    "search": {
        "What is searched": {"space", "pack", "latency", "limit_ms", "upper", "also"},
        "Accuracy": {"accuracy", "column", "data", "image_size", "epochs", "at_once"},
        "Method": {"method", "budget", "options", "seed"},
        "Measuring what is found": {"verify", "visits", "other_target"} | _HOST,
        "Output": {"store"} | _OUTPUT,
    },
}


class NamingCommand(TyperCommand):
    """A command whose options' help texts list registered names, as in ``"One of {spaces}."``."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        lists = _lists()
        for heading, under in _PANELS.get(self.name or "", {}).items():
            for parameter in self.params:
                if parameter.name in under and hasattr(parameter, "rich_help_panel"):
                    parameter.rich_help_panel = heading
        for parameter in self.params:
            text = getattr(parameter, "help", None) or ""
            for place, names in lists.items():
                text = text.replace(place, names)
            if text:
                parameter.help = text  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)
