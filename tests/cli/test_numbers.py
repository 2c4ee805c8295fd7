"""Every number that a command takes is a plain number within its limits, or one line says what is.

The options and arguments are read from the commands themselves, so that a later one is tried too.
"""

import typing

import pytest
import typer
from calls import CALLS, STARTED, made_folder, stop_what_takes_long

from latprof.cli.app import app

#: What else an option needs.
WITH = {
    ("collect", "max_visits"): "--half-width 1%",
    ("profile", "max_visits"): "--half-width 1%",
    ("search", "wait_quiet"): "--verify --other-target",
    ("collect", "tune_trials"): "--target cpu:tvm",
    ("search", "image_size"): "--data digits",
    ("search", "epochs"): "--data digits",
}
#: Another call for an option that the usual one does not take.
INSTEAD = {
    ("collect", "shapes"): "{}/m.onnx --store {}/new.db",
    ("profile", "shapes"): "{}/m.onnx",
    ("compare", "shapes"): "{}/m.onnx {}/m.onnx",
    ("predict", "shapes"): "{}/m.onnx",
    ("farm", "port"): "start",
}
#: Text that holds numbers, by its metavar, with how a number stands in it.
TEXTS = {
    "I,J": "{}",
    "1%": "{}%",
    "95%": "{}%",
    "2h": "{}h",
    "5m": "{}m",
    "1,2,4": "{}",
    "1,2": "{}",
    "CONDITION": "> {} ms",
    "[INPUT=]N,C,H,W": "1,3,{},8",
}
#: Values that nothing takes (tests/common/test_limits.py has more spellings), and some do.
NEVER = ["nan", "1e400", "-1", "1_000", "\uff11\uff12", "one"]
SOMETIMES = {
    "": {"time_limit", "half_width", "wait_quiet", "streams", "cores", "predict upper"},
    "inf": {"limit_ms"},
    "1" * 30: {"limit_ms"},
    "0": {"repeat_fraction", "seed", "cores", "shapes", "search upper", "farm port"},
    "-0": {"repeat_fraction", "seed", "cores", "search upper", "farm port"},
}


def numbers():
    group: typing.Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        hints = typing.get_type_hints(command.callback)
        for option in command.params:
            kinds = {hints[option.name], *typing.get_args(hints[option.name])}
            if kinds & {int, float}:
                yield name, option, "{}"
            elif option.metavar in TEXTS:
                yield name, option, TEXTS[option.metavar]


NUMBERS = list(numbers())


def ids(value):
    return value.name if hasattr(value, "opts") else str(value)


def run(latprof, folder, command, option, word):
    call = INSTEAD.get((command, option.name)) or CALLS[command]
    words = call.format(*[folder] * 3).split() + WITH.get((command, option.name), "").split()
    if option.param_type_name == "argument":
        words.append(word)
    else:
        words.append(f"{option.opts[-1]}={word}" if option.opts[-1].startswith("--") else "")
        if not words[-1]:
            words[-1:] = [option.opts[-1], word]
    return latprof(command, *words)


@pytest.fixture(scope="module")
def folder(collected, tmp_path_factory):
    return made_folder(tmp_path_factory.mktemp("numbers"), collected)


@pytest.fixture
def _stopped(monkeypatch):
    stop_what_takes_long(monkeypatch.setattr)


@pytest.mark.usefixtures("_stopped")
@pytest.mark.parametrize(("command", "option", "text"), NUMBERS, ids=ids)
def test_each_number_is_taken_or_refused_in_one_line(latprof, folder, command, option, text):
    wrong = []
    for value in [*NEVER, *SOMETIMES]:
        may = {option.name, f"{command} {option.name}"} & SOMETIMES.get(value, set())
        done = run(latprof, folder, command, option, text.format(value) if value else "")
        took = done.returncode in {0, STARTED}
        refused = done.returncode == 2 and done.stderr.count("\n") == 1 and len(done.stderr) <= 1000
        if not ((took and may) or (refused and not may)):
            wrong.append((value[:40], done.returncode, done.stderr[-300:]))
    assert not wrong
