"""A worker's devices: one collection at a time, failures as values, set aside where they repeat."""

import contextlib
import errno
import shutil
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from shared_collector import NETWORKS, REFERENCE, SPACE

from latprof.errors import DeviceError, DiskFullError, InvalidValueError
from latprof.farm import device_state, device_tasks
from latprof.farm.announcing import FarmDevice, devices_here
from latprof.farm.device_state import DeviceState, Turns
from latprof.farm.device_tasks import DeviceDesk, serving
from latprof.measurement.records import PairedProtocol
from latprof.measurement.visits import Failure, Visit
from latprof.profilers.base import Availability, RunOptions
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource
from latprof.profilers.visits.sending import content_of, named
from latprof.testing.fakes import FakeProfiler

PHONE = FarmDevice("adb:XYZ", ("adb:XYZ:litert", "adb:XYZ:onnxruntime"), "a phone")
DEVICE = FarmDevice("sim@a", ("fake:clock",), "simulated")
PROTOCOL = PairedProtocol(visits=2)


@pytest.fixture
def opened(monkeypatch):
    """What the desk opened and closed, with measurers in this process."""
    seen = []

    @contextlib.contextmanager
    def simulated(target, options, reference, protocol, **_rest):
        seen.append(f"open {target}")
        if target == "fake:gone":
            raise DeviceError("told to")
        yield lambda runs: InProcessMeasurer(
            FakeProfiler(options), reference, protocol, f"p{len(seen)}", runs
        )
        seen.append("close")

    monkeypatch.setattr(device_tasks, "measurers", simulated)
    return seen


@pytest.fixture
def desk(opened):
    desk = DeviceDesk((DEVICE,))
    yield desk
    desk.close()


def session(owner="me", target="fake:clock"):
    return {
        "owner": owner,
        "target": target,
        "options": RunOptions().to_dict(),
        "reference": REFERENCE.to_dict(),
        "protocol": PROTOCOL.to_dict(),
        "timeout_s": 60.0,
    }


def ask(network=NETWORKS[0], do="visit", token="t", **rest):
    return {
        "do": do,
        "network": network.to_dict(),
        "token": token,
        "reference_runs": {},
        "client": "c",
        **rest,
    }


def test_a_visit_comes_back_as_one_that_was_made_here(desk, opened):
    visit = Visit.from_dict(desk.visit("sim@a", session(), ask())["visit"])
    assert visit.ok
    assert desk.describe()["sim@a"]["made"] == 1
    desk.visit("sim@a", session(), ask(NETWORKS[1]))
    assert opened == ["open fake:clock"], "held over the visits of a collection"


def test_each_share_of_visits_has_a_measurer_of_its_own(desk):
    first, same, other = (
        desk.visit("sim@a", session(), ask(token=token))["visit"]["process"] for token in "aab"
    )
    assert first == same
    assert desk.describe()["sim@a"]["state"] == "held"
    assert other


def test_a_device_is_in_one_collections_hands_until_it_lets_go(desk, opened, monkeypatch):
    desk.visit("sim@a", session("one"), ask())
    assert desk.visit("sim@a", session("two"), ask(client="d")) == {"busy": "c"}
    desk.release("sim@a", "two")
    assert desk.visit("sim@a", session("two"), ask(gone="e")) == {"busy": "c"}
    desk.release("sim@a", "one")
    assert "visit" in desk.visit("sim@a", session("two"), ask())
    assert opened == ["open fake:clock", "close", "open fake:clock"]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + device_tasks.HOLD_S + 1)
    assert "visit" in desk.visit("sim@a", session("three"), ask()), "the other was silent"
    monkeypatch.setattr(time, "monotonic", lambda: now + 3 * device_tasks.HOLD_S)
    desk.release_silent()
    assert opened.count("close") == 3


def test_that_others_ask_for_a_device_is_no_sign_of_life_of_its_holder(desk, monkeypatch):
    desk.visit("sim@a", session("one"), ask())
    now, half_s = time.monotonic(), device_tasks.HOLD_S / 2 + 1
    monkeypatch.setattr(time, "monotonic", lambda: now + half_s)
    assert desk.visit("sim@a", session("two"), ask(client="d")) == {"busy": "c"}
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * half_s)
    assert "visit" in desk.visit("sim@a", session("two"), ask(client="d"))


