"""The folder that a reader of the documents stands in, with every file that a page names."""

import itertools
import shutil

import pytest
from command_line import run_latprof
from computed_store import fill_store
from documents import NETWORKS, blocks
from formats import write_help, write_json, write_latency

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.profilers import profiling

SMALL = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)


@pytest.fixture(scope="session")
def prepared(collected, tmp_path_factory):
    """Small stores with computed times, packs trained on them, small models, public formats."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "demo").mkdir()
    # Enough networks that a lookup table has an entry for each block.
    fill_store(folder / "lat.db", n=NETWORKS)
    for store in ("mine.db", "before.db", "new.db", "demo/lat.db"):
        shutil.copy(collected, folder / store)
    fill_store(folder / "after.db", seed=1)
    for name, predictor in (("cpu", "hybrid"), ("table", "lookup-table"), ("b", "linear")):
        words = ("train", "lat.db", "--no-compare", "--predictor", predictor, "-o", f"{name}.pack")
        done = run_latprof(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    for name in ("a.pack", "new.pack", "demo/cpu.pack"):
        shutil.copy(folder / "cpu.pack", folder / name)
    for name, architecture in zip(("model", "other", "old", "new"), SMALL.sample(4), strict=True):
        content = SMALL.build_onnx(architecture).SerializeToString()
        (folder / f"{name}.onnx").write_bytes(content)
    table = ("lookup-table", "proxyless-cpu-ort1", "-o", "pixel_trim.yaml")
    assert run_latprof(*table, cwd=folder).returncode == 0
    write_help(folder / "help", n=60)
    write_latency(folder / "help", "fbnet", "pixel2", [float(30 + n % 7) for n in range(60)])
    networks = map("".join, itertools.product("012", repeat=8))
    write_json(folder / "nas-bench-macro_cifar10.json", {n: _macro(n) for n in networks})
    (folder / "defects.md").write_text("- A defect.\n", encoding="utf-8")
    (mine,) = (block for block in blocks() if "`mine.py`" in block.before)
    (folder / "mine.py").write_text(mine.text, encoding="utf-8")
    (own,) = (block for block in blocks() if "`my_space.py`" in block.before)
    (folder / "my_space.py").write_text(own.text, encoding="utf-8")
    return folder


def _macro(network):
    percent = 80.0 + sum(map(int, network))
    return {
        "test_acc": [percent - 1, percent, percent + 1],
        "mean_acc": percent,
        "std": 1.0,
        "params": 5,
        "flops": 7,
    }


@pytest.fixture
def reader(prepared, tmp_path, monkeypatch):
    """Stand in a copy of the prepared folder; returns it."""
    folder = tmp_path / "reader"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "120")  # of the sessions that pages show
    return folder


@pytest.fixture(scope="session")
def _profiled():
    return {}


@pytest.fixture(autouse=True)
def _profile_once(_profiled, monkeypatch):
    """Measure one profile for real; whoever asks again gets that one, whatever the network."""
    measure = profiling.profile

    def once(*arguments, **keywords):
        keywords["kernels"] = True
        if "found" not in _profiled:
            _profiled["found"] = measure(*arguments, **keywords)
        return _profiled["found"]

    monkeypatch.setattr(profiling, "profile", once)
