"""Visits at a distance: in order, each once, some together, the next ones on their way already."""

import contextlib
import itertools
import time

import pytest
from shared_collector import NETWORKS, REFERENCE, SPACE

from latprof.errors import DeviceOfflineError, RuntimeFailedError
from latprof.farm import device_tasks, remote_visits
from latprof.farm.announcing import FarmDevice
from latprof.farm.remote_visits import LOOKAHEAD, RemoteMeasurer
from latprof.measurement.records import PairedProtocol, PairedSamples
from latprof.measurement.visits import Visit
from latprof.profilers.base import RunOptions
from latprof.profilers.visits.network_source import NetworkSource

DEVICE = FarmDevice("sim@a", ("fake:clock",), "simulated")
SESSION = {
    "owner": "me",
    "target": "fake:clock",
    "options": RunOptions().to_dict(),
    "reference": REFERENCE.to_dict(),
    "protocol": PairedProtocol(visits=2).to_dict(),
    "timeout_s": 60.0,
}
SAMPLES = PairedSamples(((2.0, 1.0, 1.0),) * 2, ((2.0, 1.0, 1.0),) * 3)


class Device:
    """Its visits take so long by its own clock; satisfies ``Measurer``."""

    def __init__(self, clock):
        self._clock = clock
        self.visited, self.expected = [], []

    def expect(self, networks):
        self.expected.append(networks)

    def visit(self, network):
        self.visited.append(network.subject.key)
        started_at = self._clock.time()
        self._clock.now += self._clock.visit_s
        return Visit(
            started_at=started_at,
            wall_s=self._clock.visit_s,
            load_s=0.0,
            process="p",
            samples=SAMPLES,
        )

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


class Clock:
    """Of the device's host, which may be off."""

    now, off_s, visit_s = 1_000_000.0, 0.0, 1.0

    def time(self):
        return self.now + self.off_s

    def monotonic(self):
        return self.now


class Task:
    """What was submitted, and its answer."""

    def __init__(self, call, priority, visits):
        self.call, self.priority, self.visits = call, priority, visits
        self.answer, self.is_over = None, False


class Farm:
    """Tasks run when somebody waits for one of them, in the order of their submission."""

    queue_timeout_s, client_id = 60.0, "c"

    def __init__(self):
        self.tasks, self.longest = [], 0
        self.killed = ()

    def submit(self, device, function, *arguments, priority=0, visits=0):
        task = Task((function, device.name, *arguments), priority, visits)
        self.tasks.append(task)
        self.longest = max(self.longest, sum(t.visits for t in self.tasks if not t.is_over))
        return task

    def result(self, task):
        for each in sorted(self.tasks, key=lambda task: -task.priority):
            if not each.is_over:
                each.is_over = True
                function, *arguments = each.call
                keys = {ask["network"]["subject"][1] for ask in arguments[2]}
                each.answer = None if keys & {*self.killed} else function(*arguments)
            if each is task:
                break
        if task.answer is None:
            raise RuntimeFailedError("a visit ended its worker")
        return task.answer

    def cancel(self, task):
        task.is_over = True

    def is_connected(self, client):
        return client == "other"


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(device_tasks, "time", found)
    monkeypatch.setattr(time, "time", lambda: found.now)
    return found


@pytest.fixture
def device(clock, monkeypatch):
    found = Device(clock)

    @contextlib.contextmanager
    def simulated(*_arguments, **_rest):
        yield lambda _runs: found

    monkeypatch.setattr(device_tasks, "measurers", simulated)
    with device_tasks.serving((DEVICE,)):
        yield found


def collected(farm, number, measurer=None):
    """So many visits to the networks in turn."""
    networks = [*itertools.islice(itertools.cycle(NETWORKS), number)]
    measurer = measurer or RemoteMeasurer(farm, DEVICE, SESSION, {})
    found = []
    for index, network in enumerate(networks):
        # As a pass has them: each network once.
        ahead = networks[index + 1 : index + 1 + LOOKAHEAD]
        measurer.expect(ahead[: len(NETWORKS) - 1])
        found.append(measurer.visit(network))
    return networks, found


