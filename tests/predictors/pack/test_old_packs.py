"""Packs that were written once are read for ever, and answer what they answered then."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from latprof.predictors.pack.manifest import FORMAT_VERSION
from latprof.predictors.pack.saving import load_pack
from latprof.registry import PREDICTORS

FOLDER = Path(__file__).parent / "packs"
PACKS = sorted(FOLDER.glob("*.pack"))


def answers(path):
    return json.loads(path.with_suffix(".json").read_text())


def check(path):
    """Compare everything that a pack answers with what it answered when it was written."""
    expected = answers(path)
    pack = load_pack(path)
    assert pack.space.description == expected["space"]
    prediction = pack.predict([pack.space.parse(text) for text in expected["architectures"]])
    # Leaves are summed in single precision, in an order that is the processor's.
    tolerance = 1e-6 if expected["trees"] else 1e-9
    for name in ("latency_ms", "low_ms", "high_ms", "distance"):
        if expected[name] is None:
            assert getattr(prediction, name) is None
        else:
            np.testing.assert_allclose(getattr(prediction, name), expected[name], rtol=tolerance)
    assert prediction.coverage == expected["coverage"]
    assert len(prediction) == 20
    target = None if pack.target is None else pack.target.to_dict()
    assert target == expected["target"]
    assert pack.training_rows == expected["training_rows"]
    assert pack.predictor.name == expected["predictor"]
    assert len(getattr(pack.predictor, "trees_", ())) == expected["trees"]
    assert len(getattr(pack.predictor, "interactions_", ())) == expected["interactions"]
    return pack, prediction


def test_there_are_packs_of_every_format_and_kind():
    kinds = {(found["format_version"], found["predictor"]) for found in map(answers, PACKS)}
    names = ("lookup-table", "linear", "xgboost", "hybrid")
    assert kinds >= {(version, n) for version in range(1, FORMAT_VERSION + 1) for n in names}
    newest = [found for found in map(answers, PACKS) if found["format_version"] == FORMAT_VERSION]
    for name in ("trees", "interactions"):
        assert {bool(found[name]) for found in newest if found["predictor"] == "hybrid"} == {
            False,
            True,
        }
    assert any("ofa-mobilenetv3" in found["space"] for found in newest)
    assert {found["predictor"] for found in newest} == set(PREDICTORS.names(special=True))


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.stem)
def test_a_pack_answers_what_it_answered_when_it_was_written(path):
    check(path)


@pytest.mark.parametrize(
    "path", [p for p in PACKS if answers(p)["format_version"] == 1], ids=lambda path: path.stem
)
def test_packs_of_format_1_have_intervals_of_one_relative_width(path):
    pack, prediction = check(path)
    assert pack.predictor.calibration_ is None
    assert pack.interval_relative > 0
    np.testing.assert_allclose(
        prediction.high_ms, prediction.latency_ms * (1 + pack.interval_relative), rtol=1e-12
    )
    np.testing.assert_allclose(
        prediction.low_ms, prediction.latency_ms * (1 - pack.interval_relative), rtol=1e-12
    )


def test_packs_answer_the_same_without_xgboost():
    """In a process of its own, where importing XGBoost fails."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import sys; sys.modules['xgboost'] = None; sys.path.insert(0, sys.argv[1])\n"
                "import test_old_packs as t\n"
                "for path in t.PACKS: t.check(path)\n"
                "print(len(t.PACKS))"
            ),
            str(Path(__file__).parent),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(PACKS) > 10


def test_the_script_that_made_the_packs_refuses_to_write_them_again(tmp_path):
    for path in PACKS:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    done = subprocess.run(
        [sys.executable, str(FOLDER / "make_packs.py"), "packs", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "is there already" in done.stderr
    assert all((tmp_path / path.name).read_bytes() == path.read_bytes() for path in PACKS)
