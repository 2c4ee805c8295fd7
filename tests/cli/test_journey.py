"""The main journey, command after command, on real measurements of this computer."""

import csv
import json

import pytest

from latprof.datasets import load
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.measurement.store.store import Store
from latprof.predictors.pack.saving import load_pack
from latprof.profilers.host.facts import processor_name

SPACE = ProxylessSpace(resolution=64)
ARCHITECTURE = "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"


def test_help_names_every_command(latprof):
    done = latprof("--help")
    assert done.returncode == 0
    for command in ("collect", "devices", "doctor", "export", "predict", "report", "train"):
        assert command in done.stdout
        assert latprof(command, "--help").returncode == 0
    assert "130 interrupted" in done.stdout


def test_devices_lists_targets_and_their_state(latprof):
    listed = json.loads(latprof("devices", "--json").stdout)
    ready = {entry["target"]: entry["state"] for entry in listed}
    assert ready["cpu:onnxruntime"] == "ready"
    assert ready.keys() >= {"cpu:torch", "cpu:openvino", "cuda:N:torch"}
    assert "cpu:onnxruntime" in latprof("devices").stdout


@pytest.mark.parametrize("words", [("devices",), ("devices", "--modes"), ("datasets",)])
def test_lists_fit_a_terminal_and_json_has_the_long_names(latprof, words):
    lines = latprof(*words).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert processor_name() not in " ".join(" ".join(lines).split())
    if words == ("devices",):
        assert processor_name() in latprof("devices", "--json").stdout


def test_devices_lists_modes_and_types(latprof):
    listed = {e["target"]: e for e in json.loads(latprof("devices", "--modes", "--json").stdout)}
    assert "compile" in listed["cpu:torch"]["modes"]
    assert listed["cpu:onnxruntime"]["dtypes"][0] == "float32"
    assert "--mode tuned=N" in latprof("devices", "--modes").stdout


def test_doctor_gives_each_line_a_status_and_a_remedy(latprof):
    done = latprof("doctor", "--json")
    checks = json.loads(done.stdout)
    assert {check["status"] for check in checks} <= {"OK", "WARN", "FAIL"}
    assert done.returncode == (1 if any(c["status"] == "FAIL" for c in checks) else 0)
    assert all(check["remedy"] for check in checks if check["status"] != "OK")


def test_collecting_again_finds_everything_done(latprof, collect_options, collected):
    with Store.open(collected) as store:
        finished = len(store.finished_visits(store.only_target().target))
    done = latprof(*collect_options, "--store", collected, "--json")
    values = json.loads(done.stdout)
    # What was disturbed to the last try is tried again; nothing else is.
    assert values["visits_made"] + values["visits_resumed"] == 56
    assert values["visits_resumed"] == finished > 0
    assert values["networks"] == 14
    assert values["target"]["input_shape"] == [1, 3, 64, 64]
    assert 0 < values["noise_floor_percent"] < 100
    assert 0 < values["untimed_fraction"] < 1


def test_train_prints_every_metric_of_every_predictor_and_the_same_again(
    latprof, collected, pack, tmp_path
):
    printed = pack.with_suffix(".txt").read_text(encoding="utf-8")
    for word in ("RMSE ms", "RMSE %", "MAPE", "within 5 %", "within 10 %", "Spearman", "Kendall"):
        assert word in printed
    assert "noise floor" in printed
    assert printed.count(" (saved)") == 1
    for name in ("lookup-table", "linear", "xgboost", "hybrid"):
        assert name in printed or f"{name} cannot be compared" in printed

    again = latprof("train", collected, "-o", tmp_path / "again.pack", "--json").stdout
    values = json.loads(again)
    assert values["comparison"].keys() >= {"linear", "xgboost", "hybrid"}
    saved = load_pack(pack)
    assert values["held_out"] == saved.metrics.to_dict()
    assert values["noise_floor_percent"] == saved.noise_floor.percent
    first, second = saved.held_out, load_pack(tmp_path / "again.pack").held_out
    assert first.architectures == second.architectures  # by the same seed
    assert first.predicted_ms.tolist() == second.predicted_ms.tolist()


