"""TVM's RPC with a real tracker and a real server, both on this computer."""

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from free_port import free_port
from tvm_networks import assert_same_scores, scores, tiny_network

from latprof.errors import DeviceError, InvalidValueError, RuntimeFailedError
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.model_inputs import random_inputs
from latprof.profilers.runtimes.tvm import tvm_rpc
from latprof.profilers.runtimes.tvm.tvm_rpc import RemoteTVM, TrackerAddress, request_device
from latprof.profilers.targets import profiler_class
from latprof.testing.profiler_contract import ProfilerContract

pytest.importorskip("tvm", reason="Apache TVM is not installed")
pytest.importorskip("tornado", reason="tornado, which TVM's tracker needs, is not installed")

KEY = "this-computer"


def start(module, *arguments):
    """A process group of its own, so that it can be ended with all its children."""
    return subprocess.Popen(
        [sys.executable, "-m", f"tvm.exec.{module}", "--host", "127.0.0.1", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def end(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def place():
    """HOST:PORT of a tracker that has one device, with the key :data:`KEY`."""
    port, device_port = free_port(), free_port()
    place = f"127.0.0.1:{port}"
    tracker = start("rpc_tracker", "--port", str(port), "--port-end", str(port + 1))
    server = start(
        "rpc_server",
        *("--tracker", place, "--key", KEY, "--port", str(device_port)),
        *("--port-end", str(device_port + 1)),
    )
    try:
        wait_for_device(place)
        yield place
    finally:
        end(server)
        end(tracker)


def wait_for_device(place):
    """Ask the tracker by TVM's own means."""
    from tvm import rpc

    host, _, port = place.partition(":")
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection((host, int(port)), 1).close()
            tracker = rpc.connect_tracker(host, int(port))
            if tracker.summary()["queue_info"].get(KEY, {}).get("free"):
                return
        time.sleep(0.2)
    pytest.fail("the device did not register with its tracker")


@pytest.fixture
def remote(place):
    return profiler_class(f"tvm-rpc:{place}/{KEY}")


class TestRemoteTVM(ProfilerContract):
    reports_kernels = False

    @pytest.fixture
    def make_profiler(self, remote):
        return remote

    @pytest.fixture
    def model(self):
        return tiny_network()

    @pytest.fixture
    def larger_model(self):
        return tiny_network(resolution=32, channels=32)


def test_the_device_computes_what_onnx_runtime_does(remote):
    image = random_inputs({"image": ((1, 3, 16, 16), "float32")}, RemoteTVM.input_seed)["image"]
    assert_same_scores(scores(remote(RunOptions()).load(tiny_network())), tiny_network(), [image])


def test_durations_are_the_devices_not_the_networks(remote, monkeypatch):
    model = remote(RunOptions()).load(tiny_network())
    start = time.perf_counter()
    durations = model.run(20)
    elapsed_ms = (time.perf_counter() - start) * 1000
    assert sum(durations) < elapsed_ms


def test_a_lost_session_is_opened_again(remote):
    model = remote(RunOptions()).load(tiny_network())
    model.machine = None  # what a broken session's machine is worth
    with pytest.raises(RuntimeFailedError, match="device failed"):
        model.run(1)
    assert len(model.run(2)) == 2


def test_a_device_in_use_is_waited_for_and_then_refused(remote, monkeypatch):
    # The device is free only once its server has registered again after the test before.
    model = remote(RunOptions()).load(tiny_network())
    monkeypatch.setattr(tvm_rpc, "BUSY_TIMEOUT_S", 0.5)
    with pytest.raises(DeviceError, match="in use"):
        remote(RunOptions()).load(tiny_network())
    assert len(model.run(1)) == 1


def test_a_network_given_up_holds_no_device(remote):
    gc.disable()
    try:
        for _ in range(2):
            scores(remote(RunOptions()).load(tiny_network()))
    finally:
        gc.enable()


def test_an_unknown_key_lists_the_known_ones(place):
    with pytest.raises(DeviceError, match=KEY):
        RemoteTVM.at(f"{place}/other")(RunOptions()).load(tiny_network())


def test_a_tracker_that_is_not_there_is_told_at_once():
    with pytest.raises(DeviceError, match="tracker"):
        RemoteTVM.at(f"127.0.0.1:{free_port()}/key")(RunOptions()).load(tiny_network())


def test_something_else_that_listens_is_no_tracker(monkeypatch):
    monkeypatch.setattr(tvm_rpc, "ANSWER_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = TrackerAddress("127.0.0.1", silent.getsockname()[1], "key")
        with pytest.raises(DeviceError, match="tracker"):
            request_device(address)


def test_a_device_without_a_compiler_needs_the_mode(remote, monkeypatch):
    monkeypatch.setattr(tvm_rpc.Connection, "processor", lambda _: None)
    with pytest.raises(DeviceError, match="--mode aarch64"):
        remote(RunOptions()).load(tiny_network())


def test_the_mode_says_what_to_compile_for(remote):
    assert len(remote(RunOptions(mode=("x86-64",))).load(tiny_network()).run(1)) == 1


@pytest.mark.parametrize("text", ["host/key", "host:0/key", "host:70000/key", "host:1/", ":1/key"])
def test_addresses_that_are_none_are_refused(text):
    with pytest.raises(InvalidValueError):
        RemoteTVM.at(text)


def test_a_remote_devices_conditions_are_unknown():
    assert RemoteTVM.at("host:1/key")(RunOptions()).conditions() == {}


def test_the_pattern_alone_names_no_device():
    with pytest.raises(InvalidValueError, match="address"):
        RemoteTVM(RunOptions()).target(None)
