"""Each ``latprof`` line of README and docs/ runs in the reader's folder, with small settings.

A line keeps its own options; those of :func:`small` are appended, and the last value of an option
counts. Blocks after a comment ``<!-- parsed only: WHY -->`` need a device or hours: their lines
are parsed, so that options and values are known. So are commands in sentences and tables.
"""

import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest
import typer
from command_line import run_latprof
from computed_store import COLLECT
from documents import NETWORKS, ROOT, blocks, command_lines, command_spans

from latprof.cli.main import app

LINES = [(block, words) for block, words in command_lines() if not block.parsed_only]
GROUP: Any = typer.main.get_command(app)
#: Commands whose answer may be a finding: a host that disturbs, a model that is slower, a budget.
FINDINGS = {"doctor", "compare", "profile"}
#: And 4 where a line asks for a quiet host, which this may not be.
BUSY = 4


def small(words):
    """Options that make a line's work small: little to measure, few networks to search among."""
    command, has = words[0], set(words).__contains__
    if command == "collect" and has("--space"):
        options = ["-n", str(NETWORKS), *(["--max-visits", "2"] if has("--half-width") else [])]
        return [*COLLECT[3:], *options]  # what the store holds already
    if command == "collect":
        return [*"--visits 1 --repeat-fraction 0 -q".split(), *(["-n", "3"] * has("--plan"))]
    if command == "search":
        verify = ["--visits", "2"] if has("--verify") else []
        budget = ["--budget", "1"] if has("--data") else ["--budget", "20"]
        return [*budget, *verify, "-q"]
    if command == "train" and has("--predictor"):
        return ["--no-compare"]  # the line without says how all do
    found = ["--wait-quiet", "1"] if has("--wait-quiet") else []
    if command == "profile" and (has("--batch-size") or has("--streams")):
        found += "--batch-size 1 --threads 1 --streams 1 --visits 1 -q".split()
    if command == "compare" and words[1].endswith(".onnx"):
        found += ["--processes", "2", "--visits", "1"]
    return found


def named(line):
    block, words = line
    return f"{block}: {' '.join(words)}"


@pytest.mark.parametrize("line", LINES, ids=named)
def test_a_command_line_runs(line, reader):
    _, words = line
    done = run_latprof(*words, *small(words), cwd=reader)
    allowed = {0, 1} if words[0] in FINDINGS else {0}
    if "--fail-if" in words:
        allowed |= {1, 5}  # the reader's small model has no interval
    allowed |= {BUSY} if "--require-quiet" in words else set()
    assert done.returncode in allowed, done.stderr
    assert done.stdout or done.stderr or "-q" in small(words)


def parse(words):
    """Parse a command line as typer does, without running it."""
    if words and not words[0].startswith("-"):
        GROUP.commands[words[0]].make_context(words[0], list(words[1:]))


@pytest.mark.parametrize(
    "line", [each for each in command_lines() if each[0].parsed_only], ids=named
)
def test_a_command_line_for_a_device_is_understood(line):
    parse(line[1])


def test_commands_in_sentences_name_commands_and_options_that_exist():
    spans = [(page, words) for page, words in command_spans() if words]
    assert len(spans) >= 10
    for page, words in spans:
        if words[0].startswith("-"):
            continue
        assert words[0] in GROUP.commands, f"{page}: latprof {' '.join(words)}"
        command = GROUP.commands[words[0]]
        known = {option for each in command.params for option in each.opts + each.secondary_opts}
        options = {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)}
        assert options <= known | {"--help", "-h"}, f"{page}: latprof {' '.join(words)}"


CONSOLES = [block for block in blocks() if block.language == "console"]


@pytest.mark.parametrize("block", CONSOLES, ids=str)
def test_a_session_prints_what_the_page_shows(block, reader):
    for (program, *words), shown in block.sessions():
        assert program == "latprof"
        done = run_latprof(*words, cwd=reader)
        assert done.returncode == 0, done.stderr
        assert [line.rstrip() for line in (done.stderr + done.stdout).splitlines()] == shown


def test_other_commands_name_what_is_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    checked = 0
    for block in blocks():
        for program, *words in block.commands():
            checked += 1
            where = f"{block}: {program} {' '.join(words)}"
            if program == "make":
                assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE), where
            elif program == "pip":
                for extras in re.findall(r"\[([\w,-]+)\]", " ".join(words)):
                    assert set(extras.split(",")) <= project["optional-dependencies"].keys(), where
            elif program == "python":
                path = f"{words[1].replace('.', '/')}.py" if words[0] == "-m" else words[0]
                assert (ROOT / path).exists(), where
            else:
                assert program in {"latprof", "foreign-nas", "ssh"}, where
    assert checked > len(LINES)


def test_benchmarks_in_sentences_exist():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    names = set(re.findall(r"python -m\s+benchmarks\.(\w+)", text))
    assert names
    assert all((ROOT / "benchmarks" / f"{name}.py").exists() for name in names)


def test_the_output_of_an_example_is_what_it_prints():
    shown = [block for block in blocks() if block.mark.startswith("output of: ")]
    assert shown
    for block in shown:
        program, *words = block.mark.removeprefix("output of: ").split()
        assert program == "python"
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout == block.text
