"""A phone's session over a link that runs this computer's programs: no adb, no phone."""

import hashlib
from pathlib import Path

import pytest
from local_phone import FACTS, LocalPhone
from runners import litert
from tvm_networks import small_network

from latprof.errors import (
    ConnectionLostError,
    DeviceError,
    DeviceOfflineError,
    InvalidValueError,
    UnknownNameError,
)
from latprof.measurement.records import PairedProtocol
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.android.library import RuntimeLibrary
from latprof.profilers.runtimes.android.measuring import (
    adb_profiler,
    phone_session,
    work_folder,
)
from latprof.profilers.runtimes.android.measuring.adb_litert import AdbLiteRT
from latprof.profilers.runtimes.android.measuring.cooling import throttling, wait_until_cool
from latprof.profilers.runtimes.android.measuring.phone_conditions import phone_disturbances
from latprof.profilers.runtimes.android.measuring.phone_lines import PhoneLines
from latprof.profilers.runtimes.android.runner.runner_client import RunnerClient
from latprof.profilers.runtimes.android.thermals import Thermals
from latprof.profilers.targets import profiler_class, target_spellings
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource

# Targets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelling", "serial"),
    [
        ("adb:0A1B2C:litert", "0A1B2C"),
        ("adb:192.168.1.5:5555:litert", "192.168.1.5:5555"),
        ("adb:[fe80::1]:5555:onnxruntime", "[fe80::1]:5555"),
        ("adb:emulator-5554:litert", "emulator-5554"),
        ("adb:litert", ""),
        ("adb:onnxruntime", ""),
        ("adb:192.168.1.5:5555:benchmark-model", "192.168.1.5:5555"),
    ],
)
def test_a_target_names_a_phone_or_the_only_one(spelling, serial):
    found = profiler_class(spelling)
    assert issubclass(found, adb_profiler.AdbProfiler)
    assert (found.serial, found.spelling) == (serial, spelling)
    assert found.runtime == spelling.rpartition(":")[2]


@pytest.mark.parametrize(
    "spelling", ["adb", "adb:", "adb::litert", "adb:X:tvm", "adb:a b:litert", "cuda:torch"]
)
def test_other_spellings_are_no_target(spelling):
    with pytest.raises(UnknownNameError):
        profiler_class(spelling)


def test_every_pattern_has_a_profiler():
    for pattern in target_spellings():
        assert profiler_class(pattern).spelling == pattern


def test_a_serial_that_no_phone_has_is_refused():
    with pytest.raises(InvalidValueError):
        profiler_class("adb:$(id):litert")


def test_clusters_are_for_phones():
    with pytest.raises(InvalidValueError, match="no such cores"):
        profiler_class("cpu:onnxruntime")(RunOptions(cluster="big"))


# Heat ---------------------------------------------------------------------------------------------


class Clock:
    """Time that passes when it is slept away."""

    def __init__(self):
        self.now = 0.0

    def sleep(self, seconds):
        self.now += seconds

    def __call__(self):
        return self.now


def test_a_phone_that_throttles_is_waited_for_until_it_is_cooler():
    clock, lines, pushed = Clock(), [], []
    told = iter([Thermals(1, 39.5, skin_limit_c=39.0), Thermals(0, 38.5, skin_limit_c=39.0)])
    cool = Thermals(0, 37.5, skin_limit_c=39.0)

    def idle():
        pushed.append(clock.now)
        return len(pushed) < 3

    found = wait_until_cool(
        lambda: next(told, cool), lines.append, idle, sleep=clock.sleep, now=clock
    )
    assert found == cool
    assert len(lines) == 2
    assert "thermal status 1" in lines[0]
    assert "skin 38.5 C, limit 39.0 C" in lines[1]
    assert len(pushed) >= 3


def test_a_phone_that_stays_hot_is_given_up():
    clock = Clock()
    hot = Thermals(2, 45.0, skin_limit_c=39.0)
    with pytest.raises(
        DeviceError, match="has not cooled down within 30 minutes: thermal status 2"
    ):
        wait_until_cool(lambda: hot, lambda _: None, lambda: False, sleep=clock.sleep, now=clock)
    assert clock.now >= 1800


@pytest.mark.parametrize(
    ("thermals", "found"),
    [
        (Thermals(), False),
        (Thermals(0, 30.0), False),
        (Thermals(0, 38.9, skin_limit_c=39.0), False),
        (Thermals(0, 39.0, skin_limit_c=39.0), True),
        (Thermals(3, 30.0), True),
    ],
)
def test_throttling_is_told_by_status_or_skin(thermals, found):
    assert bool(throttling(thermals)) == found


