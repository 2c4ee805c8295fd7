"""Latency over commits: what a store knows of them, what changed, and the first slower commit."""

import dataclasses
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import time
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from command_line import run_latprof
from stored_visits import TARGET, measurement

import latprof
from latprof.errors import NotEnoughDataError, UsageError
from latprof.measurement.across.revisions import Revision
from latprof.measurement.comparison import compare_groups
from latprof.measurement.records import PairedProtocol, Subject
from latprof.measurement.store.store import Store
from latprof.profilers.host.git_revision import commit_of, commits_between, revision_here
from latprof.workflows import bisection

STEADY, SLOWER = 2.0, 2.2


def commit_number(number):
    return f"{number:040x}"


def fill(path, states, model="build/model.onnx"):
    """A store with a campaign a state: (commit's number, branch, ratio); one digest a ratio."""
    generator = np.random.default_rng(1)
    seen = set()
    with Store.open(path, create=True) as store:
        store.add_target(TARGET, "reference")
        for row, (number, branch, ratio) in enumerate(states):
            key = f"{ratio:.3f}".ljust(64, "0")
            plan = {"models": [model], "networks": {model: key}}
            source = Revision(commit_number(number), branch, f"v{number}").to_dict()
            protocol = PairedProtocol(visits=4).to_dict()
            campaign = store.start_campaign(
                TARGET, plan, protocol, {"source": source}, 1e9 + 86400 * row
            )
            for visit in range(0 if key in seen else 8):
                noisy = ratio * (1 + 0.002 * generator.standard_normal())
                made = measurement(visit=visit, ratio=noisy, process=f"p{row}/{visit // 2}")
                subject = Subject("model", key, model)
                store.add(dataclasses.replace(made, subject=subject), campaign)
            seen.add(key)
            store.end_campaign(campaign, 1e9 + 86400 * row + 60)
    return path


@pytest.fixture
def store(tmp_path):
    states = [(1, "main", STEADY), (2, "main", STEADY), (3, "main", 2.0005), (4, "work", SLOWER)]
    return fill(tmp_path / "lat.db", states)


def test_a_significant_change_is_marked_and_an_unchanged_file_is_not_measured_again(store):
    found = latprof.history(store, "model.onnx")
    assert [point.revision.tag for point in found.points] == ["v1", "v2", "v3", "v4"]
    assert [point.same_file for point in found.points] == [False, True, False, False]
    assert [point.is_significant for point in found.points] == [False, False, False, True]
    last = found.points[-1]
    assert last.change.low < SLOWER / STEADY - 1 < last.change.high
    assert last.low_ms < last.latency_ms < last.high_ms
    assert found.points[0].latency_ms == found.points[1].latency_ms
    frame = found.to_frame()
    assert frame["verdict"].tolist()[-1] == "slower"
    assert frame["latency_ms"].tolist() == [point.latency_ms for point in found.points]


def test_states_with_one_tag_are_named_by_their_commits(store):
    found = latprof.history(store, "model.onnx")
    tags = ("nightly", "nightly", "v1.0", "")
    points = tuple(
        dataclasses.replace(point, revision=dataclasses.replace(point.revision, tag=tag))
        for point, tag in zip(found.points, tags, strict=True)
    )
    axes = dataclasses.replace(found, points=points).plot()
    names = [label.get_text() for label in axes.get_xticklabels()]
    commits = [commit_number(number)[:7] for number in (1, 2, 4)]
    assert names == [commits[0], commits[1], "v1.0", commits[2]]


def test_a_name_is_drawn_as_it_is(tmp_path):
    name = "$\\frac{\x01\U0001f600$x_^.onnx"  # no formula of TeX, no letter, none of the font
    store = fill(tmp_path / "odd.db", [(1, "main", STEADY), (2, "main", SLOWER)], name)
    for picture in ("h.svg", "h.png"):
        latprof.history(store, name, output=tmp_path / picture)
    drawn = (tmp_path / "h.svg").read_text(encoding="utf-8")
    assert ET.fromstring(drawn).tag.endswith("svg")
    assert r"$\frac{\x01" in drawn


@pytest.mark.parametrize("name", ["model.onnx", "model", "build/model.onnx"])
def test_a_model_is_found_by_the_end_of_its_name(store, name):
    assert latprof.history(store, name).model == "build/model.onnx"


def test_models_of_one_file_name_are_told_apart_by_their_folders(tmp_path):
    names = ["build/fast/m.onnx", "build/slow/m.onnx", "/", "other/m", "tests/t.py::test_speed"]
    for number, name in enumerate(names):
        fill(tmp_path / "lat.db", [(1, "main", STEADY + number / 10)], name)
    for asked, name in (
        ("slow/m.onnx", names[1]),
        ("fast/m", names[0]),
        ("other/m", names[3]),
        ("test_speed", names[4]),
        ("t.py::test_speed", names[4]),
    ):
        assert latprof.history(tmp_path / "lat.db", asked).model == name
    for asked in ("m.onnx", "build/m.onnx", ".", "ow/m.onnx"):
        with pytest.raises(UsageError, match=r"m\.onnx"):
            latprof.history(tmp_path / "lat.db", asked)


