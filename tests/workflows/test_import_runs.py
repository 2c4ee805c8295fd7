"""Timings of pyperf and pytest-benchmark, read into a store and written from one."""

import json
import os
import subprocess
import sys

import pytest
from command_line import run_latprof

import latprof
from latprof.datasets.importers.files.benchmark_files import (
    BenchmarkFile,
    pyperf_text,
    read_benchmark_file,
)
from latprof.errors import DataSetError


def pyperf(seconds=0.005, commit="", processes=4):
    """A file as pyperf's documentation shows it."""
    runs = [
        {
            "metadata": {"date": f"2026-11-0{row + 1} 10:00:00", "load_avg_1min": 0.1},
            "warmups": [[1, seconds * 3]],
            "values": [seconds * (1 + 0.001 * (row + n)) for n in range(3)],
        }
        for row in range(processes)
    ]
    runs.insert(0, {"metadata": {"calibrate_loops": 4}, "warmups": [[1, seconds]]})
    common = {"unit": "second", "cpu_model_name": "a processor", "perf_version": "2.7.0"}
    common |= {"commit_id": commit, "commit_branch": "main"} if commit else {}
    benchmark = {"metadata": {"name": "resnet", "loops": 1}, "runs": runs}
    return {"version": "1.0", "metadata": common, "benchmarks": [benchmark]}


def written(path, document):
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_a_file_of_pyperf_becomes_visits_of_its_own_target(tmp_path):
    path, store = written(tmp_path / "p.json", pyperf()), tmp_path / "s.db"
    found = latprof.import_runs(path, store)
    assert (found.visits, found.known) == (4, 0)
    assert found.target.spelling == "imported:pyperf"
    assert found.target.runtime_version == "2.7.0"
    (row,) = latprof.labels(store).to_dict("records")
    assert row["name"] == "resnet"
    assert row["low_ms"] < 5.01 < row["high_ms"]
    assert row["latency_ms"] == pytest.approx(5.0, rel=0.01)  # warm-ups, three times as long
    assert latprof.import_runs(path, store).known == 4
    assert len(latprof.labels(store)) == 1