def test_a_device_that_cannot_be_put_back_is_let_go_all_the_same(desk, monkeypatch):
    @contextlib.contextmanager
    def stubborn(_target, options, reference, protocol, **_rest):
        yield lambda runs: InProcessMeasurer(FakeProfiler(options), reference, protocol, "p", runs)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(device_tasks, "measurers", stubborn)
    assert "visit" in desk.visit("sim@a", session("one"), ask())
    desk.release("sim@a", "one")
    assert "visit" in desk.visit("sim@a", session("two"), ask(client="d"))


def test_a_device_whose_holders_client_is_gone_is_free(desk, opened):
    desk.visit("sim@a", session("one"), ask(client="c"))
    assert "visit" in desk.visit("sim@a", session("two"), ask(client="d", gone="c"))
    assert opened == ["open fake:clock", "close", "open fake:clock"]


def test_devices_are_used_in_turn_and_what_nobody_wants_any_more_is_not_made(desk):
    turns, order = Turns(), []

    def use(number, first):
        with turns.mine(first=first):
            order.append(number)

    with turns.mine():
        threads = []
        for number, first in enumerate((False, False, True)):
            threads.append(threading.Thread(target=use, args=(number, first)))
            threads[-1].start()
            while turns.waiting < number + 1:
                time.sleep(0.001)
        with turns.mine_if_free() as is_free:
            assert not is_free
    for thread in threads:
        thread.join()
    assert order == [2, 0, 1]
    with turns.mine_if_free() as is_free:
        assert is_free
    asks = [ask(network) for network in NETWORKS[:3]]
    wanted = iter([True, True, False])
    found = desk.visits("sim@a", session(), asks, is_wanted=lambda: next(wanted))
    assert len(found["answers"]) == 2
    busy = desk.visits("sim@a", session("other"), asks)
    assert busy == {"answers": [{"busy": "c"}] * 3, "took_s": 0.0}
    desk.close()
    assert desk.visits("sim@a", session(), asks)["answers"] == []


@pytest.mark.parametrize(
    ("status", "state", "made"),
    [("running", "executing", 2), ("running", "cancelled", 0), ("closing", "executing", 0)],
)
def test_visits_that_are_called_off_or_of_a_worker_that_closes_are_not_made(
    opened, monkeypatch, status, state, made
):
    worker = SimpleNamespace(
        status=SimpleNamespace(name=status),
        state=SimpleNamespace(tasks={"task": SimpleNamespace(state=state)}),
        get_current_task=lambda: "task",
    )
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(get_worker=lambda: worker))
    with serving((DEVICE,)):
        found = device_tasks.visits("sim@a", session(), [ask(), ask(NETWORKS[1])])
    assert len(found["answers"]) == made


def test_a_device_that_cannot_be_opened_is_a_failure(desk):
    answer = desk.visit("sim@a", session(target="fake:gone"), ask())
    assert answer["failure"]["code"] == "device"
    assert desk.describe()["sim@a"]["failed"] == 1


def test_kernels_are_timed_and_a_refusal_is_a_value(desk):
    profile = desk.visit("sim@a", session(), ask(do="kernels"))["profile"]
    assert profile["kernels"]


def test_a_models_files_are_asked_for_once_weights_and_inputs_too(desk, tmp_path):
    (architecture,) = SPACE.sample(1, seed=3)
    path, values = tmp_path / "m.onnx", tmp_path / "values.npy"
    model = SPACE.build_onnx(architecture)
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    np.save(values, np.zeros((1, 3, 32, 32), np.float32))
    network = NetworkSource.of_model(path, inputs={model.graph.input[0].name: values})
    told, _, files = named(network, 1)
    contents = {name: content_of(*file) for name, file in files.items()}
    assert len(contents) == 2
    asked = ask(network) | {"network": told}
    assert desk.visit("sim@a", session(), asked) == {"wants": "files"}
    shutil.rmtree(tmp_path)
    answer = desk.visit("sim@a", session(), asked | {"files": contents})
    assert answer["visit"]["failure"] is None
    assert desk.visit("sim@a", session(), asked)["visit"]["failure"] is None


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "device-full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "device-full"),
        (DiskFullError("no space left to write a model"), "device-full"),
        (OSError(errno.EIO, "Input/output error"), "runtime-failed"),
        (RuntimeError("what a library says"), "runtime-failed"),
    ],
)
def test_no_exception_travels(desk, monkeypatch, raised, code):
    def placed(*_arguments):
        raise raised

    monkeypatch.setattr(device_tasks, "place", placed)
    assert desk.visit("sim@a", session(), ask())["failure"]["code"] == code


