"""The whole journey from Python alone, with the figures of the command line on the same store."""

import json
import shutil

import numpy as np
import pytest

import latprof
from latprof.errors import UsageError

SPACE = latprof.ProxylessSpace(resolution=64)
ARCHITECTURE = "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"


@pytest.fixture(scope="module")
def store(collected, tmp_path_factory):
    """A copy of the store, which commands and functions may freeze and extend."""
    return shutil.copy(collected, tmp_path_factory.mktemp("journey") / "lat.db")


@pytest.fixture(scope="module")
def trained(store):
    return latprof.train(store, store.with_name("python.pack"))


@pytest.fixture(scope="module", name="command")
def _command(request):
    """The command line, whose fixture has the package's name."""
    return request.getfixturevalue("latprof")


def test_collect_resumes_what_the_command_collected(command, collect_options, store):
    seen = []
    found = collect(store, on_progress=seen.append)
    done = command(*collect_options, "--store", store, "--json")
    assert done.returncode == found.exit_status == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed.pop("schema_version") == 2
    assert found.outcome.made + found.outcome.resumed == 56
    for name, value in found.to_dict().items():
        if not name.startswith(("visits_", "tries_", "networks_an_hour", "untimed", "host")):
            assert printed[name] == value, name


def collect(store, **more):
    options = {"space": "proxyless", "resolution": 64, "visits": 2, "n": 14, "ops": True}
    return latprof.collect(store=store, **options, **more)


def test_train_fits_what_the_command_fits(pack, store, trained):
    for path in (pack, store.with_name("python.pack")):
        found = latprof.load_pack(path)
        assert (found.metrics, found.noise_floor) == (trained.metrics, trained.noise_floor)
        assert found.comparison == trained.comparison


def test_predict_answers_as_the_command_does(command, trained, store):
    one = latprof.predict(ARCHITECTURE, trained)
    listed = latprof.predict([ARCHITECTURE, SPACE.parse(ARCHITECTURE)], trained)
    assert one == listed[0] == listed[1]
    done = command("predict", ARCHITECTURE, "--pack", store.with_name("python.pack"), "--json")
    (printed,) = json.loads(done.stdout)
    assert printed["latency_ms"] == one.latency_ms
    assert (printed["low_ms"], printed["high_ms"]) == (one.low_ms, one.high_ms)


def test_one_bad_network_takes_no_good_answer_along(command, trained, store, tmp_path):
    model = tmp_path / "member.onnx"
    model.write_bytes(SPACE.onnx_bytes(SPACE.parse(ARCHITECTURE)))
    failed = []
    networks = [ARCHITECTURE, "1,2", tmp_path / "none.onnx", str(model)]
    found = latprof.predict(networks, trained, on_error=lambda name, error: failed.append(name))
    assert [answer.name for answer in found] == [f"proxyless:{ARCHITECTURE}", str(model)]
    assert failed == ["1,2", str(tmp_path / "none.onnx")]
    with pytest.raises(latprof.LatprofError, match="neither a file nor an architecture"):
        latprof.predict(networks, trained)
    done = command("predict", *networks, "--pack", store.with_name("python.pack"), "--json")
    assert done.returncode == 5
    assert len(json.loads(done.stdout)) == 2
    assert done.stderr.startswith("latprof: 2 networks have no answer: 1,2: ")
    assert f"; {tmp_path / 'none.onnx'}: " in done.stderr


def test_report_shows_itself_and_writes_what_is_asked_for(store, trained, tmp_path):
    shown = latprof.report(store, pack=trained)
    assert "noise floor" in shown.html.lower()
    assert shown._repr_html_().startswith("<iframe")
    assert (shown.page, shown.pictures) == (None, ())
    written = latprof.report(store, tmp_path / "r.html", png=str(tmp_path / "plots"))
    assert written.page.is_file()
    assert len(written.pictures) >= 3