@pytest.mark.parametrize(
    ("visit_s", "together", "ahead"), [(1.0, 1, 4), (10.0, 1, 2), (0.19, 5, 5)]
)
def test_visits_are_made_in_order_each_once_and_asked_ahead(
    device, clock, visit_s, together, ahead
):
    clock.visit_s, farm = visit_s, Farm()
    networks, found = collected(farm, 60)
    assert all(visit.ok for visit in found)
    assert device.visited == [network.subject.key for network in networks]
    assert max(task.visits for task in farm.tasks) == together
    assert ahead <= farm.longest <= ahead + together
    assert any(device.expected), "what comes next is prepared"


def test_visits_that_end_their_worker_fail_and_those_asked_with_them_do_not(device, clock):
    clock.visit_s, farm = 0.01, Farm()
    measurer = RemoteMeasurer(farm, DEVICE, SESSION, {})
    collected(farm, 12, measurer)
    farm.killed = {NETWORKS[3].subject.key}
    networks, found = collected(farm, 12, measurer)
    assert max(task.visits for task in farm.tasks) > 1
    for network, visit in zip(networks, found, strict=True):
        assert visit.ok == (network != NETWORKS[3])
    assert found[3].failure.code == "runtime-failed"


def test_what_was_asked_ahead_of_a_busy_device_is_asked_anew(device, clock, monkeypatch):
    monkeypatch.setattr(remote_visits, "AGAIN_S", 0.0)
    farm = Farm()
    held = {"do": "visit", "network": NETWORKS[0].to_dict(), "token": "t", "reference_runs": {}}
    device_tasks.visits("sim@a", SESSION | {"owner": "other"}, [held | {"client": "other"}])
    asked = itertools.count()
    monkeypatch.setattr(farm, "is_connected", lambda _client: next(asked) < 3)
    networks, found = collected(farm, 6)
    assert all(visit.ok for visit in found)
    assert device.visited[1:] == [network.subject.key for network in networks]
    assert next(asked) == 4, "answers from before are not waited on again"


def test_times_are_of_our_clock_also_where_the_devices_jumps(device, clock):
    farm = Farm()
    measurer = RemoteMeasurer(farm, DEVICE, SESSION, {})
    for off_s in (0.0, 3600.0, -7200.0, 2.0):
        clock.off_s = off_s
        begun = clock.now
        _, found = collected(farm, 6, measurer)
        for visit in found:
            assert begun - 5 <= visit.started_at <= clock.now + 5


def test_a_device_that_is_away_is_a_failure_and_asked_again(device, clock, monkeypatch):
    farm = Farm()
    measurer = RemoteMeasurer(farm, DEVICE, SESSION, {})

    def away(_task):
        raise DeviceOfflineError("sim@a has been away for 9 s")

    with monkeypatch.context() as patch:
        patch.setattr(farm, "result", away)
        assert measurer.visit(NETWORKS[0]).failure.code == "device-offline"
    assert measurer.visit(NETWORKS[0]).ok
    measurer.expect(NETWORKS[2:4])
    measurer.visit(NETWORKS[1])
    measurer.close()
    assert all(task.is_over for task in farm.tasks), "nothing is left in the queue"


def test_a_file_that_is_changed_meanwhile_is_not_measured_under_its_name(device, tmp_path):
    path = tmp_path / "m.onnx"
    content, other = map(SPACE.onnx_bytes, SPACE.sample(2, seed=3))
    path.write_bytes(content)
    network = NetworkSource.of_model(path)

    class Changing(Farm):
        def result(self, task):
            path.write_bytes(other)
            return super().result(task)

    failure = RemoteMeasurer(Changing(), DEVICE, SESSION, {}).visit(network).failure
    assert failure.code == "model-file"
    assert "was changed while it was measured" in failure.message
    assert not device.visited
    path.write_bytes(content)
    assert RemoteMeasurer(Farm(), DEVICE, SESSION, {}).visit(network).ok
