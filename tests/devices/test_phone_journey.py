"""From the cable to the report, whole commands against the test phone and LiteRT's real library."""

import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import time

import numpy as np
import onnx
import pytest
from command_line import LONGEST_S
from farm_processes import Program
from onnx import TensorProto, helper
from phone_station import Station, onnxruntime_library

import latprof
from latprof.graph.convert.to_tflite import tflite_bytes

SMALL = ("--space", "proxyless", "--resolution", "64", "--visits", "2", "--repeat-fraction", "0")
ARCHITECTURE = str(latprof.get_space("proxyless").sample(1, seed=0)[0])
#: Room on the phone, which one test fills.
SPACE_MIB = 160
#: Of a busy computer: disturbed visits are kept as they are after their retries.
STATUS = None


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    with Station(tmp_path_factory.mktemp("station"), space_mib=SPACE_MIB) as made:
        made.take_library()
        yield made


@pytest.fixture(autouse=True)
def cool(station):
    yield
    station.phone.answer("dumpsys.thermalservice", station.phone.profile.thermals)


def visits_of(path):
    """The stored visits: subject, code of a failure, whether disturbed, conditions, samples."""
    with sqlite3.connect(path) as database, contextlib.suppress(sqlite3.OperationalError):
        columns = "subjects.name, failure_code, disturbed, conditions"
        tables = "measurements join subjects on subjects.id = measurements.subject_id"
        return database.execute(f"select {columns} from {tables}").fetchall()
    return []  # it is being made


