"""The measuring process: what it measures, and what becomes of it when it crashes or hangs."""

import os

import psutil
import pytest
from command_line import LONGEST_S

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.measurement.records import PairedProtocol
from latprof.measurement.visits import Failure
from latprof.profilers.base import RunOptions
from latprof.profilers.targets import target_spellings
from latprof.profilers.visits.measurer import KERNEL_ROUNDS
from latprof.profilers.visits.measuring_process import ProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
NETWORK, REFERENCE = (NetworkSource.of_architecture(SPACE, a) for a in SPACE.sample(2))
PROTOCOL = PairedProtocol(visits=1)

WICKED = """
import dataclasses, os, signal, time
from latprof.testing.fakes import FakeProfiler

class Base(FakeProfiler):
    loads = 0
    def load(self, model):
        type(self).loads += 1
        if self.loads > 3:  # the reference's loads come first
            self.misbehave()
        return super().load(model)

class Crashing(Base):
    spelling = "fake:crashing"
    def misbehave(self):
        print("about to crash", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)

class Hanging(Base):
    spelling = "fake:hanging"
    def misbehave(self):
        time.sleep(60)

class Babbling(FakeProfiler):
    spelling = "fake:babbling"
    def conditions(self):
        return "fine, thanks"
    def load_profiled(self, model):
        loaded = super().load_profiled(model)
        loaded.kernels = [dataclasses.replace(k, latency_ms=float("nan")) for k in loaded.kernels]
        return loaded

class Writing(Base):
    def misbehave(self):
        for handle in range(3, 30):  # one of them is where the answers go
            try:
                os.write(handle, self.text)
            except OSError:
                pass

class Garbage(Writing):
    spelling = "fake:garbage"
    text = b"\\xff\\x00 garbage\\n"

class Deep(Writing):
    spelling = "fake:deep"
    text = b"[" * 60000 + b"\\n"

class Listing(Writing):
    spelling = "fake:listing"
    text = b"[1, 2]\\n"

class Text(Writing):
    spelling = "fake:text"
    text = b'{"visit": {"started_at": "now", "wall_s": "long", "load_s": 1, "process": 3}}\\n'

class Endless(Base):
    spelling = "fake:endless"
    def misbehave(self):
        while True:
            Writing.misbehave(self)
    text = b"x" * 65536

class Forking(Base):
    spelling = "fake:forking"
    def misbehave(self):
        import subprocess
        for own in (False, True):
            made = subprocess.Popen(["sleep", "1000"], start_new_session=own)
            print(made.pid, file=open(os.environ["PIDS"], "a"))
        time.sleep(1000)

class Quitting(Base):
    spelling = "fake:quitting"
    def misbehave(self):
        os._exit(7)
"""


