"""Which devices of a farm a collection takes, and which end it in one line."""

import dataclasses
from types import SimpleNamespace

import pytest

from latprof import __version__, collect
from latprof.cli.farm import FarmAction, farm
from latprof.errors import DeviceOfflineError, RuntimeFailedError, StoreError, UsageError
from latprof.farm import farm_client
from latprof.farm.announcing import FarmDevice
from latprof.farm.farm_client import FarmClient, Task
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


class Losing(FarmClient):
    """Its connections are lost, as often as there are losses."""

    def __init__(self, losses, timeout_s):
        super().__init__("tcp://127.0.0.1:1", None, timeout_s)
        self.losses, self.connections = losses, 0

    def _connect(self):
        self.connections += 1
        return SimpleNamespace(
            status="running",
            run_on_scheduler=self.answer,
            submit=self.submitted,
            close=lambda timeout: None,
        )

    def answer(self, _function):
        if self.losses:
            raise self.losses.pop()
        return ["c"]

    def submitted(self, *_arguments, **_rest):
        return SimpleNamespace(
            status="finished", exception=lambda timeout: None, result=lambda: "made"
        )

    def lose(self, error):
        """What is asked over the present connection gets an error, as dask has it."""
        fail = failing(error)
        vars(self._client).update(status="connecting", run_on_scheduler=fail, submit=fail)


def failing(error):
    def fail(*_arguments, **_rest):
        raise error

    return fail


def pending(error):
    """What is waited for, over a connection that is lost."""
    return SimpleNamespace(status="pending", exception=failing(error), cancel=failing(error))


@pytest.fixture
def without_dask(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(farm_client, "use_settings", lambda: None)


def test_a_connection_that_is_lost_again_and_again_is_made_anew_until_it_is_too_late(without_dask):
    with Losing([OSError("lost")] * 3, 600.0) as client:
        assert client.is_connected("c")
        assert client.connections == 4
    with Losing([OSError("lost")] * 3, 0.0) as client:
        with pytest.raises(DeviceOfflineError, match="no farm answers"):
            client.is_connected("c")
        assert client.connections == 2


@pytest.mark.parametrize("error", [TimeoutError("told to"), OSError("told to"), KeyError("told")])
def test_what_a_task_itself_raises_is_not_asked_again_and_what_is_lost_is(without_dask, error):
    def fail():
        raise error

    with Losing([], 600.0) as client:
        task = Task(DEVICE, print, (), 0, 1)
        task.future = SimpleNamespace(status="error", exception=lambda timeout: error, result=fail)
        with pytest.raises(RuntimeFailedError, match=f"{type(error).__name__}: .*told"):
            client.result(task)
        assert client.connections == 1
        lost = SimpleNamespace(status="cancelled", exception=lambda timeout: error, result=fail)
        task.future, error = lost, ConnectionError("cut")
        assert client.result(task) == "made"
        assert client.connections == 2


@pytest.mark.parametrize(
    "error", [AttributeError("scheduler"), KeyError("workers"), TimeoutError()]
)
def test_whatever_a_lost_connection_raises_another_is_made(without_dask, error):
    with Losing([], 600.0) as client:
        client.lose(error)
        assert client.is_connected("c")
        assert client.connections == 2
        task = Task(DEVICE, print, (), 0, 1)
        task.future, task.connection = pending(error), 1
        client.lose(error)
        client.cancel(task)
        assert client.result(task) == "made"
        assert client.connections == 3
        task.future, task.connection = pending(error), 1  # another thread has made the third
        assert client.result(task) == "made"
        assert client.connections == 3


def test_whoever_waits_is_stopped_by_the_first_error_that_concerns_all(without_dask, monkeypatch):
    with Losing([], 600.0) as client:
        monkeypatch.setattr(client, "devices", list)
        task = client.submit(DEVICE, print)
        assert client.result(task) == "made"
        client.check_stopped()
        first = StoreError("the store is gone")
        client.stop(first)
        client.stop(StoreError("still gone"))
        assert client.stopped_by is first
        with pytest.raises(DeviceOfflineError, match="the collection was stopped"):
            client.result(client.submit(DEVICE, print))
        with pytest.raises(DeviceOfflineError):
            client.await_devices("cpu:onnxruntime", print)


def test_what_is_of_this_computer_is_refused_for_a_farm():
    with pytest.raises(UsageError, match="nor `known_constant`"):
        collect(space="proxyless", n=1, farm="tcp://127.0.0.1:1", known_constant=True)
    with pytest.raises(UsageError, match="`pool` is for `farm`"):
        collect(space="proxyless", n=1, pool=True)
    with pytest.raises(UsageError, match="`keys` is for `farm`"):
        collect(space="proxyless", n=1, keys="keys")


@pytest.mark.parametrize(
    ("action", "given"), [("start", "address"), ("start", "only"), ("status", "port")]
)
def test_an_option_of_another_action_is_refused(action, given):
    words = {"address": "tls://lab:8786", given: 99 if given == "port" else "x"}
    if action == "start":
        words = {given: words[given]}
    with pytest.raises(UsageError, match=f"`{given}` is not for farm {action}"):
        farm(FarmAction(action), **words)
