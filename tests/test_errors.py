"""The error tree: what its docstring draws is what exists."""

import re

import pytest

from latprof import errors
from latprof.errors import CoverageError, LatprofError, MissingDependencyError, UnknownNameError

_ROW = re.compile(
    r"^ {4}(?P<branch>[│ ├└─]*)(?P<name>\w+Error) +(?P<code>[\w-]+) +(?P<status>\d+)$"
)


def _drawn():
    """Rows of the docstring's tree as (name, parent, code, exit status); the root has no row."""
    rows, parents = [], {-1: "LatprofError"}
    for line in errors.__doc__.splitlines():
        match = _ROW.match(line)
        if match:
            depth = len(match["branch"]) // 4 - 1
            parents[depth] = match["name"]
            rows.append((match["name"], parents[depth - 1], match["code"], int(match["status"])))
    return rows


def _real():
    found, waiting = [], [LatprofError]
    while waiting:
        parent = waiting.pop()
        for cls in parent.__subclasses__():
            if cls.__module__ == errors.__name__:
                found.append((cls.__name__, parent.__name__, cls.code, cls.exit_status))
                waiting.append(cls)
    return found


def test_the_drawn_tree_is_the_real_one():
    drawn = _drawn()

    assert len(drawn) > 20
    assert sorted(drawn) == sorted(_real())


def test_codes_are_unique():
    codes = [code for _, _, code, _ in _real()]

    assert len(codes) == len(set(codes))


def test_exit_statuses_are_the_documented_ones():
    documented = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}

    assert {status for *_, status in _real()} <= documented


@pytest.mark.parametrize("name", [name for name, *_ in _real()])
def test_every_error_is_documented(name):
    assert getattr(errors, name).__doc__.strip()


def test_an_error_reads_as_one_line_with_what_where_and_what_next():
    error = LatprofError(
        "the file\nis odd", field="f", expected="1", got="2", hint="try again\twith 1"
    )

    assert str(error) == "the file is odd (expected 1, got 2); try again with 1"
    assert error.to_dict() == {
        "code": "error",
        "exit_status": 1,
        "problem": "the file\nis odd",
        "field": "f",
        "expected": "1",
        "got": "2",
        "hint": "try again\twith 1",
    }


@pytest.mark.parametrize("words", ["x" * 300_000, "x " * 150_000], ids=["a word", "words"])
@pytest.mark.parametrize("long", [(0,), (2,), (0, 3), (0, 1, 2, 3)])
def test_long_parts_leave_the_short_ones_whole(long, words):
    parts = ["what happened", "this", "that", "do so"]
    for position in long:
        parts[position] = "é" * 10 + words + "end"
    error = LatprofError(parts[0], field="option", expected=parts[1], got=parts[2], hint=parts[3])
    assert len(str(error)) <= 960
    assert all(part in str(error) for part in parts if len(part) < 100)
    assert str(error).count("more characters") == len(long)
    assert all(len(str(value)) < 1000 for value in error.to_dict().values())


def test_a_name_as_long_as_a_file_is_quoted_in_short():
    error = LatprofError(f"Conv {'x' * 100_000!r} has no shape", hint=f"pass --shape {'y' * 999}=1")
    assert str(error).startswith("Conv 'xxx")
    assert "xxx' has no shape; pass --shape yyy" in str(error)
    assert len(str(error)) < 450


def test_an_unknown_name_suggests_the_closest_and_lists_all():
    error = UnknownNameError("space", "proxyles", ["proxyless", "fbnet"])

    assert (
        str(error) == "unknown space 'proxyles'; did you mean 'proxyless'? known: fbnet, proxyless"
    )


def test_an_unknown_name_far_from_all_suggests_none():
    assert "did you mean" not in str(UnknownNameError("space", "zzz", ["proxyless"]))


def test_a_missing_dependency_names_the_extra():
    assert "pip install 'latprof[torch]'" in str(MissingDependencyError("torch", "torch", "x"))


def test_a_coverage_error_carries_what_is_missing():
    assert CoverageError("unknown", ["a", "b"]).missing == ("a", "b")


@pytest.mark.parametrize("kind", [getattr(errors, row[0]) for row in _real()])
def test_a_code_and_a_message_make_the_error_again(kind):
    found = errors.error_from_code(kind.code, "it went wrong")
    assert type(found) is kind
    assert (str(found), found.exit_status) == ("it went wrong", kind.exit_status)
    assert found.to_dict()["hint"] is None


def test_a_code_of_nobody_is_a_failure_of_the_runtime():
    assert type(errors.error_from_code("a-profilers-own", "odd")) is errors.RuntimeFailedError


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("no store at postgresql://me:hu@sh@h/db", "no store at postgresql://***@h/db"),
        ("'postgresql:/me:hush@h/db'", "'postgresql:***@h/db'"),
        ("mysql://me:hush", "mysql://***"),
        ("mysql://h:3306/db", "mysql://h:3306/db"),
        ("https://h/lib.aar?v=1&X-Amz-Security-Token=hush", None),
        ("x://h/y?password=hush&v=1", "x://h/y?password=***&v=1"),
        ("cpu:onnxruntime@lab and a@b", "cpu:onnxruntime@lab and a@b"),
    ],
)
def test_no_password_of_an_address_is_in_an_error(text, hidden):
    error = errors.UsageError(text, got=text)
    assert hidden in (None, error.problem)
    assert error.to_dict()["got"] == error.problem
    assert "hush" not in str(error)