@pytest.fixture
def wicked(tmp_path, monkeypatch):
    """Another package's profilers, installed as far as Python can tell."""
    (tmp_path / "wicked.py").write_text(WICKED)
    info = tmp_path / "wicked-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wicked\nVersion: 1.0\n")
    names = (
        *("Babbling", "Crashing", "Deep", "Endless", "Forking", "Garbage", "Hanging", "Listing"),
        *("Quitting", "Text"),
    )
    lines = [f"fake:{name.lower()} = wicked:{name}" for name in names]
    (info / "entry_points.txt").write_text("\n".join(["[latprof.profilers]", *lines]) + "\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def bench(target="cpu:onnxruntime", timeout_s=LONGEST_S, **options):
    return ProcessMeasurer(target, RunOptions(**options), REFERENCE, PROTOCOL, timeout_s=timeout_s)


def test_a_real_visit_brings_samples_conditions_and_its_process():
    with bench() as remote:
        first, second = remote.visit(NETWORK), remote.visit(NETWORK)
    assert first.failure is None
    assert len(first.samples.target) == PROTOCOL.rounds
    assert first.process == second.process
    assert not first.process.endswith(f"/{os.getpid()}")
    assert {"before", "after"} <= set(first.conditions)
    assert 0 < first.load_s < first.wall_s


def test_real_kernels_are_named_for_the_graphs_operators():
    with bench() as remote:
        profile = remote.profile(NETWORK)
    assert not isinstance(profile, Failure)
    kernels = profile.kernels
    assert len(profile.samples.target) == KERNEL_ROUNDS
    names = {op.name for op in SPACE.operators(SPACE.parse(NETWORK.subject.key))}
    found = {name for kernel in kernels for name in kernel.operators}
    convolutions = {name for name in names if not name.endswith(".add")}
    assert convolutions <= found
    assert {"conv1x1", "linear"} <= {kernel.kind for kernel in kernels}


def test_a_model_the_runtime_refuses_is_a_failure_and_the_process_goes_on(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("NoSuchOperator", ["x"], ["y"], domain="nowhere")
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3]) for n in "xy"]
    graph = helper.make_graph([node], "g", info[:1], info[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("nowhere", 1)]
    path = tmp_path / "odd.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    with bench() as remote:
        refused = remote.visit(NetworkSource.of_model(path))
        after = remote.visit(NETWORK)
    assert refused.failure is not None
    assert refused.failure.code == "unsupported"
    assert "NoSuchOperator" in refused.failure.message
    assert after.failure is None


def test_profilers_of_other_packages_are_found(wicked):
    assert "fake:crashing" in target_spellings()


def test_a_crash_is_a_failure_that_names_the_signal_and_the_next_visit_starts_afresh(wicked):
    with bench("fake:crashing") as remote:
        visits = [remote.visit(NETWORK) for _ in range(2)]
    for visit in visits:
        assert visit.failure.code == "runtime-failed"
        assert "SIGSEGV" in visit.failure.message
        assert "about to crash" in visit.failure.message


def test_an_exit_of_the_process_is_a_failure_with_its_status(wicked):
    with bench("fake:quitting") as remote:
        assert "status 7" in remote.visit(NETWORK).failure.message


def test_an_answer_that_cannot_be_used_is_a_failure_too(wicked):
    with bench("fake:babbling") as remote:
        visit, kernels = remote.visit(NETWORK), remote.profile(NETWORK)
    assert visit.failure.code == kernels.code == "runtime-failed"
    assert "conditions" in visit.failure.message
    assert "latency_ms" in kernels.message


@pytest.mark.parametrize("kind", ["garbage", "deep", "listing", "text", "endless"])
def test_whatever_comes_in_place_of_an_answer_is_a_failure(wicked, kind):
    with bench(f"fake:{kind}") as remote:
        visits = [remote.visit(NETWORK) for _ in range(2)]
    for visit in visits:
        assert visit.failure.code == "runtime-failed"
        assert "no usable answer" in visit.failure.message


def test_what_a_hung_runtime_had_started_ends_at_the_time_out(wicked, monkeypatch):
    monkeypatch.setenv("PIDS", str(wicked / "pids"))
    (wicked / "pids").touch()
    pids = []
    # A busy machine starts nothing within the first.
    for timeout_s in (2.0, 8.0, 32.0, 128.0, LONGEST_S):
        with bench("fake:forking", timeout_s=timeout_s) as remote:
            assert remote.visit(NETWORK).failure.code == "timeout"
            pids = [int(line) for line in (wicked / "pids").read_text().split()]
            assert not any(map(psutil.pid_exists, pids))
        if len(pids) >= 2:
            break
    assert len(pids) >= 2


def test_what_lies_in_the_working_directory_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "dataclasses.py").write_text("raise SystemExit('from the working directory')")
    (tmp_path / "latprof").mkdir()  # as in the parent folder of a clone
    monkeypatch.chdir(tmp_path)
    with bench() as remote:
        assert remote.visit(NETWORK).failure is None


def test_a_hang_ends_at_the_time_out(wicked):
    with bench("fake:hanging", timeout_s=1.0) as remote:
        visit = remote.visit(NETWORK)
    assert visit.failure.code == "timeout"
    assert "longer than 1 s" in visit.failure.message


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs core affinity")
def test_the_process_is_pinned_where_asked():
    core = max(os.sched_getaffinity(0))
    with bench(cores=(core,)) as remote:
        remote.visit(NETWORK)
        assert os.sched_getaffinity(remote.pid) == {core}


def test_the_process_ends_with_the_bench():
    with bench() as remote:
        remote.visit(NETWORK)
        pid = remote.pid
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
    assert remote.pid is None
