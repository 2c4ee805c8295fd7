"""``latprof search`` as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import onnx
import pytest

from latprof.cli.main import main
from latprof.datasets import ProxylessSpace, load
from latprof.errors import HostBusyError
from latprof.measurement import Failure, VisitCounts
from latprof.measurement.store.store import Store
from latprof.measurement.store.trails import Trails
from latprof.predictors.models.linear import LinearPredictor
from latprof.predictors.pack.saving import load_pack, save_pack
from latprof.profilers.base import RunOptions
from latprof.searchers import Verification
from latprof.testing.fakes import FakeProfiler
from latprof.workflows import search as workflow

OWN = """
import numpy, time, os
def accuracy(architectures):
    time.sleep(float(os.environ.get("SLOW", "0")))
    return numpy.array([sum(a.choices) / 10 for a in architectures])
def broken(architectures):
    return [1.0, 2.0]
def leave(architectures):
    raise SystemExit(0)
def words(architectures):
    return ["good"]
"""


MACRO = "nasbench-macro-cpu-ort1-b4"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "failing.py").write_text("raise RuntimeError('not today')")
    return tmp_path


def search(latprof, place, *arguments):
    return latprof("search", "--store", "s.db", "-q", *arguments, cwd=place)


def test_the_best_network_under_a_limit_with_page_pictures_and_model(latprof, place):
    done = search(
        latprof,
        place,
        *("--accuracy", "own:accuracy", "--limit-ms", "5.5", "--budget", "60", "--json"),
        *("-o", "page.html", "--png", "pictures", "--export", "best.onnx"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    best = found["best"]
    assert best["latency_ms"] < best["bound_ms"] <= 5.5
    pack = load_pack("proxyless-cpu-ort1")
    (bound,) = pack.predictor.predict([pack.space.parse(best["architecture"])], upper=0.95)
    assert best["bound_ms"] == pytest.approx(bound)
    assert found["steps"] == 60
    model = onnx.load(place / "best.onnx")
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [
        1,
        3,
        224,
        224,
    ]
    page = (place / "page.html").read_text()
    assert best["architecture"] in page
    assert "<svg" in page
    names = {path.name for path in (place / "pictures").iterdir()}
    assert {"accuracy-against-latency.png", "architecture.svg"} <= names


def test_the_same_command_asks_for_no_accuracy_twice(latprof, place):
    arguments = ("--accuracy", "own:accuracy", "--limit-ms", "6", "--json")
    first = json.loads(search(latprof, place, *arguments, "--budget", "30").stdout)
    again = json.loads(search(latprof, place, *arguments, "--budget", "30").stdout)
    assert (again["steps_resumed"], again["best"]) == (30, first["best"])
    longer = json.loads(search(latprof, place, *arguments, "--budget", "50").stdout)
    assert (longer["steps"], longer["steps_resumed"]) == (50, 30)
    other = json.loads(search(latprof, place, *arguments, "--budget", "5", "--seed", "1").stdout)
    assert (other["search"], other["steps_resumed"]) == (2, 0)


def test_interrupted_it_goes_on_where_it_was(latprof, place):
    arguments = ["--accuracy", "own:accuracy", "--limit-ms", "6", "--budget", "40"]
    command = [sys.executable, "-c", "from latprof.cli.main import main; main()", "search"]
    running = subprocess.Popen(
        [*command, "--store", "s.db", *arguments, "--method", "netadapt"],
        cwd=place,
        env=os.environ | {"SLOW": "0.3"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 600
    while not stored_steps(place / "s.db"):
        assert time.monotonic() < deadline, "no step is kept"
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=900)
    assert running.returncode == 130, errors
    assert "rerun the same command to resume" in errors
    assert "Traceback" not in errors
    kept = stored_steps(place / "s.db")
    done = search(latprof, place, *arguments, "--method", "netadapt", "--json")
    found = json.loads(done.stdout)
    assert 0 < kept <= found["steps_resumed"] <= found["steps"]


def stored_steps(path):
    if not path.exists():
        return 0
    try:
        with Store.open(path) as store:
            return sum(found.steps for found in Trails(store).searches())
    except Exception:
        return 0


def test_measured_latencies_in_place_of_a_pack(latprof, place):
    done = search(
        latprof,
        place,
        *("--latency", "nasbench-macro-cpu-ort1-b4", "--accuracy", "own:accuracy"),
        *("--limit-ms", "4", "--budget", "40", "--json"),
    )
    assert done.returncode == 0, done.stderr
    best = json.loads(done.stdout)["best"]
    spelled = best["architecture"].removeprefix("nasbench-macro:")
    frame = load("nasbench-macro-cpu-ort1-b4").set_index("architecture")
    assert best["latency_ms"] == best["bound_ms"] == frame["latency_ms"][spelled]


def test_a_search_by_gradient_on_a_folder_of_images(latprof, place):
    images(place / "pictures")
    arguments = ("--space", "nasbench-macro", "--method", "proxyless-g", "--data", "pictures")
    arguments += ("--image-size", "8", "--limit-ms", "4", "--budget", "2", "--json", "-o", "p.html")
    done = search(latprof, place, *arguments)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["steps"] == 2
    assert found["best"]["bound_ms"] <= 4
    assert not list(place.glob("*.pt"))


def test_a_done_search_by_gradient_is_not_trained_again(latprof, place):
    images(place / "pictures")
    arguments = ("--space", "nasbench-macro", "--method", "proxyless-r", "--data", "pictures")
    arguments += ("--image-size", "8", "--limit-ms", "4", "--budget", "1", "--json")
    first = json.loads(search(latprof, place, *arguments).stdout)
    again = json.loads(search(latprof, place, *arguments).stdout)
    assert (first["steps_resumed"], again["steps_resumed"]) == (0, 1)
    assert again["best"] == first["best"]


def test_another_function_under_the_same_name_is_another_search(latprof, place):
    arguments = ("--accuracy", "own:accuracy", "--limit-ms", "6", "--budget", "5", "--json")
    search(latprof, place, *arguments)
    (place / "own.py").write_text("def accuracy(architectures): return [7.0] * len(architectures)")
    found = json.loads(search(latprof, place, *arguments).stdout)
    assert found["best"]["accuracy"] == 7.0
    assert found["steps_resumed"] == 0


def test_an_own_module_may_be_called_as_one_of_pythons(latprof, place):
    (place / "html.py").write_text("raise RuntimeError('not mine')")
    arguments = ("--accuracy", "own:accuracy", "--limit-ms", "6", "--budget", "5", "-o", "p.html")
    # The installed command does not begin its path with the working directory, as -c does.
    done = latprof(
        *("search", "--store", "s.db", *arguments),
        cwd=place,
        env=os.environ | {"PYTHONSAFEPATH": "1"},
    )
    assert done.returncode == 0, done.stderr


def images(folder):
    from PIL import Image

    generator = np.random.default_rng(0)
    for label in range(2):
        (folder / f"class{label}").mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 120, (8, 8, 3), dtype=np.uint8) + 100 * label
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"class{label}/{number}.png")


@pytest.fixture(scope="module")
def fitted():
    """A predictor of a device whose times are computed: 0.1 ms an operator; read only."""
    space = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
    rows = space.sample(150)
    latency = [0.1 * len(space.build_onnx(row).graph.node) for row in rows]
    return LinearPredictor(space).fit(rows, latency)


@pytest.fixture
def fake_pack(place, latprof_distribution, fitted):
    """The pack of that device, however busy this host."""
    points = {"latprof.profilers": {"fake:clock": "latprof.testing.fakes:FakeProfiler"}}
    latprof_distribution("fake-latprof", {}, points)
    path = place / "fake.pack"
    save_pack(fitted, path, target=FakeProfiler(RunOptions()).target((1, 3, 32, 32)))
    return path


def test_a_winner_is_measured_and_other_targets_searched(latprof, place, fake_pack):
    twin = place / "twin.pack"
    save_pack(replace(load_pack(fake_pack), created_at="another time"), twin)
    done = search(
        latprof,
        place,
        *("--pack", fake_pack, "--also", twin, "--accuracy", "own:accuracy", "--limit-ms", "1000"),
        *("--upper", "0", "--budget", "8", "--verify", "--visits", "2", "--json"),
        *("-o", "p.html"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    verification, table = found["verification"], found["cross_target"]
    assert verification["same_target"]
    assert verification["measured_ms"] == pytest.approx(verification["predicted_ms"], rel=0.01)
    assert verification["low_ms"] <= verification["measured_ms"] <= verification["high_ms"]
    assert table["source"] == "measured"
    assert np.array(table["latency_ms"]).shape == (2, 2)
    page = (place / "p.html").read_text()
    assert "Searched for one target, run on all" in page
    assert 'id="verification"' in page
    same = ("--pack", fake_pack, "--also", fake_pack, "--accuracy", "own:accuracy")
    again = search(latprof, place, *same)
    assert again.returncode == 2
    assert "one target twice" in again.stderr


def test_visits_that_a_measured_network_lost_are_said(latprof, place, pack, monkeypatch):
    def measure(pack, found, *, limit_ms, **_options):
        here = pack.target
        lost = VisitCounts(15, 1, failures=((str(found), Failure("timeout", "told to")),))
        return Verification(str(found), 5.0, 4.9, 5.1, 5.0, 5.0, limit_ms, here, here, lost)

    monkeypatch.setattr(workflow, "measure", measure)
    save_pack(replace(load_pack(pack), created_at="another time"), place / "twin.pack")
    arguments = (
        "--pack",
        pack,
        "--also",
        "twin.pack",
        "--accuracy",
        "own:accuracy",
        "--upper",
        "0",
    )
    done = search(latprof, place, *arguments, "--budget", "4", "--verify", "--limit-ms", "1000")
    assert done.returncode == 5, done.stderr
    lost = "1 of 16 visits failed and are missing from the result: told to [timeout]"
    assert done.stderr.count(lost) == 1 + 4, "the winner, and two networks on two targets"


def test_what_was_found_is_a_result_on_a_host_that_is_too_busy_to_measure_it(
    latprof, place, fake_pack, monkeypatch
):
    def measure(*_given, **_options):
        raise HostBusyError("the host is busy: told to")

    monkeypatch.setattr(workflow, "measure", measure)
    words = ("--pack", fake_pack, "--accuracy", "own:accuracy", "--upper", "0", "--budget", "4")
    words += ("--limit-ms", "1000", "--verify", "--require-quiet")
    done = search(latprof, place, *words, "--export", "busy.onnx")
    assert done.returncode == 4, done.stderr
    assert "\nfound  " in done.stdout
    assert "measured    no: the host is busy: told to [host-busy]" in done.stdout
    assert (place / "busy.onnx").exists()
    found = json.loads(search(latprof, place, *words, "--json").stdout)
    assert found["best"]["latency_ms"] > 0
    assert (found["verification"], found["unmeasured"]["code"]) == (None, "host-busy")


def test_a_broken_limit_is_a_finding(latprof, place, fake_pack):
    real = load_pack(fake_pack)
    rows = real.space.sample(40)
    halved = LinearPredictor(real.space).fit(rows, real.predictor.predict(rows) / 2)
    save_pack(replace(real, predictor=halved, metrics=None, held_out=None), place / "half.pack")
    limit = str(float(halved.predict(rows).max()))
    arguments = ("--pack", "half.pack", "--accuracy", "own:accuracy", "--upper", "0", "--verify")
    arguments += ("--visits", "4")
    done = search(latprof, place, *arguments, "--limit-ms", limit, "--budget", "5")
    assert done.returncode == 1, done.stderr
    assert "BREAKS THE LIMIT" in done.stdout


def test_another_host_s_pack_is_refused_before_the_search(latprof, place):
    done = search(
        latprof,
        place,
        *("--pack", "proxyless-cpu-ort2", "--accuracy", "own:accuracy", "--verify"),
    )
    if done.returncode == 0:
        pytest.skip("this host is the pack's own target")
    assert done.returncode == 2
    assert "another target than this host" in done.stderr
    assert not (place / "s.db").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "needs an accuracy source: either --accuracy or --data"),
        (("--accuracy", "own:accuracy", "--data", "digits"), "either --accuracy or --data"),
        (("--accuracy", "own:broken"), "something else than an accuracy"),
        (("--accuracy", "own:accuracy", "--method", "magic"), "magic"),
        (("--accuracy", "own:accuracy", "--method", "lightnas"), "supernet"),
        (("--accuracy", "own:accuracy", "--limit-ms", "-1"), "limit"),
        (("--accuracy", "own:accuracy", "--limit-ms", "nan"), "limit"),
        (("--accuracy", "own:accuracy", "--upper", "2"), "not a share"),
        (("--accuracy", "own:accuracy", "--option", "population"), "NAME=VALUE"),
        (("--accuracy", "own:accuracy", "--option", "colour=red"), "no option 'colour'"),
        (("--accuracy", "own:accuracy", "--budget", "0"), "budget"),
        (("--accuracy", "own:accuracy", "--space", "nasbench201"), "no pack of the space"),
        (
            ("--accuracy", "own:accuracy", "--space", "fbnet", "--pack", "proxyless-cpu-ort1"),
            "fbnet",
        ),
        (("--data", "not-there"), "no folder"),
        (("--latency", MACRO, "--data", "digits", "--method", "fbnet"), "--pack"),
        (("--latency", "proxyless-cpu-ort1", "--accuracy", "own:accuracy"), "every network"),
        (("--accuracy", "own:accuracy", "--limit-ms", "0.01"), "at best"),
        (("--accuracy", "own:accuracy", "--upper", "1%"), "--upper is out of range"),
        (("--accuracy", "own:accuracy", "--seed", "-1"), "seed"),
        (("--accuracy", "own:accuracy", "--option", "population=true"), "another type"),
        (("--accuracy", "own:accuracy", "--option", "mutation_probability=a"), "another type"),
        (("--accuracy", "own:accuracy", "--method", "mnas", "--option", "exponents=[1]"), "type"),
        (
            ("--accuracy", "own:accuracy", "--option", "checkpoint=a"),
            "sets option 'checkpoint' itself",
        ),
        (("--accuracy", "own:accuracy", "--space", "proxylss"), "proxylss"),
        (("--accuracy", "own:accuracy", "--other-target"), "--verify"),
        (("--accuracy", "own:accuracy", "-o", "no/where.html"), "no/where.html"),
        (("--accuracy", "own:accuracy", "--export", "."), "directory"),
        (("--accuracy", "own:accuracy", "--png", "own.py"), "own.py"),
        (("--accuracy", "own.py"), "own:NAME"),
        (("--accuracy", "own:leave"), "ended the program"),
        (("--accuracy", "own:words"), "something else"),
        (("--accuracy", "failing:accuracy"), "RuntimeError: not today"),
        (("--latency", "nothing", "--accuracy", "own:accuracy"), "nothing"),
    ],
)
def test_bad_input_is_one_line(place, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for module in ("own", "failing"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "argv", ["latprof", "search", "--store", "s.db", "-q", *arguments])
    with pytest.raises(SystemExit) as leaving:
        main()
    printed = capsys.readouterr()
    finding = words == "at best"  # a limit that no network keeps
    assert leaving.value.code in ((1,) if finding else (2, 3))
    assert words in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert printed.out == ""
