"""``predict --on DEVICE`` and ``--all``."""

import dataclasses
import json

import numpy as np
import pytest
from small_space import SmallSpace
from typer.testing import CliRunner

import latprof
from latprof.cli.app import app
from latprof.cli.predict_output import print_answers
from latprof.predictors import LinearPredictor

MEMBER = "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*words):
    return CliRunner().invoke(app, ["predict", *words])


def test_a_row_for_each_pack_that_knows_the_network():
    done = run(MEMBER, "--all", "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert len(rows) > 2
    assert {row["name"] for row in rows} == {f"proxyless:{MEMBER}"}
    names = [row["pack"] for row in rows]
    assert len(set(names)) == len(names)
    assert "proxyless-cpu-ort1" in names
    table = run(MEMBER, "--all").stdout.splitlines()
    assert len(table) == len(rows) + 1
    assert max(map(len, table)) < 200
    shown = dict(zip(names, table[1:], strict=True))
    for row in rows:
        assert (", batch 8 " in shown[row["pack"]]) == (row["target"]["batch_size"] == 8)
    assert any(row["target"]["batch_size"] == 8 for row in rows)


def test_the_same_kernels_answer_once(tmp_path):
    latprof.zoo("mobilenet-v2", output=tmp_path / "m.onnx", resolution=96, width=0.35)
    rows = json.loads(run("m.onnx", "--all", "--json").stdout)
    answers = [(json.dumps(row["target"]), row["how"], row["latency_ms"]) for row in rows]
    assert len(answers) == len(set(answers)) > 2
    bundled = latprof.predict("m.onnx", "nasbench-macro-cpu-ort1-b4")
    assert bundled.how == "kernels"  # of a row that another pack has
    assert "nasbench-macro-cpu-ort1-b4" not in {row["pack"] for row in rows}


def test_packs_of_one_device_are_told_apart_by_their_dtypes(capsys):
    answer = latprof.predict(MEMBER)
    assert answer.target is not None
    other = dataclasses.replace(answer, target=dataclasses.replace(answer.target, precision="int8"))
    print_answers([answer, other], None, ["a", "b"])
    _, first, second = capsys.readouterr().out.splitlines()
    assert ["int8" in line for line in (first, second)] == [False, True]


def test_on_a_device_its_first_pack_answers():
    done = run(MEMBER, "--on", "xeon", "--json")
    (row,) = json.loads(done.stdout)
    assert "Xeon" in row["target"]["device_name"]
    (other,) = json.loads(run(MEMBER, "--on", "xeon", "--threads", "2", "--json").stdout)
    assert (row["target"]["threads"], other["target"]["threads"]) == (1, 2)


def test_a_device_that_there_is_no_pack_of_names_those_that_there_are():
    done = run(MEMBER, "--on", "typewriter")
    assert done.exit_code == 2
    assert "no pack of typewriter" in done.stderr
    assert "Xeon" in done.stderr
    for no_name in ("", "--"):
        assert run(MEMBER, f"--on={no_name}").exit_code == 2
    assert run(MEMBER, "--on", "xeon", "--pack", "proxyless-cpu-ort1").exit_code == 2


def test_the_mode_is_part_of_the_target_that_is_asked_for(tmp_path):
    pack = latprof.load_pack("proxyless-cpu-ort1")
    assert pack.target is not None
    target = dataclasses.replace(pack.target, mode="opt-basic")
    latprof.save_pack(dataclasses.replace(pack, target=target), tmp_path / "basic.pack")
    (tmp_path / "broken.pack").write_bytes(b"no pack")

    asked = ("--pack", "basic.pack", "--mode")
    assert run(MEMBER, *asked, "opt-basic").exit_code == 0
    for mode in ("opt-extended", ""):
        refused = run(MEMBER, *asked, mode)
        assert refused.exit_code == 2
        assert "expected mode " in refused.stderr
        assert "(opt-basic)" in refused.stderr
    none = run(MEMBER, "--mode", "opt-basic")
    assert none.exit_code == 2
    assert "--mode opt-basic --store" in none.stderr

    found = run(MEMBER, "--all", "--mode", "opt-basic")
    assert "onnxruntime opt-basic" in found.stdout
    assert len(found.stdout.splitlines()) == 2
    listed = CliRunner().invoke(app, ["packs"])
    assert "onnxruntime opt-basic" in listed.stdout


def test_a_pack_of_somebodys_own_space_is_left_out_with_a_remark(tmp_path):
    space = SmallSpace()
    own = latprof.load_pack("proxyless-cpu-ort1")
    rows = space.sample(40)
    fitted = LinearPredictor(space).fit(rows, np.linspace(1, 2, len(rows)))
    latprof.save_pack(fitted, tmp_path / "own.pack", target=own.target)
    done = run(MEMBER, "--all")
    assert done.exit_code == 0, done.stderr
    assert "left out: " in done.stderr


def test_a_pack_without_a_target_is_a_row_of_all_where_no_target_is_asked_for(tmp_path):
    space = SmallSpace()
    rows = space.sample(40)
    fitted = LinearPredictor(space).fit(rows, np.linspace(1, 2, len(rows)))
    latprof.save_pack(fitted, tmp_path / "own.pack")
    words = ("0,1,2", "--space", "small_space:SmallSpace", "--all")
    done = run(*words)
    assert done.exit_code == 0, done.stderr
    (row,) = done.stdout.splitlines()[1:]
    assert row.split()[:4] == ["small:0,1,2", "unknown", "-", "own.pack"]
    assert run(*words, "--threads", "1").exit_code != 0


def test_budgets_hold_for_every_row():
    done = run(MEMBER, "--all", "--fail-if", "> 0.001 ms", "--json")
    assert done.exit_code == 1
    rows = json.loads(done.stdout)
    assert all(row["budgets"][0]["outcome"] != "kept" for row in rows)