def small_model(path, operator="Relu"):
    """An ONNX file with a convolution and one more operator."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1], name="c"),
            helper.make_node(operator, ["h"], ["y"], name="o"),
        ],
        "g",
        [value("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [value("y", TensorProto.FLOAT, None if operator == "NonZero" else [1, 8, 32, 32])],
        [helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True)],
    )
    if operator == "NonZero":
        graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def await_no_runner(station):
    """It ends by itself after its host has gone."""
    end = time.monotonic() + LONGEST_S
    while station.phone.processes("runner-"):
        assert time.monotonic() < end
        time.sleep(0.05)


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


def test_a_phone_that_throttles_is_waited_for_and_its_visits_are_not_used(station, tmp_path):
    store = tmp_path / "hot.db"
    hot = station.phone.profile.thermals.replace("mValue=33.4", "mValue=41.0").replace(
        "Thermal Status: 0", "Thermal Status: 1"
    )
    words = ("--target", "adb:litert", "-n", "3", "--store", store)
    process = station.start("collect", *SMALL, *words)
    end = time.monotonic() + LONGEST_S
    while not (store.exists() and len(visits_of(store)) > 1):
        assert time.monotonic() < end
        time.sleep(0.02)
    station.phone.answer("dumpsys.thermalservice", hot)
    seen = len(visits_of(store))
    time.sleep(8)  # a look and more
    assert len(visits_of(store)) <= seen + 1  # the one that was being made
    station.phone.answer("dumpsys.thermalservice", station.phone.profile.thermals)
    _, error = process.communicate(timeout=LONGEST_S)
    assert "the phone cools down (thermal status 1)" in error or len(visits_of(store)) == seen
    for _, code, disturbed, text in visits_of(store):
        found = json.loads(text)
        throttled = "phone-throttled" in found.get("disturbances", ())
        assert code is None
        assert throttled == bool(found["after"]["phone_throttled"])
        assert disturbed or not throttled


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_phone_is_put_back_however_a_collection_ends(station, tmp_path, how):
    before = station.files_outside()
    store = tmp_path / "cut.db"
    words = ("--target", "adb:litert", "-n", "300", "--mode", "fixed-performance", "--store", store)
    process = station.start("collect", *SMALL, *words)
    end = time.monotonic() + LONGEST_S
    while not (store.exists() and len(visits_of(store)) > 1):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert station.phone.asked("fixed-performance-mode") == "true\n"
    os.kill(process.pid, how)
    process.communicate(timeout=LONGEST_S)
    ends = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
    assert process.returncode == ends[how]
    if how == signal.SIGKILL:  # the next start puts it back
        words = ("profile", small_model(tmp_path / "m.onnx"), "--visits", "2")
        station.run(*words, "--target", "adb:litert", status=STATUS)
    assert station.phone.asked("fixed-performance-mode") == "false\n"
    (station.phone.root / "answers/fixed-performance-mode").unlink()
    assert station.files_outside() == before
    await_no_runner(station)
    with sqlite3.connect(store) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)


def test_a_runner_that_hangs_costs_one_visit_and_its_time_out(station, tmp_path):
    store = tmp_path / "hang.db"
    words = ("--target", "adb:litert", "-n", "2", "--timeout", "20", "--store", store)
    process = station.start("collect", *SMALL, *words)
    end = time.monotonic() + LONGEST_S
    while not (store.exists() and visits_of(store)):
        assert time.monotonic() < end
        time.sleep(0.02)
    for number in station.phone.processes("runner-"):
        os.kill(number, signal.SIGSTOP)
    _, error = process.communicate(timeout=4 * LONGEST_S)
    assert "Traceback" not in error
    found = visits_of(store)
    assert [row[1] for row in found if row[1] is not None] in ([], ["timeout"])
    assert len({row[0] for row in found if row[1] is None}) == 2


def test_a_second_latprof_says_who_has_the_phone(station, tmp_path):
    store = tmp_path / "one.db"
    process = station.start(
        "collect", *SMALL, "--target", "adb:litert", "-n", "300", "--store", store
    )
    end = time.monotonic() + LONGEST_S
    while not (store.exists() and visits_of(store)):
        assert time.monotonic() < end
        time.sleep(0.02)
    done = station.run(
        "profile", small_model(tmp_path / "m.onnx"), "--target", "adb:litert", status=4
    )
    assert f"process {process.pid}" in done.stderr
    process.terminate()
    process.communicate(timeout=LONGEST_S)


# Bad input ---------------------------------------------------------------------------------------


def refused(station, status, *words, **more):
    """What a command says in one line."""
    done = station.run(*words, status=status, **more)
    (line,) = [row for row in done.stderr.splitlines() if row.startswith("latprof:")]
    return line


def test_what_cannot_be_measured_is_said_in_one_line_with_the_next_thing_to_do(station, tmp_path):
    model = small_model(tmp_path / "m.onnx")
    fake = tmp_path / "fake.tflite"
    fake.write_bytes(b"this is no TFLite file at all")
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(tflite_bytes(model.read_bytes())[:600])
    real = tmp_path / "real.tflite"
    real.write_bytes(tflite_bytes(model.read_bytes()))
    odd = small_model(tmp_path / "odd.onnx", "NonZero")

    def profile(what, target="adb:litert", status=4, *more):
        return refused(station, status, "profile", what, "--target", target, *more)

    assert "is not a TFLite file" in profile(fake, status=3)
    assert "[unsupported]" in profile(damaged)
    assert "runs no TFLite files" in profile(real, "cpu:onnxruntime")
    assert "NonZero" in profile(odd)
    assert "no phone nobody is there" in profile(model, "adb:nobody:litert")
    assert "big" in profile(model, "adb:litert", 2, "--cores", "medium")
    assert "fewer cores than threads" in profile(model, "adb:litert", 2, "--threads", "2")
    assert "no such core" in profile(model, "adb:litert", 2, "--cores", "7")


def test_a_phone_without_space_says_so_and_the_same_command_resumes(station, tmp_path):
    place, store = "/data/local/tmp/filler", tmp_path / "full.db"
    words = ("collect", *SMALL, "--target", "adb:litert", "-n", "1", "--store", store)
    fill = f"rm -rf /data/local/tmp/latprof; dd if=/dev/zero of={place} bs=4096 2>/dev/null; true"
    station.shell(["sh", "-c", fill])
    lines = [refused(station, 4, *words)]
    station.shell(["/usr/bin/truncate", "-s", f"-{1 << 20}", place])  # room for the journal alone
    lines.append(refused(station, 4, *words))
    for line in lines:
        assert "[device-full]" in line
        assert "make room on the phone" in line
    assert "MB free at /data/local/tmp/latprof" in lines[1]
    assert station.phone.asked("settings.global.stay_on_while_plugged_in") == ""
    station.shell(["rm", place])
    station.run(*words, status=STATUS)
    made = [row for row in visits_of(store) if row[1] is None]
    assert len(made) >= 2  # one that was disturbed is made again


def test_no_library_and_one_for_another_abi(station, tmp_path):
    elsewhere = {"XDG_DATA_HOME": str(tmp_path)}
    model = small_model(tmp_path / "m.onnx")
    words = ("profile", model, "--target", "adb:litert")
    assert "latprof android setup" in refused(station, 4, *words, environment=elsewhere)
