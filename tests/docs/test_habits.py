"""The table of docs/habits.md: 21 lines, whose options are those of the commands that they name."""

import re

import typer
from documents import ROOT

from latprof.cli.main import app

ROWS = [
    line.strip("|").split("|")
    for line in (ROOT / "docs" / "habits.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| habit ")
]


def test_there_are_21_habits_and_each_option_exists():
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    known = {name for c in commands.values() for p in c.params for name in p.opts}
    assert len(ROWS) == 21
    for habit, how in ROWS:
        options = set(re.findall(r"`(?:[a-z-]+ )?(--[a-z-]+)", how))
        assert options <= known | {"--help", "--install-completion", "--dump-config"}, habit
