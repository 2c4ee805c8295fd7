"""docs/own-space.md: its files, and its commands one after the other, for both of its spaces."""

import json
import shlex
import sys
from functools import partial

import numpy as np
import pytest
import yaml
from command_line import run_latprof
from documents import blocks

import latprof
from latprof.workflows import search as workflow

PAGE = [block for block in blocks() if block.page == "docs/own-space.md"]
FILES = ("my_space", "my_function", "my_accuracy")
#: Settings that make each command's work small.
SMALL = {
    "collect": "-n 24 --visits 1 --rounds 2 --burst-ms 2 --repeat-fraction 0.1 -q",
    "profile": "--visits 1 -q",
    "train": "--no-compare",
    "search": "--visits 2 --budget 20 -q",
}


def file_of(name):
    (found,) = (b for b in PAGE if b.language == "python" and f"`{name}.py`" in b.before)
    return found.text


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in FILES:
        (tmp_path / f"{name}.py").write_text(file_of(name), encoding="utf-8")
    (tmp_path / "architectures.txt").write_text("0,0,0,0,0,0  # small\n3,3,3,3,3,3\n")
    monkeypatch.chdir(tmp_path)
    # The winner is measured by the visits that are asked for, as many on a busy host as on any.
    monkeypatch.setattr(workflow, "measure", partial(latprof.verify, half_width=1))
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in FILES:
        sys.modules.pop(name, None)
    yield tmp_path
    for name in FILES:
        sys.modules.pop(name, None)


def run(folder, words):
    done = run_latprof(*words, *SMALL.get(words[0], "").split(), cwd=folder)
    # A measurement may exceed the limit on a busy host: then it is a finding.
    assert done.returncode in ((0, 1) if words[0] == "search" else (0,)), done.stderr
    return done


@pytest.mark.parametrize("space", ["my_space:ResNetSpace", "my_function:space"])
def test_the_page_from_collecting_to_searching(folder, space):
    commands = [words for block in PAGE for words in block.commands()]
    assert [words[1] for words in commands] == (
        "collect train report predict predict profile lookup-table lookup-table search".split()
    )
    printed = {}
    for _, *words in commands:
        words[:] = [space if word == "my_space:ResNetSpace" else word for word in words]
        if words[0] == "search":  # within reach of whatever this machine is
            answers = json.loads(printed["predict"].stdout)
            words[words.index("--limit-ms") + 1] = str(2 * answers[1]["latency_ms"])
        printed[words[0]] = run(folder, words)
    assert "measured" in printed["search"].stdout
    assert (folder / "own.html").stat().st_size > 10_000
    assert (folder / "best.onnx").stat().st_size > 10_000

    own = latprof.load_pack("own.pack", latprof.get_space(space))
    _an_exported_network_is_recognized(folder, space, own)
    table = json.loads((folder / "own-table.json").read_text())
    assert yaml.safe_load((folder / "own.yaml").read_text()) == table
    assert len(table["decisions"]) == 6
    assert len(table["space"]["source"]) == 16
    (code,) = (b.text for b in PAGE if "own-table.json" in b.text and b.language == "python")
    names = {}
    exec(compile(code, "own-space.md", "exec"), names)
    known = own.predict(own.space.sample(16))
    summed = [names["latency_ms"](row.choices) for row in own.space.sample(16)]
    # The table is fitted to the hybrid's output, which may know more than sums.
    np.testing.assert_allclose(summed, known.latency_ms, rtol=0.25)


def _an_exported_network_is_recognized(folder, space, own):
    architecture = own.space.sample(1, seed=5)[0]
    (folder / "exported.onnx").write_bytes(own.space.onnx_bytes(architecture, seed=3))
    words = ["predict", "exported.onnx", "--space", space, "--json"]
    (answer,) = json.loads(run(folder, [*words, "--pack", "own.pack"]).stdout)
    assert answer["architecture"] == str(architecture)
    assert answer["latency_ms"] == pytest.approx(own.predict([architecture]).latency_ms[0])
    rows = {row["pack"]: row for row in json.loads(run(folder, [*words, "--all"]).stdout)}
    assert rows.pop("own.pack")["architecture"] == str(architecture)
    assert {row["how"] for row in rows.values()} == {"kernels"}


def test_the_spaces_are_as_short_as_the_page_promises():
    assert sum(map(bool, map(str.strip, file_of("my_space").splitlines()))) <= 40
    assert sum(map(bool, map(str.strip, file_of("my_function").splitlines()))) <= 15


def test_every_command_of_the_page_names_the_space():
    for block in PAGE:
        for words in block.commands():
            assert "--space" in words, shlex.join(words)
