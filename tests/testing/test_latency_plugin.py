"""Budgets of latency as a user's tests state them."""

import dataclasses
import importlib
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from latprof.datasets.importers.files.benchmark_files import read_benchmark_file
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import HostBusyError, InvalidValueError
from latprof.measurement.budgets import Budget
from latprof.testing import Latency, LatencyFixture, ms

workflow = importlib.import_module("latprof.workflows.profile")

SUITE = """
import pytest
from latprof.testing import ms
from latprof.testing.latency_fixture import LatencyFixture
from latprof.errors import HostBusyError

def test_kept(latency):
    assert latency.predict("model.onnx") < ms(1000)

def test_broken(latency):
    assert latency.predict("model.onnx") < ms(0.001)

def test_broken_the_other_way_round(latency):
    assert ms(0.001) > latency.predict("model.onnx")

@pytest.mark.latency_budget("model.onnx", "0.001 ms", pack=None)
def test_marked():
    raise RuntimeError("never begun")

@pytest.mark.latency_budget("none.onnx", "5 ms", pack=None)
def test_marked_with_no_file():
    pass

@pytest.mark.latency_budget("model.onnx")
def test_marked_without_a_budget():
    pass

@pytest.mark.latency_budget("model.onnx", "5 ms", pack=None, uper=0.95)
def test_marked_with_an_unknown_option():
    pass

@pytest.mark.parametrize("way", ["predict", "measure"])
def test_no_file(latency, way):
    getattr(latency, way)("none.onnx")

def test_busy(latency, monkeypatch):
    import latprof.workflows.profile as module
    def busy(*_arguments, **_keywords):
        raise HostBusyError("the host is busy: load now")
    monkeypatch.setattr(module, "profile", busy)
    latency.measure("model.onnx")
"""


