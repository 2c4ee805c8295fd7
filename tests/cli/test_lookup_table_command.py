"""``latprof lookup-table`` writes a pack's table for other search codes, or one line of refusal."""

import json

import numpy as np
import pytest
import yaml

from latprof.datasets.importers.lookup_tables import read_yaml_table
from latprof.datasets.spaces.named import get_space
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.predictors.models.by_name import make_predictor
from latprof.predictors.pack.saving import load_pack, save_pack
from latprof.predictors.training.imported_table import predictor_from_table
from latprof.workflows.plain_tables import to_plain_json, to_plain_yaml

SPACE = ProxylessSpace()


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """Packs of a lookup table, and of predictors that have none of their own."""
    folder = tmp_path_factory.mktemp("packs")
    choices = SPACE.sample_choices(500, seed=2)
    latency = 5 + 0.1 * choices.sum(axis=1) + np.random.default_rng(0).normal(0, 0.02, 500)
    for name in ("lookup-table", "linear"):
        save_pack(make_predictor(name, SPACE).fit(choices, latency), folder / f"{name}.pack")
    small = ProxylessSpace(resolution=64)
    save_pack(make_predictor("lookup-table", small).fit(choices, latency), folder / "small.pack")
    other = get_space("fbnet")
    fitted = make_predictor("linear", other).fit(other.sample_choices(500), latency)
    save_pack(fitted, folder / "fbnet.pack")
    return folder


def test_any_text_is_the_same_in_yaml_and_json():
    text = '"\\\U0001f600\u2028\x7f\x85\n#: \xe9'
    parts = [{"name": text, "decisions": [0], "entries": [{"candidates": [text]}]}]
    table = {"space": {"name": text, text: 1e-05}, "parts": parts}
    assert yaml.safe_load(to_plain_yaml(table)) == table == json.loads(to_plain_json(table))


def test_the_table_goes_to_stdout_and_what_to_know_to_stderr(latprof, packs):
    done = latprof("lookup-table", packs / "lookup-table.pack")
    assert done.returncode == 0, done.stderr
    table = yaml.safe_load(done.stdout)
    assert table["Conv-input:224x224x3-output:112x112x32"]["count"] == 500
    assert "share an entry" in done.stderr


@pytest.mark.parametrize("name", ["lookup-table", "linear"])
def test_a_written_table_predicts_what_the_pack_predicts(latprof, packs, tmp_path, name):
    path = tmp_path / "table.yaml"
    done = latprof("lookup-table", packs / f"{name}.pack", "--format", "proxyless", "-o", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    table = read_yaml_table(path)
    choices = SPACE.sample_choices(50, seed=5)
    again = predictor_from_table(table, SPACE).predict(choices)
    np.testing.assert_allclose(
        again, load_pack(packs / f"{name}.pack").predictor.predict(choices), rtol=0.01
    )
    counted = next(iter(table.entries.values())).count is not None
    assert counted == (name == "lookup-table")
    assert ("fitted to its output" in done.stderr) == (name != "lookup-table")


def test_single_path_nas(latprof, packs):
    done = latprof("lookup-table", packs / "lookup-table.pack", "--format", "single-path")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 22
    assert "total_runtime" in done.stderr


def test_bad_input_ends_in_one_line(latprof, packs, tmp_path):
    good = packs / "lookup-table.pack"
    for status, words, arguments in (
        (2, "unknown format 'proxy'", (good, "--format", "proxy")),
        (3, "none.pack", (tmp_path / "none.pack",)),
        (3, "lookup_table_command.py", (__file__,)),
        (2, "no keys for this search space", (packs / "fbnet.pack", "--format", "proxyless")),
        (2, "another resolution", (packs / "small.pack", "--format", "single-path")),
        (2, "cannot write", (good, "-o", tmp_path / "none" / "table.yaml")),
    ):
        done = latprof("lookup-table", *arguments)
        assert done.returncode == status, (arguments, done.stderr)
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        last = done.stderr.splitlines()[-1]
        assert last.startswith("latprof: ")
        assert words in last
