"""What every command shares: options of several words, and errors in the options' names."""

import inspect
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import latprof
from latprof.cli.commands import spelled
from latprof.cli.main import app
from latprof.errors import UsageError
from latprof.workflows.learn_fusion import learn_fusion

GROUP: Any = typer.main.get_command(app)
COMMANDS = GROUP.commands
#: Functions of commands that are one room deep: ``latprof`` has as many names as it may have.
OF_A_ROOM = {"fusion": learn_fusion}


def parsed(command, *words):
    with COMMANDS[command].make_context(command, list(words)) as context:
        return context.params


@pytest.mark.parametrize(
    ("words", "sources", "models"),
    [
        (["--from", "a.pack", "b.pack", "--store", "new.db"], ["a.pack", "b.pack"], []),
        (["--from", "a.pack", "--from", "b.pack", "-n", "10"], ["a.pack", "b.pack"], []),
        (["--from=a.pack", "b.pack", "-n", "10", "--ops"], ["a.pack", "b.pack"], []),
        (["m.onnx", "--ops", "--from", "a.pack"], ["a.pack"], ["m.onnx"]),
        (["--from", "a.pack", "--ops", "m.onnx"], ["a.pack"], ["m.onnx"]),
        (["--from", "a.pack", "--", "m.onnx"], ["a.pack"], ["m.onnx"]),
        (["--seed", "1", "m.onnx", "n.onnx"], [], ["m.onnx", "n.onnx"]),
    ],
)
def test_an_option_takes_all_words_behind_it(words, sources, models):
    found = parsed("collect", *words)
    assert list(found["sources"] or []) == sources
    assert [str(path) for path in found["models"] or []] == models


@pytest.mark.parametrize(
    ("words", "sources"),
    [
        (["--from", "a.pack", "b.pack", "new.db", "-o", "x.pack"], ["a.pack", "b.pack"]),
        (["-o", "x.pack", "--from", "a.pack", "b.pack", "new.db"], ["a.pack", "b.pack"]),
        (["new.db", "--from", "a.pack", "b.pack"], ["a.pack", "b.pack"]),
        (["--from", "a.pack", "new.db"], ["a.pack"]),
        (["--from", "a.pack", "--from", "b.pack", "new.db"], ["a.pack", "b.pack"]),
        (["new.db"], []),
    ],
)
def test_words_that_an_argument_needs_are_left_to_it(words, sources):
    found = parsed("transfer", *words)
    assert (list(found["sources"] or []), found["store"]) == (sources, "new.db")


def test_an_error_names_the_commands_own_options():
    text = str(UsageError("`max_visits` is for `half_width`", hint="`sources` or `unheard_of`"))
    assert (
        spelled(text, COMMANDS["collect"])
        == "--max-visits is for --half-width; --from or unheard_of"
    )
    assert (
        spelled("one of `models` and `space`", COMMANDS["collect"])
        == "one of MODEL.onnx and --space"
    )


def test_an_error_about_one_value_begins_with_its_option():
    text = "batch_size is out of range (expected a whole number)"
    assert spelled(text, COMMANDS["collect"], "batch_size").startswith(
        "--batch-size is out of range"
    )
    assert spelled(text, COMMANDS["train"], "batch_size") == text


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"datasets", "farm"}))
def test_each_parameter_of_a_command_is_one_of_its_function(command):
    """So that errors, which name the function's parameters, find the options."""
    name = {"import": "import_runs"}.get(command, command)  # a word of Python's own
    function = OF_A_ROOM.get(command) or getattr(latprof, name.replace("-", "_"))
    wanted = set(inspect.signature(function).parameters) - {"run", "on_progress", "on_note"}
    options = {parameter.name for parameter in COMMANDS[command].params}
    assert wanted - options <= {
        *("kernels", "visits", "space"),  # of profile, whose command does without
        # what the command line has other words for
        *("on_error", "queue_timeout_s", "time_limit_s", "wait_quiet_s"),
        *("store", "target"),  # of doctor, which takes either as its word
        "advise",  # of predict, whose operators ask for it
        "chains",  # of fusion, which tries them all
    }


def test_the_help_needs_no_library_of_numbers():
    code = (
        "import sys, typer.main\nfrom latprof.cli.app import app\n"
        "assert len([*typer.main.get_command(app).commands.values()]) > 15\n"
        "print(*{'numpy', 'onnx', 'scipy', 'pandas', 'sqlalchemy', 'torch'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("command", ["collect", "search"])
def test_each_option_of_the_commands_with_most_has_a_heading(command):
    page = CliRunner().invoke(app, [command, "--help"]).stdout
    _, _, alone = page.partition("─ Options ")
    alone, _, grouped = alone.partition("╰")
    assert [word for word in alone.split() if word.startswith("--")] == ["--help"]
    assert "--store" in grouped
