"""From the cable to the report, whole commands against the test phone and LiteRT's real library."""

import hashlib
import json
import signal
import sqlite3

import pytest
from farm_processes import Program
from phone_campaigns import SMALL, STATUS, await_no_runner, small_model, visits_of
from phone_station import onnxruntime_library

import latprof
from latprof.graph.convert.to_tflite import tflite_bytes

pytestmark = pytest.mark.usefixtures("cool")

ARCHITECTURE = str(latprof.get_space("proxyless").sample(1, seed=0)[0])


def test_the_whole_journey(station, tmp_path):
    """collect with kernels, train, report, predict, verify; the phone is as it was found."""
    before = station.files_outside()
    store, pack, page = (tmp_path / name for name in ("pixel.db", "pixel.pack", "pixel.html"))
    words = ("--target", "adb:litert", "-n", "12", "--ops", "--store", store)
    done = station.json("collect", *SMALL, *words, status=STATUS)
    assert done["visits_failed"] == 0
    assert done["target"]["device"] == "adb:0A1B2C3D4E5F"  # not how it is reached
    assert done["target"]["cores"] == "1"  # the big one
    assert "Pixel 0 (TestSoC" in done["target"]["device_name"]
    again = station.json("collect", *SMALL, *words, status=STATUS)
    assert again["visits_failed"] == 0  # those that were disturbed to the last are made again
    assert again["visits_made"] + again["visits_resumed"] == 24

    conditions = [json.loads(row[3]) for row in visits_of(store)]
    for visit in conditions:
        for moment in ("before", "after"):
            assert visit[moment]["phone_skin_c"] == 33.4
            assert visit[moment]["phone_clock_mhz"] == 2802.0
        assert {burst["core"] for burst in visit["bursts"]} == {1}

    station.run("train", store, "--output", pack)
    station.run("report", store, "--pack", pack, "--output", page)
    (predicted,) = station.json("predict", ARCHITECTURE, "--pack", pack, status=STATUS)
    assert predicted["target"]["device"] == "adb:0A1B2C3D4E5F"
    with sqlite3.connect(store) as database:
        kinds = {row[0] for row in database.execute("select distinct kind from kernels")}
    assert {"conv3x3", "conv1x1", "depthwise3x3"} <= kinds
    (station.folder / "own.py").write_text("def accuracy(found):\n    return [1.0] * len(found)\n")
    words = ("--pack", pack, "--accuracy", "own:accuracy", "--method", "random", "--budget", "2")
    words += ("--upper", "0", "--verify", "--visits", "2", "--store", tmp_path / "s.db")
    found = station.json("search", *words, status=STATUS)
    verified = found["verification"]
    if verified is None:  # this computer was too busy each time
        assert found["unmeasured"]["code"] == "host-busy", found["unmeasured"]
    else:
        assert verified["same_target"]
        assert verified["measured_on"] == predicted["target"]
        assert verified["low_ms"] <= verified["measured_ms"] <= verified["high_ms"]
    after = station.files_outside()
    assert after == before
    await_no_runner(station)


def test_two_networks_are_compared_with_their_kernels(station, tmp_path):
    models = [small_model(tmp_path / f"{name}.onnx", name) for name in ("Relu", "Sigmoid")]
    words = ("--target", "adb:litert", "--processes", "2", "--visits", "1", "--operators")
    (found,) = station.json("compare", *models, *words, status=STATUS)
    assert found["target"]["device"] == "adb:0A1B2C3D4E5F"
    assert found["a"]["latency_ms"] > 0 < found["b"]["latency_ms"]
    assert found["kernels"]


def test_both_ways_and_both_runtimes_are_one_phone(station, tmp_path):
    station.take_library(onnxruntime_library())
    model = small_model(tmp_path / "m.onnx")
    for target in (f"{station.phone.serial}:litert", "0A1B2C3D4E5F:onnxruntime", "onnxruntime"):
        words = ("profile", model, "--target", f"adb:{target}", "--visits", "2")
        found = station.json(*words, status=STATUS)
        assert found["target"]["device"] == "adb:0A1B2C3D4E5F"
        assert found["kernels"], found["without_kernels"]


def test_a_farm_finds_the_phone_and_measures_on_it(station, tmp_path):
    model, store = small_model(tmp_path / "m.onnx"), tmp_path / "lab.db"
    before = station.files_outside()
    main = ("-c", "from latprof.cli.main import main; main()", "farm")
    with Program(*main, "start", "--port", "0", env=station.environment) as scheduler:
        address = scheduler.wait_for("the farm is ready").split()[-1]
        words = (*main, "join", address, "--only", "adb:*:litert")
        with Program(*words, env=station.environment) as worker:
            assert "adb:0A1B2C3D4E5F" in worker.wait_for("joined")
            words = ("--visits", "2", "--farm", address, "--target", "adb:litert", "--store", store)
            (found,) = station.json("collect", model, *words, status=STATUS)["devices"]
            assert (found["device"], found["error"]) == ("adb:0A1B2C3D4E5F", None)
            assert found["target"]["device"] == "adb:0A1B2C3D4E5F"
            worker.kill(signal.SIGTERM)
        scheduler.kill(signal.SIGTERM)
    assert {row[1] for row in visits_of(store)} == {None}
    assert station.files_outside() == before
    await_no_runner(station)


HOSTILE = (
    "$(touch evil).onnx",
    "; rm -rf data.onnx",
    "'.onnx",
    "-rf.onnx",
    "a\nb.onnx",
    "ä ü.onnx",
)


def test_hostile_names_stay_names_and_a_model_is_pushed_once(station, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    models = [small_model(folder / name) for name in HOSTILE]
    own = folder / "own.tflite"
    own.write_bytes(tflite_bytes(models[0].read_bytes()))
    before = station.files_outside()
    store = tmp_path / "mine.db"
    words = ("--target", "adb:litert", "--visits", "1", "--repeat-fraction", "0", "--store", store)
    station.run("collect", *words, "--", *models, own, status=STATUS)
    made = [row for row in visits_of(store) if row[1] is None]
    assert {row[0] for row in made} == {models[0].name, "own.tflite"}  # one content, one model
    digest = hashlib.sha256(own.read_bytes()).hexdigest()[:40]
    pushed = station.phone.inside / f"data/local/tmp/latprof/model-{digest}"
    assert pushed.read_bytes() == own.read_bytes()
    assert station.files_outside() == before
