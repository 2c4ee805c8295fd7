"""Two models compared on a phone, its GPU by the official program, and a phone without space."""

import json
import sqlite3

import numpy as np
import onnx
import pytest
from fake_benchmark import LITERT, NOT_AT_ALL, TFLITE, fake_benchmark
from onnx import TensorProto, helper
from phone_station import Station, litert_library

from latprof.graph.convert.to_tflite import tflite_bytes

#: Of a busy computer: disturbed visits are kept as they are after their retries.
STATUS = None


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    with Station(tmp_path_factory.mktemp("station")) as made:
        made.take_library()
        yield made


def dense_model(path, features, repeats=1):
    """An ONNX file whose weights are dense layers of so many features each."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((features, features)).astype(np.float32) / 100
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("MatMul", [f"x{n}", "w"], [f"x{n + 1}"], name=f"m{n}")
        for n in range(repeats)
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x0", TensorProto.FLOAT, [1, features])],
        [value(f"x{repeats}", TensorProto.FLOAT, [1, features])],
        [helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def refused(station, status, *words):
    """What a command says in one line."""
    done = station.run(*words, status=status)
    (line,) = [row for row in done.stderr.splitlines() if row.startswith("latprof:")]
    return line


# Comparing ----------------------------------------------------------------------------------------


def test_two_models_are_compared_on_the_phone(station, tmp_path):
    before = station.files_outside()
    few, many = (dense_model(tmp_path / f"{n}.onnx", 512, n) for n in (2, 24))
    words = ("--target", "adb:litert", "--processes", "2", "--visits", "2", "--alpha", "0.4")
    (row,) = station.json("compare", few, many, *words, status=STATUS)
    assert row["target"]["device"] == "adb:0A1B2C3D4E5F"
    assert row["effect"] > 1  # twelve times the work
    assert station.files_outside() == before


# GPUs by benchmark_model --------------------------------------------------------------------------


@pytest.fixture
def program(station, tmp_path):
    def take(script):
        path = tmp_path / "benchmark_model"
        path.write_text(script)
        station.run("android", "setup", path, "--runtime", "benchmark-model", "--abi", "x86_64")

    return take


@pytest.mark.parametrize("generation", [TFLITE, LITERT])
def test_a_gpu_is_measured_by_the_official_program(station, program, tmp_path, generation):
    program(fake_benchmark(generation))
    before = station.files_outside()
    few = dense_model(tmp_path / "few.onnx", 256, 2)
    words = ("--target", "adb:benchmark-model", "--mode", "gpu", "--visits", "2")
    done = station.run("profile", few, *words, status=STATUS)
    assert "benchmark_model tells averages" in done.stderr
    assert "not known, only averages" in done.stdout
    assert "averages,gpu" in done.stdout
    found = station.json("profile", few, *words, status=STATUS)
    assert found["target"]["mode"] == "averages,gpu"
    assert found["raw_percentiles_ms"]["p50"] is None
    assert found["latency_ms"] > 0
    assert station.files_outside() == before


def test_averages_and_paired_labels_are_two_targets_of_one_store(station, program, tmp_path):
    program(fake_benchmark(TFLITE))
    store, model = tmp_path / "both.db", dense_model(tmp_path / "m.onnx", 128)
    words = ("--visits", "1", "--repeat-fraction", "0", "--store", store, "-q")
    station.run("collect", model, "--target", "adb:litert", *words, status=STATUS)
    gpu = ("--target", "adb:benchmark-model", "--mode", "gpu")
    done = station.json("collect", model, *gpu, *words, status=0)
    assert done["visits_made"] == 1
    with sqlite3.connect(store) as database:
        rows = database.execute("select conditions from measurements").fetchall()
    averages = [json.loads(text).get("averages") for (text,) in rows]
    assert sum(found is not None for found in averages) == 1
    exported = station.run("export", store, "--csv", tmp_path / "t.csv", status=None)
    assert exported.returncode == 2  # which of the two
    again = station.json("collect", model, *gpu, *words, status=0)
    assert (again["visits_made"], again["visits_resumed"]) == (0, 1)


def test_a_gpu_that_ran_nothing_has_no_number(station, program, tmp_path):
    program(fake_benchmark(TFLITE, NOT_AT_ALL))
    model = dense_model(tmp_path / "m.onnx", 64)
    words = ("profile", model, "--target", "adb:benchmark-model", "--mode")
    assert "runs nothing of the model" in refused(station, 4, *words, "gpu")
    assert "has no npu" in refused(station, 2, *words, "npu")


# A phone without space ----------------------------------------------------------------------------


def test_a_phone_without_space_for_the_library_says_so(tmp_path):
    model = dense_model(tmp_path / "m.onnx", 16)
    with Station(tmp_path / "station", space_mib=4) as small:
        small.take_library()
        said = refused(small, 4, "profile", model, "--target", "adb:litert")
        assert "no space left" in said
        assert "make room on the phone" in said
        assert not small.phone.processes("runner-")


def test_a_phone_with_little_space_keeps_the_models_that_fit(tmp_path):
    """Models that were pushed before give way; what is larger than all of the space is refused."""
    room = litert_library().stat().st_size // (1 << 20) + 8
    paths = []
    for number, features in enumerate((1100, 1200, 2600)):  # 5, 6 and 27 MB
        model = dense_model(tmp_path / f"{number}.onnx", features)
        paths.append(tmp_path / f"{number}.tflite")
        paths[-1].write_bytes(tflite_bytes(model.read_bytes()))
    with Station(tmp_path / "station", space_mib=room) as small:
        small.take_library()
        words = ("--target", "adb:litert", "--visits", "1", "--repeat-fraction", "0", "-q")
        store = tmp_path / "s.db"
        done = small.json("collect", *paths[:2], *words, "--store", store, status=STATUS)
        assert done["visits_failed"] == 0
        said = refused(small, 4, "profile", paths[2], "--target", "adb:litert")
        assert "no space left" in said
        small.run("profile", paths[0], "--target", "adb:litert", "--visits", "1", status=STATUS)
