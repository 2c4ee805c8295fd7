"""``--format``: one result as a table, JSON, CSV, Markdown and JUnit's XML."""

import csv
import io
import json
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from latprof.cli.app import app
from latprof.cli.formats import Form, csv_text, print_as, print_junit
from latprof.errors import ModelFileError
from latprof.measurement.budgets import Budget, BudgetResult

MEMBER = "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"
OTHER = "0,6,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"


def run(*words):
    return CliRunner().invoke(app, list(words))


def rows_of(text):
    return [*csv.DictReader(io.StringIO(text))]


def test_a_prediction_is_the_same_in_every_format():
    as_json = json.loads(run("predict", MEMBER, OTHER, "--format", "json").stdout)
    assert as_json == json.loads(run("predict", MEMBER, OTHER, "--json").stdout)
    rows = rows_of(run("predict", MEMBER, OTHER, "--format", "csv").stdout)
    assert [float(row["latency_ms"]) for row in rows] == [one["latency_ms"] for one in as_json]
    assert rows[0]["target.runtime"] == as_json[0]["target"]["runtime"]
    table = run("predict", MEMBER, OTHER).stdout.splitlines()
    markdown = run("predict", MEMBER, OTHER, "--format", "md").stdout.splitlines()
    assert [len(line.split("|")) for line in markdown] == [6] * 4  # a header, a rule, two rows
    for plain, line in zip(table[1:], markdown[2:], strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells == [cell.strip() for cell in plain.split("  ") if cell.strip()]


def test_budgets_become_test_cases_and_a_file_without_an_answer_an_error(tmp_path):
    missing = str(tmp_path / "none.onnx")
    budgets = ("--fail-if", "> 0.001 ms", "--fail-if", "> 900 ms")
    done = run("predict", MEMBER, missing, *budgets, "--format", "junit")
    assert done.exit_code == 1
    (suite,) = ET.fromstring(done.stdout)
    assert dict(suite.attrib) == {
        "name": "latprof predict",
        "tests": "3",
        "failures": "1",
        "errors": "1",
        "skipped": "0",
    }
    kinds = [[child.tag for child in case] for case in suite]
    assert kinds == [["failure"], ["system-out"], ["error"]]
    assert "broken" in suite[0][0].get("message")
    assert suite[2].get("name") == missing


def test_a_command_that_ends_in_an_error_leaves_a_test_case_too(tmp_path):
    missing = str(tmp_path / "none.onnx")
    for command in ("predict", "profile"):
        done = run(command, missing, "--fail-if", "> 5 ms", "--format", "junit")
        (suite,) = ET.fromstring(done.stdout)
        assert done.exit_code == 3
        assert [(case.get("name"), case[0].tag) for case in suite] == [(missing, "error")]
        assert "none.onnx" in suite[0][0].get("message")
    assert run("predict", missing, "--fail-if", "x", "--format", "junit").stdout == ""  # usage


def test_each_pack_has_a_verdict_of_its_own():
    words = ("predict", MEMBER, "--all", "--fail-if", "> 5 ms", "--format")
    rows = json.loads(run(*words, "json").stdout)
    (suite,) = ET.fromstring(run(*words, "junit").stdout)
    names = [case.get("name") for case in suite]
    assert names == [f"{row['name']} by {row['pack']}: at most 5 ms" for row in rows]
    assert len(set(names)) == len(names) > 1


@pytest.mark.parametrize(
    ("allow_open", "expected"), [(False, ["failure", "error"]), (True, ["skipped", "error"])]
)
def test_what_is_not_shown_fails_unless_it_is_allowed(allow_open, expected, capsys):
    budget, nan = Budget.parse("> 5 ms"), float("nan")
    verdicts = (budget.judge("a<b>", 4.0, 6.0, "x"), budget.judge("c", nan, nan, "x"))
    print_junit("profile", BudgetResult(verdicts, allow_open), {"d": ModelFileError("gone")})
    (suite,) = ET.fromstring(capsys.readouterr().out)
    assert [case[0].tag for case in suite] == [*expected, "error"]
    assert suite[0].get("name") == "a<b>: at most 5 ms"


@pytest.mark.parametrize("form", Form)
def test_what_fails_is_seen_where_stdout_goes_into_a_file(form):
    words = ("predict", "--format", form, "--fail-if", "> 900 ms", "--fail-if", "> 0.001 ms")
    broken = "at most 0.001 ms: broken: "
    done = run(*words, MEMBER)
    assert done.exit_code == 1
    for_people = form in {Form.TABLE, Form.MD}
    assert (broken in done.stderr) is not for_people
    assert broken in done.stdout + done.stderr
    many = run(*words, *[MEMBER, OTHER] * 20).stderr
    assert ("40 of 80 budgets are not kept: " in many) is not for_people
    assert len(many.splitlines()) <= 3


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("predict", MEMBER, "--format", "junit"), "--format junit prints the verdicts"),
        (("devices", "--format", "junit"), "--format junit prints the verdicts"),
        (("packs", "--json", "--format", "csv"), "--json is short for --format json"),
    ],
)
def test_formats_that_say_nothing_are_refused_before_any_work(words, part):
    done = run(*words)
    assert done.exit_code == 2
    assert part in done.stderr


def test_every_command_that_prints_json_has_every_format():
    import typer

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    with_json = {
        name: {option for each in command.params for option in each.opts}
        for name, command in commands.items()
        if any("--json" in each.opts for each in command.params)
    }
    assert len(with_json) > 12
    assert [name for name, options in with_json.items() if "--format" not in options] == []


def test_rows_of_csv_are_flat_and_no_spreadsheet_runs_them():
    row = {
        "name": "=cmd()",
        "low_ms": float("nan"),
        "ok": True,
        "none": None,
        "target": {"runtime": "r", "input_shape": [1, 3]},
        "shapes_of": {"image": [1, 3, 8, 8]},
        "seeds": [1, 3],
        "shapes": [[1, 3, 8, 8], [8]],
        "points": [{"a": 1}],
        "text": "two\nlines\r",
    }
    (read,) = rows_of(csv_text([row]))
    assert read == {
        "name": "'=cmd()",
        "low_ms": "",
        "ok": "true",
        "none": "",
        "target.runtime": "r",
        "target.input_shape": "1x3",
        "shapes_of.image": "1x3x8x8",
        "seeds": "1; 3",
        "shapes": "1x3x8x8; 8",
        "text": "two\\nlines\\r",
    }


def test_rows_of_a_key_have_the_columns_of_the_whole_before_them(capsys):
    document = {"latency_ms": 3.0, "kernels": [{"kind": "conv"}], "held": {"a": {"rmse": 1}}}
    print_as(Form.CSV, document, lambda: None, rows="kernels", common={"network": "n"})
    print_as(Form.CSV, document, lambda: None, rows="held")
    print_as(Form.CSV, document | {"kernels": []}, lambda: None, rows="kernels", common={"x": 1})
    found = capsys.readouterr().out
    assert found == "network,kind\nn,conv\nname,rmse\na,1\nlatency_ms,held.a.rmse\n3.0,1\n"


def test_a_name_from_outside_cannot_leave_its_markdown_cell(capsys):
    import typer

    from latprof.cli.console import print_table

    def for_people():
        typer.echo("``` <script>")
        print_table(("network", "ms"), [("a|b`<i>_", "1")])

    print_as(Form.MD, {}, for_people)
    assert capsys.readouterr().out == (
        "````text\n``` <script>\n````\n\n"
        "| network | ms |\n| :--- | ---: |\n| a\\|b\\`\\<i\\>\\_ | 1 |\n"
    )
