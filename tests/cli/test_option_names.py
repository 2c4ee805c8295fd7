"""Options are called what the documents call them."""

from typing import Any

import pytest
import typer

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