def test_export_takes_an_open_store_and_leaves_it_open(store, tmp_path):
    with latprof.Store.open(store) as opened:
        found = latprof.export(opened, csv=tmp_path / "t.csv", dataset=tmp_path / "d.parquet")
        assert opened.targets()
    assert found.tables == (tmp_path / "t.csv",)
    assert found.rows == 28
    table = latprof.load_dataset(tmp_path / "d.parquet")
    assert len(table) == 14
    assert len(latprof.load_dataset(tmp_path / "d.parquet", "visits")) == 56


def test_search_takes_a_function_and_verify_measures_its_winner(store, trained, tmp_path):
    seen, notes = [], []

    def accuracy(architectures):
        return np.array([sum(a.choices) / 10 for a in architectures])

    options = {"pack": trained, "accuracy": accuracy, "upper": None, "budget": 6, "at_once": 3}
    found = latprof.search(
        store=tmp_path / "s.db",
        output=tmp_path / "page.html",
        export=tmp_path / "best.onnx",
        on_progress=seen.append,
        on_note=notes.append,
        **options,
    )
    assert [each.step for each in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1].best.accuracy == found.best.accuracy
    assert found.written == (tmp_path / "best.onnx", tmp_path / "page.html")
    again = latprof.search(store=tmp_path / "s.db", **options)
    assert (again.run.resumed, again.best) == (6, found.best)
    assert "<iframe" in again._repr_html_()
    verified = latprof.verify(trained, str(found.best.architecture), visits=2, half_width=1)
    assert verified.same_target
    assert verified.predicted_ms == pytest.approx(found.best.latency_ms)
    assert found.to_dict()["best"]["latency_ms"] == found.best.latency_ms


def test_transfer_from_python_weighs_as_the_command_does(command, store, trained):
    pack = latprof.transfer(trained, store)
    done = command("transfer", "--from", store.with_name("python.pack"), store, "--json")
    printed = json.loads(done.stdout)
    assert isinstance(pack.predictor, latprof.TransferPredictor)
    assert list(printed["sources"].values()) == pack.predictor.weights_.tolist()[:1]
    assert printed["left_out"] == pack.metrics.to_dict()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: latprof.collect(space="fbnet", max_visits=9), "`max_visits` is for `half_width`"),
        (latprof.collect, "nothing to measure"),
        (lambda: latprof.collect("m.onnx", space="fbnet"), "several things to measure"),
        (lambda: latprof.collect(plan="transfer"), "no pack to transfer from"),
        (lambda: latprof.collect(space="fbnet", sources="a"), "`sources` is for `plan` transfer"),
        (latprof.search, "either `accuracy` or `data`"),
        (
            lambda: latprof.search(accuracy="a:b", other_target=True),
            "`other_target` is for `verify`",
        ),
        (lambda: latprof.report(["a.db", "b.db"]), "several stores need `side_by_side`"),
        (lambda: latprof.report("a.db", side_by_side=True, target="x"), "neither `pack` nor"),
        (lambda: latprof.export("a.db"), "give `parquet`, `csv` or `dataset`"),
        (lambda: latprof.export("a.db", csv="t.csv", notes="n.md"), "`notes` is for `dataset`"),
        (lambda: latprof.compare("a.db", "proxyless:1"), "a store and a network"),
        (lambda: latprof.profile("m.onnx", kernels=False, trace="t"), "`trace` needs `kernels`"),
        (lambda: latprof.lookup_table("proxyless-cpu-ort1", "xml"), "unknown format 'xml'"),
        (lambda: latprof.load_dataset("proxyless-cpu-ort1", "rows"), "unknown rows 'rows'"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused_by_their_names(
    call, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        call()
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_devices_and_doctor_are_records():
    ready = {found.target: found.state for found in latprof.devices()}
    assert ready["cpu:onnxruntime"] == "ready"
    found = latprof.doctor()
    assert found.exit_status == int(any(check.status == "FAIL" for check in found.checks))
    assert [check["name"] for check in found.to_dict()] == [check.name for check in found.checks]
