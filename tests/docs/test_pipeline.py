"""The workflow of docs/ci.md: its steps run, and a model that is too slow fails it."""

import shlex

import pytest
import yaml
from command_line import run_latprof
from documents import blocks

from latprof.datasets.spaces.proxyless import ProxylessSpace

PAGE = [block for block in blocks() if block.page == "docs/ci.md"]


@pytest.fixture
def folder(reader):
    """The reader's, whose model is a member of the pack's space: its prediction has an interval."""
    space = ProxylessSpace()
    (reader / "model.onnx").write_bytes(space.onnx_bytes(space.sample(1)[0]))
    return reader


def test_the_steps_of_the_workflow_run(folder):
    (workflow,) = (yaml.safe_load(block.text) for block in PAGE if block.language == "yaml")
    steps = [step["run"] for step in workflow["jobs"]["budget"]["steps"] if "run" in step]
    assert steps[0] == "pip install 'latprof[collect]'"
    for step in steps[1:]:
        program, *words = shlex.split(step)
        assert program == "latprof"
        effort = ["--processes", "2", "--visits", "1"] if words[0] == "compare" else []
        # Two visits show nothing of a difference, and the reader's old and new are two networks.
        words = [word.replace("slower > 5 %", "slower > 900 %") for word in words]
        done = run_latprof(*words, *effort, *(["--allow-open"] * bool(effort)), cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "at most" in done.stdout


def test_a_failing_budget_is_at_most_five_commands_from_the_wheel(folder):
    (first,) = (block for block in PAGE if "pip install" in block.text and not block.language)
    install, predict, *more = first.commands()
    assert install[:2] == ["pip", "install"]
    assert len(more) + 2 <= 5
    assert predict[-1] == "> 5 ms"
    done = run_latprof(*predict[1:-1], "> 0.001 ms", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "at most 0.001 ms: broken: " in done.stdout