def test_commits_of_imported_files_are_a_history(tmp_path):
    store = tmp_path / "s.db"
    for number, seconds in enumerate((0.005, 0.006)):
        path = written(tmp_path / f"{number}.json", pyperf(seconds, f"{number:040x}"))
        done = run_latprof("import", path, "--store", store, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["visits_added"] == 4
    found = latprof.history(store, "resnet")
    assert [point.is_significant for point in found.points] == [False, True]
    assert found.points[1].change.effect == pytest.approx(0.2, rel=0.01)


def test_what_pytest_benchmark_writes_is_read(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "def test_sum(benchmark):\n    benchmark.pedantic(sum, ([1] * 1000,), rounds=7)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    command += ["--benchmark-json=b.json", "--benchmark-save-data"]
    # That this very test may run in one of several processes is nothing to that program.
    own = {name: value for name, value in os.environ.items() if "XDIST" not in name}
    done = subprocess.run(
        command, cwd=tmp_path, env=own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = latprof.import_runs(tmp_path / "b.json", tmp_path / "s.db")
    assert found.benchmarks == ("test_it.py::test_sum",)
    assert found.target.runtime == "pytest-benchmark"
    (benchmark,) = read_benchmark_file(tmp_path / "b.json").benchmarks
    assert len(benchmark.processes[0].runs_ms) == 7
    document = json.loads((tmp_path / "b.json").read_text())
    del document["benchmarks"][0]["stats"]["data"]
    with pytest.raises(DataSetError, match="benchmark-save-data"):
        latprof.import_runs(written(tmp_path / "c.json", document), tmp_path / "s.db")


@pytest.mark.parametrize(
    ("commit", "states", "known"),
    [
        # As pytest-benchmark writes it outside of a repository, where git fails, amid changes that
        # are not committed, and of a commit without a branch.
        ({"id": "unversioned", "dirty": False, "branch": "(unknown)"}, 2, ("", "")),
        ({"id": "unknown", "dirty": False, "branch": "(unknown)"}, 2, ("", "")),
        ({"id": "7" * 40, "dirty": True, "branch": "main"}, 2, ("7" * 40, "main")),
        ({"id": "7" * 40, "dirty": False, "branch": "(detached head)"}, 1, ("7" * 40, "")),
    ],
)
def test_files_are_of_one_state_only_where_their_commit_is_known(tmp_path, commit, states, known):
    for number in range(2):
        benchmark = {"fullname": "t.py::test_it", "stats": {"data": [0.005 + number / 1000] * 3}}
        document = {"machine_info": {"processor": "one"}, "commit_info": commit}
        document |= {"benchmarks": [benchmark], "datetime": f"2026-11-0{number + 1}T10:00:00"}
        latprof.import_runs(written(tmp_path / f"{number}.json", document), tmp_path / "s.db")
    found = latprof.history(tmp_path / "s.db", "test_it").points
    assert len({point.key for point in found}) == states
    assert (found[0].revision.commit, found[0].revision.branch) == known


@pytest.fixture(scope="module")
def exported(collected, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    words = ("export", collected, "--pyperf", folder / "p.json")
    done = run_latprof(*words, "--pytest-benchmark", folder / "b.json")
    assert done.returncode == 0, done.stderr
    return folder


def test_a_store_is_written_for_both_programs_and_read_back(exported, collected, tmp_path):
    labels = latprof.labels(collected)
    for name, program, processes in (("p", "pyperf", 2), ("b", "pytest-benchmark", 1)):
        found = latprof.import_runs(exported / f"{name}.json", tmp_path / f"{name}.db")
        assert found.target.runtime == program
        assert len(found.benchmarks) == labels["subject"].nunique() == 14
        assert found.visits == 14 * processes
        read = read_benchmark_file(exported / f"{name}.json")
        (label,) = {one.facts["latprof_latency_ms"] for one in read.benchmarks[:1]}
        assert float(label) > 0


def test_pytest_benchmark_itself_reads_what_is_written(exported):
    command = [sys.executable, "-m", "pytest_benchmark", "compare", str(exported / "b.json")]
    # In a folder of its own: pytest would take warnings for errors here.
    done = subprocess.run(command, cwd=exported, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "proxyless" in done.stdout


def one_run(run, **more):
    """A file of pyperf with one benchmark of one run."""
    benchmark = {"metadata": {"name": "a"}, "runs": [run]}
    return json.dumps({"version": "1.0", "benchmarks": [benchmark], **more})


def test_what_a_file_says_beside_its_times_does_no_harm(tmp_path):
    """Dates of no store, half a character, lists for texts: known to nobody, or as an escape."""
    document = pyperf(commit=r"7" * 40)
    runs = document["benchmarks"][0]["runs"][1:]
    dates = ("1969-12-31", "9999-12-31T23:59:59.9+00:00", "0001-01-01", 3)
    for each, date in zip(runs, dates, strict=True):
        each["metadata"]["date"] = date
    document["metadata"] |= {"cpu_model_name": "\ud800", "commit_branch": [["a"]]}
    store = tmp_path / "s.db"
    found = latprof.import_runs(written(tmp_path / "p.json", document), store)
    assert found.target.device_name == r"\ud800"
    assert len(latprof.history(store, "resnet").points) == 1
    latprof.export(store, pyperf=tmp_path / "again.json")
    assert read_benchmark_file(tmp_path / "again.json").benchmarks[0].name == "resnet"
    # pyperf refuses an empty text, as the branch of a detached commit, and one of two lines.
    again = json.loads((tmp_path / "again.json").read_text())
    assert "commit_id" in again["metadata"]
    assert "commit_branch" not in again["metadata"]
    one = BenchmarkFile("latprof", "", "a\nb", "7" * 40, "", 0.0, ())
    assert json.loads(pyperf_text(one))["metadata"]["cpu_model_name"] == "a b"


def one_round(data):
    benchmark = {"stats": {"data": data}, "name": "a"}
    return json.dumps({"machine_info": {}, "benchmarks": [benchmark]})


@pytest.mark.parametrize(
    "document",
    [
        *("", "[]", "{}", "[" * 100_000, '{"version": "1.0", "benchmarks": []}'),
        *('{"version": "1.0", "benchmarks": [{"runs": 3}]}', '{"machine_info": 3}'),
        *(one_run({}), one_run({"values": [0]}), one_run({"values": [float("nan")]})),
        one_run({"values": [1], "warmups": [[1]]}),
        one_run({"values": [1]}, metadata={"unit": "byte"}),
        *(one_round(["x"]), one_round([True]), one_round([]), one_round([1e300])),
        *(one_round([1e-320]), one_round([1] * 1_000_001)),
        *(one_round("deep").replace('"deep"', "[" * n + "]" * n) for n in (700, 800, 960)),
        one_round([1]).replace('"a"', '""'),
        one_round([1]).replace('"a"', r'"\ud800"'),
    ],
)
def test_a_file_of_another_kind_is_one_error_and_makes_no_store(document, tmp_path):
    path = written(tmp_path / "bad.json", document)
    done = run_latprof("import", path, "--store", tmp_path / "s.db")
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "s.db").exists()