def test_predict_answers_for_architectures_with_interval_and_target(latprof, pack):
    done = latprof("predict", ARCHITECTURE, f"proxyless:{ARCHITECTURE}", "--pack", pack, "--json")
    first, second = json.loads(done.stdout)
    assert first["latency_ms"] == second["latency_ms"]
    assert first["low_ms"] < first["latency_ms"] < first["high_ms"]
    assert first["target"]["runtime"] == "onnxruntime"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "member.onnx"
    model = SPACE.build_onnx(SPACE.parse(ARCHITECTURE), batch_norm="kept")
    path.write_bytes(model.SerializeToString())
    return path


def test_a_model_of_the_space_is_recognised_and_predicted_as_its_architecture(latprof, pack, model):
    found, spelled = json.loads(
        latprof("predict", model, ARCHITECTURE, "--pack", pack, "--json").stdout
    )
    assert found["how"] == "architecture"
    assert found["latency_ms"] == pytest.approx(spelled["latency_ms"], rel=0.2)


def test_another_model_is_predicted_from_its_operators_with_its_coverage(
    latprof, pack_elsewhere, tmp_path
):
    pack = pack_elsewhere
    other = ProxylessSpace(widths=(8,) * 9, resolution=64)
    path = tmp_path / "other.onnx"
    path.write_bytes(other.build_onnx(other.sample(1)[0]).SerializeToString())
    done = latprof("predict", path, "--pack", pack, "--json")
    (answer,) = json.loads(done.stdout)
    assert answer["how"] == "operators"
    assert answer["latency_ms"] > 0
    assert 0 <= answer["coverage"] <= 1
    assert answer["is_guess"]
    assert answer["low_ms"] is None
    assert sum(op["latency_ms"] for op in answer["operators"]) <= answer["latency_ms"] * 1.001
    printed = latprof("predict", path, "--pack", pack, "--operators")
    assert "feature_mix" in printed.stdout
    assert "~ " in printed.stdout
    assert "rough estimate" in printed.stderr


def test_a_pack_of_another_target_or_number_of_threads_is_refused(latprof, pack, model):
    runtime = latprof("predict", model, "--pack", pack, "--target", "cpu:openvino")
    threads = latprof("predict", model, "--pack", pack, "--threads", "7")
    none = latprof("predict", model, "--target", "cpu:tvm")
    chosen = latprof("predict", model, "--threads", "2", "--json")

    assert (runtime.returncode, threads.returncode, none.returncode) == (2, 2, 2)
    assert "cpu:openvino" in runtime.stderr
    assert "7 threads" in threads.stderr
    assert none.stderr.startswith("latprof: no pack for cpu:tvm comes with latprof")
    assert "--target cpu:tvm" in none.stderr
    assert json.loads(chosen.stdout)[0]["target"]["threads"] == 2


def test_report_is_one_page_and_pictures(latprof, collected, pack, tmp_path):
    page, plots = tmp_path / "report.html", tmp_path / "plots"
    done = latprof("report", collected, "--pack", pack, "-o", page, "--png", plots)
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert "noise floor" in text.lower()
    assert "depthwise5x5" in text
    assert len(list(plots.glob("*.png"))) >= 5


def test_export_writes_parquet_with_identity_and_csv(latprof, collected, tmp_path):
    import pyarrow.parquet as pq

    parquet, table = tmp_path / "t.parquet", tmp_path / "t.csv"
    done = latprof("export", collected, "--parquet", parquet, "--csv", table)
    assert done.returncode == 0, done.stderr
    arrow = pq.read_table(parquet)
    assert arrow.num_rows == 28
    assert json.loads(json.loads(arrow.schema.metadata[b"latprof.target"]))["device"] == "cpu"
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 28
    assert all(float(row["latency_ms"]) > 0 for row in rows)
    done = latprof("export", collected, "--csv", table, "--visits")
    assert len(table.read_text(encoding="utf-8").splitlines()) >= 57


