"""Every error that the rooms of phones raise says what to do next."""

import ast
import inspect
from pathlib import Path

import pytest

import latprof
from latprof import errors
from latprof.errors import ConnectionLostError, LatprofError, error_from_code

ROOT = Path(latprof.__file__).parent
PLACES = (
    *sorted((ROOT / "profilers/runtimes/android").rglob("*.py")),
    *(ROOT / "workflows" / f"{name}.py" for name in ("android", "devices", "doctor")),
)
#: Classes whose errors have no next step unless they are given one.
SILENT = {
    name
    for name, kind in vars(errors).items()
    if inspect.isclass(kind)
    and issubclass(kind, LatprofError)
    and "hint" in inspect.signature(kind).parameters
    and kind.usual_hint is None
}


def raised(path):
    """Errors that a file makes: the line, and the names of what the call is given."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
            continue
        is_text = isinstance(node.args[0], ast.JoinedStr | ast.Constant)
        if node.func.id in SILENT or (node.func.id == "kind" and is_text):
            yield node, {word.arg for word in node.keywords}


@pytest.mark.parametrize("path", PLACES, ids=lambda path: path.stem)
def test_every_error_of_a_phone_says_the_next_thing_to_do(path):
    without = [ast.unparse(node)[:200] for node, given in raised(path) if "hint" not in given]
    assert without == []


def test_errors_are_found():
    assert sum(len(list(raised(path))) for path in PLACES) > 50


def test_a_class_has_a_next_step_of_its_own_which_a_line_made_again_does_not_repeat():
    line = str(ConnectionLostError("it broke"))
    assert line == "it broke; check the cable or the network, and run the same command again"
    again = error_from_code(ConnectionLostError.code, line)
    assert (type(again), str(again)) == (ConnectionLostError, line)
    assert str(ConnectionLostError("it broke", hint="wait")) == "it broke; wait"
