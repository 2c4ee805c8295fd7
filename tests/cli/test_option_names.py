"""Options are called what the documents call them."""

import re
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from latprof.cli.main import app

GROUP: Any = typer.main.get_command(app)
COMMANDS = GROUP.commands


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_option_is_in_small_letters(command):
    # Typer 0.27 names an option after its metavar where only capitals tell the two apart.
    options = [
        name
        for parameter in COMMANDS[command].params
        if parameter.param_type_name == "option"
        for name in parameter.opts
    ]
    assert options
    assert [name for name in options if name != name.lower()] == []


@pytest.mark.parametrize("name", ["collect", "search"])
def test_every_option_of_a_long_help_stands_under_a_heading(name):
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "100"}).stdout
    panels = dict(re.findall(r"^╭─ (.+?) ─+╮$(.+?)^╰", shown, re.MULTILINE | re.DOTALL))
    assert len(panels) > 5
    assert re.findall(r"^│ .{0,4}(--[a-z-]+)", panels["Options"], re.MULTILINE) == ["--help"]