def test_exports_packs_and_data_sets_name_the_version_of_the_constant(
    latprof, collected, pack, tmp_path
):
    table, dataset = tmp_path / "t.csv", tmp_path / "d.parquet"
    done = latprof("export", collected, "--csv", table, "--dataset", dataset)
    assert done.returncode == 0, done.stderr
    with table.open(encoding="utf-8") as file:
        assert {row["constant"] for row in csv.DictReader(file)} == {"1"}
    constant = load_pack(pack).constant
    assert (constant.number, constant.reference_ms) == (1, load_pack(pack).reference_ms)
    assert constant.doubt >= 0
    stated = load(dataset).attrs["constant"]
    assert (stated["number"], stated["doubt"]) == (1, constant.doubt)


def test_collecting_to_a_precision_says_what_stopped_each_network(latprof, tmp_path):
    store, table = tmp_path / "lat.db", tmp_path / "t.csv"
    options = "--space proxyless --resolution 32 -n 2 --repeat-fraction 0 --visits 2 -q"
    done = latprof(
        *("collect", *options.split(), "--store", store),
        *("--half-width", "30%", "--max-visits", "3", "--json"),
    )
    assert done.returncode == 0, done.stderr
    latprof("export", store, "--csv", table)
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for row in rows:
        assert row["stopped_by"] in {"half-width", "visits"}
        if not row["high_ms"]:  # a loud host disturbed all visits but one: there is no interval
            assert row["stopped_by"] != "half-width"
            continue
        half = (float(row["high_ms"]) - float(row["low_ms"])) / 2 / float(row["latency_ms"])
        # Visits to other networks may widen an interval after it was narrow enough.
        assert half > 0.3 or row["stopped_by"] == "half-width"


def test_a_time_limit_ends_the_collection_and_the_same_command_resumes(latprof, tmp_path):
    """Whether or not a visit begins within the millisecond."""
    options = "collect --space proxyless --resolution 32 -n 2 --repeat-fraction 0 --visits 2 -q"
    command = (*options.split(), "--store", tmp_path / "lat.db")
    done = latprof(*command, "--time-limit", "0.001s")
    assert "the time limit is reached" in done.stderr
    again = json.loads(latprof(*command, "--json").stdout)
    assert again["visits_made"] + again["visits_resumed"] == 4


def test_a_store_becomes_a_data_set_that_loads_by_its_path(latprof, collected, tmp_path):
    path = tmp_path / "mine.parquet"
    done = latprof("export", collected, "--dataset", path, "--licence", "CC0-1.0")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "mine.kernels.parquet",
        "mine.md",
        "mine.parquet",
        "mine.visits.parquet",
    ]
    frame = load(path)
    assert len(frame) == 14
    assert latprof("datasets", path).stdout == (tmp_path / "mine.md").read_text(encoding="utf-8")
    printed = json.loads(latprof("datasets", path, "--json").stdout)
    assert printed == {"schema_version": 2} | frame.attrs


def test_the_shipped_data_sets_are_listed_and_described(latprof):
    names = [values["name"] for values in json.loads(latprof("datasets", "--json").stdout)]
    assert "proxyless-cpu-ort1" in names
    listed = latprof("datasets").stdout
    for name in names:
        assert name in listed
        assert latprof("datasets", name).stdout.startswith(f"# {name}\n")


def test_predict_answers_out_of_the_box(latprof, model):
    done = latprof("predict", ARCHITECTURE, "--json")
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    assert 1 < answer["low_ms"] < answer["latency_ms"] < answer["high_ms"] < 100
    assert answer["target"]["threads"] == 1
    done = latprof("predict", model, "--pack", "proxyless-cpu-ort1")
    assert done.returncode == 0, done.stderr
    assert "for cpu:onnxruntime" in done.stderr


def test_own_models_are_collected_and_reported(latprof, model, tmp_path):
    store = tmp_path / "mine.db"
    done = latprof("collect", model, "--store", store, "--visits", "2", "-q", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["networks"] == 1
    assert latprof("report", store, "-o", tmp_path / "r.html").returncode == 0


def test_nothing_is_coloured_outside_a_terminal(latprof, collected, tmp_path):
    train = ("train", collected, "-o", tmp_path / "p.pack", "--no-compare", "--predictor", "linear")
    for arguments in (("devices",), ("doctor",), train):
        done = latprof(*arguments)
        assert "\x1b[" not in done.stdout + done.stderr