def test_the_command_prints_and_draws(store, tmp_path):
    picture = tmp_path / "h.svg"
    done = run_latprof("history", store, "--model", "model", "-o", picture)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(bool(re.search(r" \[?-*o-*\]? ", line)) for line in lines) == 4
    assert sum("! +" in line for line in lines) == 1
    assert "<svg" in picture.read_text(encoding="utf-8")
    markdown = run_latprof("history", store, "--model", "model", "--format", "md").stdout
    rows = [line.strip("|").split("|") for line in markdown.splitlines() if line.startswith("| ")]
    assert [cell.strip() for cell in rows[0]] == ["date", "commit", "ms", "90% interval", "change"]
    assert {len(row) for row in rows} == {5}  # characters that are drawn with lose their places
    printed = json.loads(run_latprof("history", store, "--model", "model", "--json").stdout)
    assert [point["branch"] for point in printed["points"]] == ["main"] * 3 + ["work"]


def test_what_a_store_does_not_know_is_said(store, collected):
    with pytest.raises(UsageError, match="no models that are called 'other'"):
        latprof.history(store, "other")
    with pytest.raises(NotEnoughDataError, match="revision"):
        latprof.history(collected, "model")


@pytest.mark.parametrize("name", ["main", "v3", commit_number(3)])
def test_compare_against_a_branch_a_tag_or_a_commit(store, name):
    found = latprof.compare(store, against=name)
    (comparison,) = found.comparisons
    assert comparison.verdict == "slower"
    assert comparison.a.latency_ms < comparison.b.latency_ms
    assert found.to_dict()[0]["target"] == TARGET.to_dict()


def test_compare_against_fails_a_pipeline(store):
    words = ("compare", store, "--against", "main", "--fail-if", "slower > 3 %")
    done = run_latprof(*words)
    assert done.returncode == 1, done.stderr
    assert "broken" in done.stdout
    assert run_latprof("compare", store, "--against", "nothing").returncode == 3
    assert run_latprof("compare", store, store, "--against", "main").returncode == 2
    assert run_latprof("compare", "m.onnx").returncode == 2


# Git ------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of 9 commits on main; the 6th makes the model slower."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "A")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@example.org")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GITHUB_HEAD_REF", "GITHUB_REF_NAME"):
        monkeypatch.delenv(name, raising=False)
    run(folder, "init", "--quiet", "--initial-branch=main")
    for number in range(9):
        (folder / "source.txt").write_text(f"{1.0 if number < 5 else 1.1}\n{number}\n")
        run(folder, "add", "source.txt")
        run(folder, "commit", "--quiet", "-m", str(number))
    return folder


def run(folder, *words):
    done = subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, text=True, check=True, env=os.environ
    )
    return done.stdout.strip()


def test_the_commit_and_the_branch_are_known_and_no_program_of_the_folder_runs(
    repository, tmp_path
):
    trap = tmp_path / "trap"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {trap}\n")
    script.chmod(0o755)
    for name in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.editor"):
        run(repository, "config", name, str(script))
    run(repository, "config", "alias.rev-parse", f"!{script}")
    head = run(repository, "rev-parse", "HEAD")
    trap.unlink(missing_ok=True)
    assert revision_here("nightly", repository) == Revision(head, "main", "nightly")
    assert commit_of("main~1", repository) == run(repository, "rev-parse", "HEAD~1")
    assert not trap.exists()


def test_of_a_detached_commit_the_service_says_the_branch(repository, monkeypatch):
    run(repository, "checkout", "--quiet", "--detach")
    assert revision_here(folder=repository).branch == ""
    monkeypatch.setenv("GITHUB_REF_NAME", "feature")
    assert revision_here(folder=repository).branch == "feature"


@pytest.mark.parametrize("name", ["fix#12,x=y", "größe/日本", "v1"])
def test_a_branch_is_known_whatever_it_is_called(repository, name):
    run(repository, "tag", "v1", "main~2")  # one name for a tag and a branch
    run(repository, "update-ref", f"refs/heads/{name}", "main~1")
    run(repository, "symbolic-ref", "HEAD", f"refs/heads/{name}")
    commit = run(repository, "rev-parse", "main~1")
    assert revision_here("", repository) == Revision(commit, name)
    if name != "v1":
        assert commit_of(name, repository) == commit
    assert commit_of("x\udcffy", repository) == ""


def test_why_a_commit_is_not_known_is_said(repository, measured, monkeypatch, tmp_path):
    clone = tmp_path / "clone"
    run(tmp_path, "clone", "--quiet", "--depth=2", f"file://{repository}", str(clone))
    monkeypatch.chdir(clone)
    for good in ("main~1", "main~5"):
        with pytest.raises(UsageError) as told:
            bisection.bisect("main", good, "cp source.txt m", "m")
        assert "this clone is shallow" in str(told.value.hint)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as told:
        bisection.bisect("main~1", "main", "cp source.txt m", "m")
    assert "not a git repository" in str(told.value.hint)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError) as told:
        bisection.bisect("main~1", "main", "cp source.txt m", "m")
    assert told.value.hint == "git is not installed"