def run_pytest(folder, *words):
    plugins = ["-p", "latprof.testing.plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *plugins]
    return subprocess.run(
        [*command, "-q", "-c", os.devnull, "--rootdir", folder, folder / "test_suite.py", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # others import what they like
    )


def test_a_suite_says_which_budgets_are_kept(tmp_path):
    space = ProxylessSpace()  # its members' predictions have an interval
    (tmp_path / "model.onnx").write_bytes(space.onnx_bytes(space.sample(1)[0]))
    (tmp_path / "test_suite.py").write_text(SUITE)
    done = run_pytest(tmp_path, "--latency-busy", "skip")
    assert "8 failed, 1 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert "never begun" not in done.stdout
    assert "none.onnx" in done.stdout
    for inside in ("latency_fixture.py", "model_file.py"):
        assert inside not in done.stdout  # an error of ours is a line, no traceback
    assert "missing 1 required positional argument: 'budget'" in done.stdout
    assert "unexpected keyword argument 'uper'" in done.stdout
    assert done.stdout.count("at most 0.001 ms: broken: ") >= 3
    assert "predicted for cpu:onnxruntime" in done.stdout
    assert "latprof: 1 test of latency skipped, since the host was busy" in done.stdout
    done = run_pytest(tmp_path, "--latency-busy", "fail", "-k", "busy")
    assert "1 failed" in done.stdout
    assert "the host is busy: load now; --latency-busy=wait waits for quiet" in done.stdout
    assert "latency_fixture.py" not in done.stdout


def test_a_session_that_measures_nothing_imports_nothing_of_it(tmp_path):
    (tmp_path / "test_suite.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    print('loaded', *sorted(n for n in sys.modules if n.startswith('latprof')))\n"
        "    print('heavy', *({'numpy', 'onnx', 'scipy', 'pandas', 'psutil'} & set(sys.modules)))\n"
    )
    done = run_pytest(tmp_path, "-s")
    (loaded,) = (line for line in done.stdout.splitlines() if line.startswith("loaded"))
    assert set(loaded.split()[1:]) <= {
        *("latprof", "latprof.common", "latprof.common.extras", "latprof.common.lazy"),
        *("latprof._version", "latprof.errors", "latprof.testing", "latprof.testing.plugin"),
    }
    assert "heavy" in done.stdout.splitlines(), done.stdout


def test_the_plugin_adds_no_modules_of_python_that_pytest_does_without():
    code = "import pytest, sys; before = set(sys.modules); import latprof.testing.plugin; "
    code += "print(*(name for name in set(sys.modules) - before if not name.startswith('latprof')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def latency(low, high):
    found = SimpleNamespace(name="m", latency_ms=(low + high) / 2)
    judge = lambda budget: budget.judge("m", low, high, "why")  # noqa: E731
    return Latency(SimpleNamespace(found=found, state="host quiet", judge=judge))


def test_a_comparison_is_true_only_where_it_is_shown():
    shown, open_ = latency(4.0, 4.5), latency(4.6, 5.3)
    assert shown < ms(5)
    assert shown <= ms(4.5)
    assert not shown < ms(4.5)
    assert not open_ < ms(5)
    assert not open_ > ms(5)
    assert open_ > ms(4.5)
    nothing = latency(float("nan"), float("nan"))
    assert not any((nothing < ms(5), nothing <= ms(5), nothing > ms(5), nothing >= ms(5)))
    with pytest.raises(TypeError):
        assert shown < 5
    with pytest.raises(InvalidValueError):
        ms(0)


def test_waiting_is_limited_for_all_tests_together(monkeypatch):
    waits, now = [], [0.0]

    def busy(_model, _target, *, wait_quiet_s, **_options):
        waits.append(wait_quiet_s)
        now[0] += 200.0
        raise HostBusyError("the host is busy: load now")

    monkeypatch.setattr(workflow, "profile", busy)
    latencies = LatencyFixture("wait", clock=lambda: now[0])
    for _ in range(2):
        with pytest.raises(pytest.skip.Exception, match="the host is busy: load now"):
            latencies.measure("m.onnx")
    assert waits == [300.0, 100.0, None]
    with pytest.raises(pytest.fail.Exception, match="load now; --latency-busy=wait"):
        dataclasses.replace(latencies, busy="fail").measure("m.onnx")


def on_host(low, high, *, quiet):
    """A profile whose interval and runs reach from ``low`` to ``high`` ms."""
    samples = SimpleNamespace(counted_runs=np.linspace(low, high, 400))
    return SimpleNamespace(
        name="m",
        latency_ms=(low + high) / 2,
        interval_ms=(low, high),
        samples=[samples, samples],
        target=SimpleNamespace(tells_averages=False),
        host=SimpleNamespace(quiet=quiet, describe=lambda: "quiet" if quiet else "BUSY: a hog"),
    )


@pytest.fixture
def profiles(monkeypatch):
    """Profiles to be made in turn; each takes 200 s."""
    made, now = [], [0.0]

    def profile(*_arguments, **_options):
        now[0] += 200.0
        return made.pop(0)

    monkeypatch.setattr(workflow, "profile", profile)
    return made, LatencyFixture("wait", clock=lambda: now[0])


def test_a_verdict_that_holds_on_a_busy_host_counts(profiles):
    made, latencies = profiles
    made += [on_host(4.0, 4.5, quiet=False)]
    found = latencies.measure("m.onnx")
    assert found < ms(5)
    assert found > ms(3)
    assert found.p(95) < ms(5)
    assert "host BUSY: a hog" in found.explain(ms(3))


def test_a_network_is_measured_again_while_a_busy_host_shows_nothing(profiles):
    made, latencies = profiles
    made += [on_host(4.0, 5.5, quiet=False), on_host(4.0, 4.5, quiet=True)]
    found = latencies.measure("m.onnx")
    assert found < ms(5)
    assert found.found.interval_ms == (4.0, 4.5)
    assert [each.latency_ms for each in latencies.measured] == [4.25]
    made += [on_host(4.0, 5.5, quiet=False)] * 2
    with pytest.raises(pytest.skip.Exception, match=r"not shown: 4\.000 to 5\.500 ms.*BUSY: a hog"):
        assert latencies.measure("m.onnx") < ms(5)


def test_a_busy_host_breaks_no_budget_of_a_percentile(profiles):
    made, latencies = profiles
    made += [on_host(4.0, 9.0, quiet=False), on_host(4.0, 4.5, quiet=True)]
    assert latencies.measure("m.onnx").p(95) < ms(5)
    made += [on_host(4.0, 9.0, quiet=False)]
    with pytest.raises(pytest.fail.Exception, match=r"broken.*=wait waits for quiet"):
        dataclasses.replace(latencies, busy="fail").check("m.onnx", "p95 5 ms")


def test_one_visit_has_no_verdict_on_a_busy_host_either(profiles):
    made, latencies = profiles
    made += [on_host(float("nan"), float("nan"), quiet=False)]
    assert not latencies.measure("m.onnx") < ms(5)
    assert not made


def test_a_quiet_host_that_shows_nothing_fails_the_test(profiles):
    made, latencies = profiles
    made += [on_host(4.0, 5.5, quiet=True)]
    found = latencies.measure("m.onnx")
    assert not found < ms(5)
    assert not made


def test_workers_of_one_user_measure_one_at_a_time(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    seen = []

    def profiled(*_arguments, **_options):
        lock = next(tmp_path.rglob("*.lock"))
        code = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        other = subprocess.run([sys.executable, "-c", code, lock], capture_output=True, check=False)
        seen.append(b"BlockingIOError" in other.stderr)
        return on_host(1.0, 1.0, quiet=True)

    monkeypatch.setattr(workflow, "profile", profiled)
    latencies = LatencyFixture("skip")
    latencies.measure("m.onnx")
    assert seen == [True]
    assert [found.name for found in latencies.measured] == ["m"]


MEASURED = """
from types import SimpleNamespace
from latprof.measurement.records import PairedSamples, Target

def test_it(latency):
    samples = PairedSamples(((9.0, 1.0, 2.0),), ((1.0, 1.0), (1.0, 1.0)), dropped_runs=1)
    found = SimpleNamespace(
        name="m.onnx", target=Target("cpu", "a processor", "onnxruntime", "1"),
        latency_ms=1.4, interval_ms=(1.3, 1.5), samples=(samples, samples),
    )
    latency.measured += [found, found]
"""


def test_what_was_measured_is_written_as_pytest_benchmark_does(tmp_path):
    (tmp_path / "test_suite.py").write_text(MEASURED)
    done = run_pytest(tmp_path, "--latency-json", "out.json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = read_benchmark_file(tmp_path / "out.json")
    assert (found.program, found.device_name) == ("pytest-benchmark", "a processor")
    assert [each.name for each in found.benchmarks] == ["m.onnx", "m.onnx (2)"]
    (runs,) = found.benchmarks[0].processes
    assert runs.runs_ms == pytest.approx((1.0, 2.0, 1.0, 2.0))
    assert found.benchmarks[0].facts["latprof_latency_ms"] == "1.4"
    done = run_pytest(tmp_path, "--latency-json", "none/out.json")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--latency-json: cannot write none/out.json" in done.stderr


def test_a_percentile_is_judged_as_one():
    seen = []

    def judge(budget):
        seen.append(budget)
        return budget.judge("m", 1, 2, "")

    of = SimpleNamespace(found=SimpleNamespace(name="m", latency_ms=1.0), state="", judge=judge)
    assert Latency(of).p(95) < ms(3)
    assert seen == [Budget("percentile", 3.0, 95)]
