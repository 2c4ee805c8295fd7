"""The workflow of docs/ci.md: its steps run, and a model that is too slow fails it."""

import os
import shlex
import subprocess
from xml.etree import ElementTree as ET

import pytest
import yaml
from command_line import COMMAND, LONGEST_S, run_latprof
from documents import blocks

from latprof.datasets.spaces.proxyless import ProxylessSpace

PAGE = [block for block in blocks() if block.page == "docs/ci.md"]
(WORKFLOW,) = (yaml.safe_load(block.text) for block in PAGE if block.language == "yaml")
INSTALL = "pip install 'latprof[collect]'"
#: Little to measure, and no verdict that hangs on how quiet this computer is.
SMALL = {
    "collect": "--visits 2 --repeat-fraction 0 -q",  # so few are not judged too busy
    "compare": "--allow-open --fail-if 'slower > 900 %'",
}


@pytest.fixture
def folder(reader):
    """The reader's, whose model is a member of the pack's space: its prediction has an interval."""
    space = ProxylessSpace()
    (reader / "model.onnx").write_bytes(space.onnx_bytes(space.sample(1)[0]))
    return reader


def steps_of(job, event):
    """Commands of a job, in order; those of other events left out."""
    known = {None: True, "always()": True, "github.event_name == 'pull_request'": event != "push"}
    steps = WORKFLOW["jobs"][job]["steps"]
    return [step["run"] for step in steps if "run" in step and known[step.get("if")]]


def run_step(step, cwd, env, path):
    """Run a step as GitHub does, with a ``latprof`` that measures little."""
    program = path / "latprof"
    small = "".join(f'{name}) set -- "$@" {words} ;;\n' for name, words in SMALL.items())
    call = shlex.join(COMMAND)
    program.write_text(f'#!/bin/sh\ncase "$1" in\n{small}esac\nexec {call} "$@"\n')
    program.chmod(0o755)
    step = step.replace("--fail-if 'slower > 5 %'", "")
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step],
        cwd=cwd,
        env={**os.environ, **env, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )


def git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def test_the_budget_of_the_workflow_is_a_test_case(folder, tmp_path):
    install, predict = steps_of("budget", "push")
    assert install == INSTALL
    done = run_step(predict, folder, {}, tmp_path)
    assert done.returncode == 0, done.stderr
    (suite,) = ET.fromstring((folder / "latency.xml").read_text())
    assert [(case.get("name"), case[0].tag) for case in suite] == [
        ("model.onnx: at most 50 ms", "system-out")
    ]
    done = run_step(predict.replace("> 50 ms", "> 0.001 ms"), folder, {}, tmp_path)
    assert done.returncode == 1
    (suite,) = ET.fromstring((folder / "latency.xml").read_text())
    assert [case[0].tag for case in suite] == ["failure"]


def test_the_history_of_the_workflow_knows_main_and_the_pull_request(reader, tmp_path):
    place, summary = tmp_path / "checkout", tmp_path / "summary.md"
    place.mkdir()
    git(place, "init", "-q", "-b", "main")
    common = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_REF_NAME": "", "GITHUB_HEAD_REF": ""}
    (name,) = WORKFLOW["jobs"]["history"]["env"]
    common[name] = str(tmp_path / "lat.db")
    for event, model in (("push", "old"), ("pull_request", "new")):
        (place / "model.onnx").write_bytes((reader / f"{model}.onnx").read_bytes())
        git(place, "add", "model.onnx")
        git(place, "commit", "-q", "-m", event)
        env = {}
        if event != "push":
            git(place, "checkout", "-q", "--detach")
            env = {"GITHUB_HEAD_REF": "faster", "GITHUB_BASE_REF": "main"}
        install, *steps = steps_of("history", event)
        assert install == INSTALL
        for step in steps:
            done = run_step(step, place, common | env, tmp_path)
            if "compare" in step and done.returncode == 3:  # a busy host has lost a visit
                assert "no model was measured by two processes" in done.stderr
                continue
            assert done.returncode == 0, step + done.stdout + done.stderr
            assert ("slower by at most 900 %: " in done.stdout) == ("compare" in step)
    lines = summary.read_text().splitlines()
    rows = [line for line in lines if line.startswith("| 2")]
    assert ["(main)" in row for row in rows] == [True, True, False]  # once, then with the request
    assert "(faster)" in rows[-1]


def test_a_failing_budget_is_at_most_five_commands_from_the_wheel(folder):
    (first,) = (block for block in PAGE if "pip install" in block.text and not block.language)
    install, predict, *more = first.commands()
    assert install[:2] == ["pip", "install"]
    assert len(more) + 2 <= 5
    assert predict[-1] == "> 5 ms"
    done = run_latprof(*predict[1:-1], "> 0.001 ms", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "at most 0.001 ms: broken: " in done.stdout
