"""The examples run as they stand; tests/docs runs what the pages show."""

import subprocess
import sys
from pathlib import Path

import pytest

from latprof.datasets.spaces.proxyless import ProxylessSpace

ROOT = Path(__file__).resolve().parent.parent


def run(name, *arguments):
    for _ in range(8):
        done = subprocess.run(
            [sys.executable, ROOT / "examples" / name, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        if "host too busy" not in done.stderr:  # else there is no number: asked again
            break
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_search_on_this_cpu_keeps_the_limit():
    printed = run("search_cpu.py", "5.0")
    assert float(printed.split("stay below ")[1].split(" ms")[0]) <= 5.0
    assert "measured" in printed


def test_a_latency_term_leads_to_the_target():
    printed = run("latency_loss.py", "5.0")
    assert float(printed.split("expected ")[1].split(" ms")[0]) == pytest.approx(5.0, rel=0.15)


def test_scaling_keeps_every_budget():
    rows = [line.split() for line in run("scaling.py").splitlines()[1:]]
    assert len(rows) == 8
    assert all(float(row[-3]) <= float(row[0]) for row in rows)


def test_own_model_prints_where_the_time_goes(tmp_path):
    space = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
    path = tmp_path / "model.onnx"
    path.write_bytes(space.build_onnx(space.sample(1)[0]).SerializeToString())
    assert "conv1x1" in run("own_model.py", path)