def test_outside_of_a_repository_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert revision_here("t", tmp_path) == Revision(tag="t")
    assert commit_of("--output=x", tmp_path) == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert revision_here("t", tmp_path) == Revision(tag="t")


def test_commits_between_are_those_of_first_parents(repository):
    names = run(repository, "rev-list", "--first-parent", "HEAD").split()[::-1]
    assert commits_between(names[2], names[8], repository) == names[3:]
    assert commits_between(names[8], names[2], repository) == []


@pytest.fixture
def measured(monkeypatch):
    """Times that the files state, in place of measurements; returns what was compared."""
    seen = []

    def compare(good, path, **_options):
        times = [float(file.read_text().split()[0]) for file in (good, path)]
        seen.append(path)
        noise = np.array([0.999, 1.0, 1.001])
        found = compare_groups("m", noise * times[0], noise * times[1])
        return dataclasses.make_dataclass("Result", ["comparisons"])((found,))

    monkeypatch.setattr(bisection, "compare", compare)
    return seen


def test_bisection_names_the_first_slower_commit_with_few_measurements(
    repository, measured, monkeypatch
):
    monkeypatch.chdir(repository)
    names = run(repository, "rev-list", "--first-parent", "HEAD").split()[::-1]
    found = bisection.bisect(names[0], "main", "cp source.txt model.onnx", "model.onnx")
    assert found.first == names[5]
    assert found.exit_status == 0
    assert found.measured == len(measured) - 1 <= 3  # of 8: half as many are left each time
    assert run(repository, "status", "--porcelain") == ""
    assert run(repository, "worktree", "list").count("\n") == 0


def test_a_commit_that_cannot_be_built_is_passed_over(repository, measured, monkeypatch):
    monkeypatch.chdir(repository)
    names = run(repository, "rev-list", "--first-parent", "HEAD").split()[::-1]
    python = "import pathlib,sys; t=pathlib.Path('source.txt').read_text(); "
    python += "sys.exit(3) if t.split()[1] in '45' else pathlib.Path('m').write_text(t)"
    found = bisection.bisect(names[0], "main", f'{shutil.which("python3")} -c "{python}"', "m")
    assert found.first == ""
    assert found.candidates == tuple(names[4:7])
    assert found.measured == len(measured) - 1 <= 3


def test_what_a_build_leaves_running_is_ended_and_not_waited_for(
    repository, measured, monkeypatch, tmp_path
):
    monkeypatch.chdir(repository)
    names = run(repository, "rev-list", "--first-parent", "HEAD").split()[::-1]
    pids = tmp_path / "pids"
    command = f"sh -c 'sleep 1000 & echo $! >>{pids}; cp source.txt m'"
    assert bisection.bisect(names[3], names[6], command, "m").first == names[5]
    command = f"sh -c 'sleep 1001 & echo $! >>{pids}; sleep 1002'"
    with pytest.raises(UsageError, match=r"took more than 0\.5 s"):
        bisection.bisect(names[3], names[6], command, "m", build_timeout_s=0.5)
    for pid in pids.read_text().split():
        status = pathlib.Path(f"/proc/{pid}/stat")
        while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"processes": True}, "processes"),
        ({"visits": math.nan}, "visits"),
        ({"build_timeout_s": math.inf}, "build_timeout_s"),
        ({"alpha": "0.05"}, "alpha"),
        ({"model": "/tmp/m.onnx"}, "below the root"),
        ({"model": "../m.onnx"}, "below the root"),
        ({"model": ""}, "below the root"),
        ({"run": "make 'model"}, "cannot be read"),
        ({"run": "make \0"}, "cannot be run"),
        ({"run": "no-such-program"}, "cannot be run"),
        ({"good": "--help"}, "no commit"),
    ],
)
def test_what_cannot_be_bisected_is_refused_before_anything_is_measured(
    repository, measured, monkeypatch, change, words
):
    monkeypatch.chdir(repository)
    given = {"good": "main~3", "bad": "main", "run": "make model", "model": "m.onnx"} | change
    with pytest.raises(UsageError, match=words):
        bisection.bisect(**given)
    assert measured == []


def test_ends_that_do_not_differ_name_no_commit(repository, measured, monkeypatch):
    monkeypatch.chdir(repository)
    words = ("history", "--model", "m", "--run", "cp source.txt m", "--bisect")
    done = run_latprof(*words, "main~3", "main", cwd=repository)
    assert done.returncode == 1, done.stderr
    assert "no significant difference" in done.stdout
    assert len(measured) == 1
    done = run_latprof(*words, "main", "main~3", cwd=repository)
    assert done.returncode == 2
    assert "first parents" in done.stderr