def test_what_of_two_readings_disturbed_a_visit():
    steady = {"phone_throttled": 0.0, "phone_limit_mhz": 2800.0}
    clocks = {"phone_least_clock_mhz": 2700.0, "phone_most_clock_mhz": 2800.0}
    assert phone_disturbances(steady, steady | clocks) == ()
    assert phone_disturbances({}, {}) == ()
    assert phone_disturbances(steady, steady | {"phone_throttled": 1.0}) == ("phone-throttled",)
    assert phone_disturbances(steady, steady | {"phone_limit_mhz": 2000.0}) == ("phone-clock",)
    slow = clocks | {"phone_least_clock_mhz": 1000.0}
    assert phone_disturbances(steady, steady | slow) == ("phone-clock",)


# A link to this computer --------------------------------------------------------------------------


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """A phone of this computer; what is asked of its shell in one trip is not there."""
    folder = tmp_path / "latprof"
    made = LocalPhone(folder)
    path = Path(litert())
    library = RuntimeLibrary(
        "litert",
        "x86_64",
        "litert",
        path.name,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        path.stat().st_size,
        str(path),
        0,
        path,
    )
    monkeypatch.setattr(work_folder, "WORK_FOLDER", str(folder))

    def connect(*_given):
        if made.away:
            made.away -= 1
            raise DeviceOfflineError("it is away")
        return made

    monkeypatch.setattr(phone_session, "open_phone", connect)
    monkeypatch.setattr(phone_session, "prepare_again", lambda *_: None)
    monkeypatch.setattr(phone_session, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(AdbLiteRT, "facts", FACTS)
    monkeypatch.setattr(AdbLiteRT, "runtime_library", library)
    yield made
    for process in made.started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.fixture
def profiler(phone):
    made = AdbLiteRT.at("local")(RunOptions(cores=(0,)))
    yield made
    made.close()


@pytest.fixture(scope="module")
def model():
    network = small_network(resolution=32)
    return network if isinstance(network, bytes) else network.SerializeToString()


def test_a_cycle_is_one_plan_with_cpu_times_and_cores(profiler, model):
    first, second = profiler.load(model), profiler.load(model)
    found = profiler.run_bursts([(first, 3), (second, 2), (first, 1)])
    assert [len(burst) for burst in found] == [3, 2, 1]
    assert all(usage.cpu_us > 0 for burst in found for usage in burst.usage)
    assert [burst["core"] for burst in profiler.cycle_details()["bursts"]] == [0, 0, 0]


def test_what_calibrates_a_visit_runs_with_its_load(profiler, phone, model, monkeypatch):
    made = profiler.prepare(model)()
    assert made.ran_s > 0
    plans, run_plan = [], RunnerClient.run_plan

    def counted(client, bursts):
        plans.append(bursts)
        return run_plan(client, bursts)

    monkeypatch.setattr(RunnerClient, "run_plan", counted)
    cold, warm = profiler.run_bursts([(made, 1), (made, 1)])
    assert len(cold) == len(warm) == 1
    assert plans == []
    profiler.run_bursts([(made, 1), (made, 1)])  # what was asked for once runs again
    assert len(plans) == 1


def test_a_runner_that_was_killed_is_started_anew_and_models_are_loaded_again(
    profiler, phone, model
):
    loaded = profiler.load(model)
    profiler.run_bursts([(loaded, 1)])
    phone.started[-1].kill()
    phone.started[-1].wait()
    phone.away = 2
    waits = []
    profiler.report = waits.append
    assert len(profiler.run_bursts([(loaded, 2)])[0]) == 2
    assert profiler.restarts == 1
    assert len(phone.started) == 2


def test_what_is_pushed_is_pushed_once_and_again_where_it_is_damaged(profiler, phone, model):
    profiler.load(model)
    pushed = list(phone.pushed)
    profiler.load(model)
    assert phone.pushed == pushed
    (path,) = [path for path in pushed if "model-" in path]
    with Path(path).open("r+b") as file:
        file.seek(200)
        file.write(b"damage")
    profiler.load(model)
    assert phone.pushed == [*pushed, path]


def test_a_runner_that_does_not_start_is_said_in_the_phones_words(profiler, phone, model):
    start = phone.start

    def refuse(words):
        word = "/system/bin/sh: runner: Permission denied"
        return start(["sh", "-c", f"echo '{word}'"] if "runner-" in words[0] else words)

    phone.start = refuse
    with pytest.raises(DeviceError, match=r"does not start: .*Permission denied"):
        profiler.load(model)
    phone.start = start
    assert profiler.load(model).run(1)


def test_models_that_are_dropped_make_room(profiler, model):
    for _ in range(80):
        profiler.load(model)


def test_another_phone_in_its_place_is_not_measured(profiler, phone, model, monkeypatch):
    loaded = profiler.load(model)
    phone.started[-1].kill()
    phone.started[-1].wait()
    monkeypatch.setattr(phone_session, "RECONNECT_S", 0.0)
    phone.names = "OWN\nother/phone:9/B.2/3:user/k\n1\n"
    with pytest.raises(DeviceOfflineError, match="another phone is in its place"):
        profiler.run_bursts([(loaded, 1)])


def test_a_visit_asks_one_shell_that_is_opened_again_where_it_was_lost(profiler, phone, model):
    loaded = profiler.load(model)
    for _ in range(3):
        profiler.run_bursts([(loaded, 1)] * 3)
        assert profiler.conditions()["phone_available_bytes"] > 0
    (shell,) = [each for each in phone.started if each.args[0] == "sh"]
    shell.kill()
    shell.wait()
    profiler.run_bursts([(loaded, 1)] * 3)
    assert "phone_load1" in profiler.conditions()
    assert len([each for each in phone.started if each.args[0] == "sh"]) == 2


def test_the_battery_is_asked_now_and_then_and_heat_after_each_visit(
    profiler, phone, model, monkeypatch
):
    asked = []

    def ask(questions):
        asked.append(set(questions))
        return dict.fromkeys(questions, "level: 80\nscale: 100")

    loaded = profiler.load(model)
    monkeypatch.setattr(profiler.session, "ask", ask)
    for _ in range(3):
        profiler.run_bursts([(loaded, 1)] * 3)
        assert profiler.conditions()["phone_battery_percent"] == 80
    assert asked == [{"thermals", "battery"}, {"thermals"}, {"thermals"}]
    monkeypatch.setattr(adb_profiler, "BATTERY_S", 0.0)
    profiler.run_bursts([(loaded, 1)] * 3)
    profiler.conditions()
    assert asked[-1] == {"thermals", "battery"}


def test_a_phone_that_does_not_come_back_is_offline(profiler, phone, model, monkeypatch):
    loaded = profiler.load(model)
    phone.started[-1].kill()
    phone.started[-1].wait()
    monkeypatch.setattr(phone_session, "RECONNECT_S", 0.0)
    phone.away = 1000
    with pytest.raises(DeviceOfflineError, match="has not come back"):
        profiler.run_bursts([(loaded, 1)])


def test_a_visit_has_the_phones_state_before_and_after(profiler, model, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(model)
    network = NetworkSource.of_model(path)
    protocol = PairedProtocol(rounds=1, burst_ms=1.0, reference_loads=2)
    visit = InProcessMeasurer(profiler, network, protocol, "process").visit(network)
    assert visit.failure is None
    assert visit.conditions["before"]["phone_throttled"] == 0.0
    assert len(visit.conditions["bursts"]) == 3
    assert visit.samples.target_usage


def test_kernels_have_the_operators_of_the_graph(profiler, model):
    profiled = profiler.load_profiled(model)
    profiled.run(2)
    kernels = profiled.kernel_times([0, 1])
    assert [kernel.position for kernel in kernels] == list(range(len(kernels)))
    assert any(kernel.operators and kernel.kind.startswith("conv") for kernel in kernels)
    assert all(kernel.latency_ms >= 0 for kernel in kernels)


# Lines --------------------------------------------------------------------------------------------


class Pieces:
    """A stream that gives these pieces, then its end."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def read(self, deadline, most=1 << 16):
        deadline.left_s()
        piece = self.pieces.pop(0) if self.pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece


def test_lines_come_whole_from_any_pieces():
    lines = PhoneLines(Pieces(b"fir", b"st\nsec", b"ond\n\n", b"rest"))
    assert [lines.read_line(60, 100) for _ in range(3)] == [b"first", b"second", b""]
    with pytest.raises(EOFError):
        lines.read_line(60, 100)


def test_a_line_that_is_too_long_and_a_stream_that_breaks():
    with pytest.raises(ValueError, match="more than 10"):
        PhoneLines(Pieces(b"x" * 50)).read_line(60, 10)
    with pytest.raises(OSError, match="cut"):
        PhoneLines(Pieces(ConnectionLostError("cut"))).read_line(60, 10)
    with pytest.raises(TimeoutError):
        PhoneLines(Pieces(b"x")).read_line(0, 10)