def test_failures_in_a_row_set_a_device_aside_until_it_has_rested(monkeypatch):
    state = DeviceState(DEVICE)
    failure = Failure("runtime-failed", "it broke")
    for _ in range(20):
        state.note("one network", failure)
    assert not state.aside(), "a network that no try can run says nothing of the device"
    state.note("another", failure)
    assert "sim@a is set aside" in state.aside()
    assert state.to_dict()["state"] == "set aside"
    later = time.monotonic() + device_state.REST_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not state.aside()


def test_a_networks_own_failures_and_good_visits_between_set_nothing_aside():
    state = DeviceState(DEVICE)
    for number in range(40):
        state.note(str(number), Failure("unsupported", "no such operator"))
        state.note(str(number), Failure("timeout", "long") if number % 3 else None)
    assert not state.aside()


def test_a_task_for_a_device_that_is_not_here_is_a_failure(opened):
    (answer,) = device_tasks.visits("sim@z", session(), [ask()])["answers"]
    assert answer["failure"]["code"] == "device"
    with serving((DEVICE,)):
        found = device_tasks.visits("sim@a", session(), [ask(), ask(NETWORKS[1])], ask(NETWORKS[2]))
        assert ["visit" in answer for answer in found["answers"]] == [True, True]
        device_tasks.release("sim@a", "me")
        found = device_tasks.identify("sim@a", "cpu:onnxruntime", RunOptions().to_dict(), None)
        assert found["target"]["runtime"] == "onnxruntime"
        assert found["networks_per_process"] > 1
        wrong = RunOptions(precision="float99").to_dict()
        answer = device_tasks.identify("sim@a", "cpu:onnxruntime", wrong, None)
        assert answer["failure"]["code"] == "invalid-value"
    assert opened[-1] == "close"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("adb:XYZ:litert", "adb:XYZ:litert"),
        ("adb:litert", "adb:XYZ:litert"),
        ("adb:ABC:litert", ""),
        ("cpu:onnxruntime", ""),
        ("adb:litert@a", ""),
    ],
)
def test_which_targets_a_phone_has(wanted, found):
    assert PHONE.spelling(wanted) == found


def test_only_what_this_host_has_is_found_whatever_else_could_be_reached(monkeypatch):
    from latprof.farm import announcing
    from latprof.profilers.runtimes.android import listing

    ready = Availability("ready", "")
    patterns = ("cpu:onnxruntime", "ssh:HOST:litert", "tvm-rpc:HOST:PORT/KEY", "adb:SERIAL:litert")
    monkeypatch.setattr(announcing, "availabilities", lambda: dict.fromkeys(patterns, ready))
    monkeypatch.setattr(listing, "describe_phones", tuple)
    assert [device.targets for device in devices_here("h")] == [("cpu:onnxruntime",)]


def test_a_hosts_processor_is_one_device_with_all_its_runtimes():
    (device,) = devices_here("lab-1", ["cpu:onnxruntime"])
    assert (device.name, device.targets) == ("cpu@lab-1", ("cpu:onnxruntime",))
    assert device.detail.startswith("ONNX Runtime")
    assert device.spelling("cpu:onnxruntime@lab-1") == "cpu:onnxruntime"
    assert not device.spelling("cpu:onnxruntime@lab-2")
    every = {each.name for each in devices_here("lab-1")}
    assert "cpu@lab-1" in every
    assert FarmDevice.from_dict(device.to_dict()) == device


@pytest.mark.parametrize(("label", "only"), [("no spaces", ()), ("x" * 64, ()), ("a", ["sim@*"])])
def test_labels_and_devices_that_are_none_are_refused(label, only):
    with pytest.raises(InvalidValueError):
        devices_here(label, only)
