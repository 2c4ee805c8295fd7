"""One network's kernels, and verdicts between networks and stores, from the command line."""

import csv
import itertools
import json

import pytest
from failing_measurer import FailingMeasurer

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.profilers.visits import measurers
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.testing.fakes import FakeProfiler

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=64, num_classes=10)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A shallow and a deep network: the second takes several times as long."""
    place = tmp_path_factory.mktemp("models")
    shallow = [6 if count > 6 else 0 for count in SPACE.num_choices]
    for name, choices in (("shallow", shallow), ("deep", [5] * 21)):
        architecture = SPACE.parse(",".join(map(str, choices)))
        (place / f"{name}.onnx").write_bytes(SPACE.onnx_bytes(architecture))
    return place / "shallow.onnx", place / "deep.onnx"


def test_profile_prints_kernels_that_add_up_and_writes_a_trace(latprof, models, tmp_path):
    trace = tmp_path / "trace.json"
    done = latprof("profile", models[1], "--json", "--trace", trace)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    total = sum(kernel["latency_ms"] for kernel in values["kernels"])
    assert total == pytest.approx(values["kernel_sum_ms"])
    assert values["gap_ms"] == pytest.approx(values["latency_ms"] - total)
    assert "stage1.block0.depthwise" in {kernel["name"] for kernel in values["kernels"]}
    events = json.loads(trace.read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X"]
    assert len(spans) >= len(values["kernels"])
    for before, after in itertools.pairwise(spans):
        assert after["ts"] == pytest.approx(before["ts"] + before["dur"], abs=0.01)


@pytest.fixture
def failing(monkeypatch):
    """Codes of failures, one a try, of visits that a computed device makes in place of this one."""
    codes = []
    shared = (codes.pop(0) if codes else None for _ in itertools.count())
    seeds = itertools.count()

    def make(_target, options, reference, protocol, reference_runs=None, **_how):
        profiler = FakeProfiler(options, seed=next(seeds), load_noise=0.01)
        inner = InProcessMeasurer(profiler, reference, protocol, "", reference_runs)
        return FailingMeasurer(inner, shared)

    monkeypatch.setattr(measurers, "ProcessMeasurer", make)
    return codes


def test_profile_says_which_visits_are_missing(latprof, models, failing):
    failing += [None, "timeout", "timeout", "timeout"]
    done = latprof("profile", models[0], "--json")
    assert done.returncode == 5
    values = json.loads(done.stdout)
    assert (values["visits_made"], values["visits_failed"]) == (7, 1)
    assert values["failures"] == [
        {"network": "shallow.onnx", "code": "timeout", "message": "told to"}
    ]
    assert "1 of 8 visits failed and are missing from the result: told to [timeout]" in done.stderr
    assert not failing, "all of them were made"
    failing += [None, "timeout", "timeout", "timeout"]
    done = latprof("profile", models[0])
    assert done.returncode == 5
    assert "visits     7 made, 1 failed" in done.stdout
    done = latprof("profile", models[0])
    assert done.returncode == 0
    assert "visits     8 made, 0 failed" in done.stdout
    assert "8/8 visits, ETA 0:00:00" in done.stderr
    done = latprof("profile", models[0], "-q")
    assert done.stderr == ""


def test_profile_of_a_network_that_always_fails_has_the_status_of_its_failure(
    latprof, models, failing
):
    failing += ["timeout"] * 3
    done = latprof("profile", models[0])
    assert done.returncode == 124
    assert "told to [timeout]" in done.stderr


def test_an_interval_that_stays_wider_than_asked_for_is_remarked_on(latprof, models, failing):
    wanted = ("--half-width", "0.01%", "--max-visits", "8")
    done = latprof("profile", models[0], *wanted)
    assert done.returncode == 0, done.stderr
    assert "to either side, not 0.01%: --max-visits allows more" in done.stderr
    wanted = ("--half-width", "0.01%", "--processes", "2", "--max-processes", "2")
    done = latprof("compare", *models, *wanted)
    assert done.returncode == 0, done.stderr
    assert "to either side, not 0.01%: --max-processes allows more" in done.stderr


def test_compare_says_which_visits_are_missing(latprof, models, failing):
    effort = ("--processes", "4", "--visits", "2")
    failing += [None, None, "runtime-failed", "runtime-failed", "runtime-failed"]
    done = latprof("compare", *models, *effort, "--json")
    assert done.returncode == 5
    (values,) = json.loads(done.stdout)
    assert (values["samples"], values["visits_made"], values["visits_failed"]) == (3, 15, 1)
    assert values["verdict"] == "slower"
    assert "1 of 16 visits failed" in done.stderr
    failing += [None, None, "runtime-failed", "runtime-failed", "runtime-failed"]
    done = latprof("compare", *models, *effort, "--fail-if", "slower>3%")
    assert done.returncode == 1, "the verdict comes first"
    assert "1 of 16 visits failed" in done.stderr
    done = latprof("compare", *reversed(models), *effort, "--fail-if", "slower>3%")
    assert done.returncode == 0, done.stderr
    assert "faster" in done.stdout


@pytest.mark.parametrize("order", ["run", "time", "kind"])
def test_profile_lists_by_run_time_or_kind(latprof, models, order):
    done = latprof("profile", models[0], "--by", order, "--visits", "1")
    assert done.returncode == 0, done.stderr
    for word in ("latency", "reference", "kernels  ", "profiling", "conv1x1", "depthwise3x3"):
        assert word in done.stdout


def test_a_csv_has_the_rows_that_are_asked_for(latprof, models):
    words = ("profile", models[1], "--visits", "1", "-q", "--format", "csv")
    rows = [*csv.DictReader(latprof(*words, "--top", "3").stdout.splitlines())]
    times = [float(row["latency_ms"]) for row in rows]
    assert len(rows) == 3
    assert times == sorted(times, reverse=True)
    rows = [*csv.DictReader(latprof(*words, "--by", "kind").stdout.splitlines())]
    kinds = [row["kind"] for row in rows]
    assert len(set(kinds)) == len(kinds) < sum(int(row["kernels"]) for row in rows)
    both = latprof(*words, "--by", "kind", "--top", "3")
    assert both.returncode == 2
    assert "--top lists kernels" in both.stderr


def test_profile_of_several_settings_has_latency_and_throughput_of_each(latprof, models, tmp_path):
    done = latprof(
        *("profile", models[0], "--batch-size", "1,2", "--visits", "1", "--streams", "1"),
        *("-q", "--json", "-o", tmp_path / "page.html", "--png", tmp_path / "pictures"),
    )
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert [(p["batch_size"], p["threads"]) for p in values["points"]] == [(1, 1), (2, 1)]
    for point in values["points"]:
        assert point["items_per_s"] == pytest.approx(
            1000 * point["batch_size"] / point["latency_ms"]
        )
    assert [each["batch_size"] for each in values["streams"]] == [1, 2]
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        *("latency.png", "throughput.png", "streams.png"),
    }
    assert "shallow.onnx" in (tmp_path / "page.html").read_text()
    done = latprof("profile", models[0], "--batch-size", "1,2", "--trace", tmp_path / "t.json")
    assert done.returncode == 2
    assert "--trace is for one batch size" in done.stderr
    assert "shows several" not in done.stderr
    page = ("-o", tmp_path / "again.html", "--fail-if", "> 5 ms")
    done = latprof("profile", models[0], *page)
    assert done.returncode == 2
    assert "and --output shows several" in done.stderr


def test_compare_gives_a_verdict_and_the_condition_sets_the_status(latprof, models):
    effort = ("--processes", "3", "--visits", "2")
    done = latprof("compare", *models, *effort, "--fail-if", "slower>3%", "--json")
    assert done.returncode == 1, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["verdict"] == "slower"
    assert found["effect"] > 1
    assert found["b"]["latency_ms"] == pytest.approx(
        found["a"]["latency_ms"] * (1 + found["effect"])
    )
    assert found["a"]["low_ms"] < found["a"]["latency_ms"] < found["a"]["high_ms"]
    assert found["target"]["runtime"] == "onnxruntime"
    assert {"quiet", "warnings", "preempted_runs"} <= found["host"].keys()
    assert found["constant"]["reference_ms"] == found["reference_ms"] > 0
    assert found["reference"].startswith("proxyless-mobile")
    (verdict,) = found["budgets"]
    assert (verdict["outcome"], verdict["unit"]) == ("broken", "fraction")
    assert verdict["low"] == found["low"] > 0.03


def test_a_store_compared_with_itself_shows_no_difference(latprof, collected):
    words = ("compare", collected, collected, "--fail-if", "slower>0%", "--json")
    assert latprof(*words).returncode == 1, "an interval around 0 does not show it"
    done = latprof(*words, "--allow-open")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {each["outcome"] for c in found for each in c["budgets"]} <= {"kept", "not shown"}
    assert len(found) == 14
    assert {c["verdict"] for c in found} == {"no evidence"}


def test_an_empty_file_called_a_store_is_told_to_be_none(latprof, collected, tmp_path):
    (tmp_path / "empty.db").touch()
    done = latprof("compare", tmp_path / "empty.db", collected)
    assert done.returncode == 3
    assert "empty.db is not a latprof store" in done.stderr


def test_what_cannot_be_compared_is_refused(latprof, collected, models):
    done = latprof("compare", collected, models[0])
    assert done.returncode == 2
    assert "a store and a network" in done.stderr
    done = latprof("compare", *models, "--fail-if", "worse")
    assert done.returncode == 2
    assert "the condition cannot be read" in done.stderr
    done = latprof("profile", "nothing.onnx")
    assert done.returncode == 3
    assert "[model-file]" in done.stderr
