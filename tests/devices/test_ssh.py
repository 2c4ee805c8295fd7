"""A computer behind the real sshd: prompts, keys, a measurement, and a connection that breaks."""

import contextlib
import json
import os

import psutil
import pytest
from command_line import run_latprof
from ssh_programs import python_there, ssh_server

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.measurement.records import PairedProtocol
from latprof.profilers.base import RunOptions
from latprof.profilers.targets import profiler_class
from latprof.profilers.visits.measurers import measurers
from latprof.profilers.visits.network_source import NetworkSource

TARGET = "ssh:board:onnxruntime"
SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)


@pytest.fixture
def server(tmp_path, monkeypatch):
    with ssh_server(tmp_path) as found:
        monkeypatch.setenv("PATH", found.path, prepend=os.pathsep)
        monkeypatch.setenv("LATPROF_SSH_PYTHON", str(python_there(tmp_path)))
        yield found


def test_a_model_is_measured_once_the_host_key_is_known(server, tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(SPACE.onnx_bytes(SPACE.sample(1)[0]))
    words = ("profile", model, "--target", TARGET, "--visits", "2", "--json", "-q")

    unknown = run_latprof(*words)
    assert unknown.returncode == 4
    assert "confirm it once by hand: ssh board" in unknown.stderr

    server.know_host()
    refused = run_latprof(*words[:3], "ssh:stranger:onnxruntime", "--visits", "2")
    assert refused.returncode == 4
    assert "ssh-copy-id stranger" in refused.stderr

    done = run_latprof(*words)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["target"]["device"] == "ssh:board"
    assert answer["latency_ms"] > 0
    assert answer["kernels"]
    checked = run_latprof("doctor", TARGET)
    assert "a small network was loaded and run" in checked.stdout


def test_a_connection_that_breaks_takes_the_far_side_along_and_is_made_again(server):
    server.know_host()
    network, reference = (NetworkSource.of_architecture(SPACE, a) for a in SPACE.sample(2))
    protocol = PairedProtocol(rounds=2, burst_ms=1.0, reference_loads=1)
    assert profiler_class(TARGET)(RunOptions()).surroundings()["facts"]["processor"]
    with measurers(TARGET, RunOptions(), reference, protocol) as make, make({}) as measurer:
        assert measurer.visit(network).failure is None
        names = {}
        for each in psutil.Process(server.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # one that asked something before
                names[each] = each.name()
        workers = [each for each, name in names.items() if "python" in name]
        assert len(workers) >= 2
        for each, name in names.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                if name.startswith("sshd"):
                    each.kill()
        broken = measurer.visit(network)
        assert broken.failure.code == "connection-lost"
        psutil.wait_procs(workers, 60)
        assert not any(each.is_running() for each in workers)
        assert measurer.visit(network).failure is None
