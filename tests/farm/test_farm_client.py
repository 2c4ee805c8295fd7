"""Which devices of a farm a collection takes, and which end it in one line."""

import dataclasses

import pytest

from latprof import __version__
from latprof.errors import DeviceOfflineError, UsageError
from latprof.farm.announcing import FarmDevice
from latprof.farm.farm_client import FarmClient
from latprof.farm.farm_connection import AnnouncedDevice

DEVICE = FarmDevice("cpu@a", ("cpu:onnxruntime",))
ANNOUNCED = AnnouncedDevice(DEVICE, "a", "tcp://127.0.0.1:5", __version__, {})
OTHER = dataclasses.replace(ANNOUNCED, device=FarmDevice("cpu@b", ("cpu:onnxruntime",)), host="b")


@pytest.fixture
def awaited(tmp_path, monkeypatch):
    """The devices of a target, of those that are there."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def await_devices(there, wanted="cpu:onnxruntime"):
        client = FarmClient("tcp://127.0.0.1:1", None, 0.0)
        monkeypatch.setattr(client, "devices", lambda: there)
        return client.await_devices(wanted, lambda _text: None)

    return await_devices


def test_all_hosts_devices_or_one_hosts(awaited):
    assert awaited([ANNOUNCED, OTHER]) == [ANNOUNCED, OTHER]
    assert awaited([ANNOUNCED, OTHER], "cpu:onnxruntime@b") == [OTHER]
    with pytest.raises(DeviceOfflineError, match="there are: cpu:onnxruntime@a, cpu:onnxruntime@b"):
        awaited([ANNOUNCED, OTHER], "cpu:litert")


def test_a_worker_of_another_version_is_refused(awaited):
    with pytest.raises(UsageError, match="b runs another version of latprof"):
        awaited([ANNOUNCED, dataclasses.replace(OTHER, version="0.0.1")])


def test_a_device_that_two_workers_have_announced_at_once_is_refused(awaited):
    again = dataclasses.replace(ANNOUNCED, address="tcp://127.0.0.1:6", host="c")
    with pytest.raises(UsageError, match=r"cpu@a is in the farm twice .*5 of a and .*6 of c"):
        awaited([ANNOUNCED, again, OTHER])
