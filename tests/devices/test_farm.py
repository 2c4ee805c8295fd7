"""A farm of real processes: scheduler, workers, client; killed, cut off, and never let in."""

import json
import signal
import time
from collections import Counter

import pytest
from farm_processes import LOOPBACK, Program, environment, latprof, listening, scheduler, worker

from latprof.farm import make_keys
from latprof.measurement.store.store import Store

COLLECT = (
    *("collect", "--space", "proxyless", "--resolution", "64", "-n", "6", "--visits", "4", "-q"),
    *("--repeat-fraction", "0", "--target", "fake:clock", "--json"),
)
VISITS = 6 * 4


@pytest.fixture
def folder(tmp_path):
    environment(tmp_path)
    return tmp_path


def collect(folder, address, *words, store="lab.db"):
    return latprof(folder, *COLLECT, "--farm", address, "--store", store, *words)


def visits(path):
    """How often each visit of each target counts."""
    found = {}
    with Store.open(path) as store:
        for stored in store.targets():
            made = Counter(m.key for m in store.measurements(stored.target) if m.ok)
            found[stored.target.host] = made
    return found


def check_whole(path, *hosts):
    made = visits(path)
    assert made.keys() == {*hosts}
    for host in hosts:
        assert len(made[host]) == VISITS
        assert set(made[host].values()) == {1}


def test_devices_measure_side_by_side_into_targets_of_their_own(folder):
    with (
        scheduler(folder) as (_, address),
        worker(folder, address, "a"),
        worker(folder, address, "b"),
    ):
        done = collect(folder, address)
        assert done.returncode == 0, done.stderr
        devices = json.loads(done.stdout)["devices"]
        assert [each["device"] for each in devices] == ["sim@a", "sim@b"]
        assert [each["visits_made"] for each in devices] == [VISITS, VISITS]
        check_whole(folder / "lab.db", "a", "b")
        again = collect(folder, address, "--target", "fake:clock@b")
        assert json.loads(again.stdout)["devices"][0]["visits_resumed"] == VISITS
        status = latprof(folder, "farm", "status", address, "--json", "-o", "page.html")
        found = json.loads(status.stdout)
        assert [(d["name"], d["made"]) for d in found["devices"]] == [
            ("sim@a", VISITS),
            ("sim@b", VISITS),
        ]
        assert "sim@a" in (folder / "page.html").read_text()


def test_pooled_devices_share_the_visits_to_one_target(folder):
    with (
        scheduler(folder) as (_, address),
        worker(folder, address, "a", seconds=0.05),
        worker(folder, address, "b", seconds=0.05),
    ):
        done = collect(folder, address, "--pool")
    assert done.returncode == 0, done.stderr
    devices = json.loads(done.stdout)["devices"]
    assert sum(each["visits_made"] for each in devices) == VISITS
    assert min(each["visits_made"] for each in devices) > 0
    assert devices[0]["specimens"].keys() == {"sim@a", "sim@b"}
    check_whole(folder / "lab.db", "")


def test_a_target_that_is_not_there_is_an_error_with_what_is(folder):
    with scheduler(folder) as (_, address), worker(folder, address, "a"):
        start = time.monotonic()
        done = collect(folder, address, "--target", "cpu:onnxruntime", "--queue-timeout", "1s")
        assert done.returncode == 4
        assert "there are: fake:clock@a [device-offline]" in done.stderr
        assert done.stderr.count("\n") <= 2
        assert time.monotonic() - start < 200
        assert not (folder / "lab.db").exists()


def test_without_a_scheduler_there_is_one_line(folder):
    done = collect(folder, "tcp://127.0.0.1:9", "--queue-timeout", "1s")
    assert done.returncode == 4
    assert "no farm answers at tcp://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_keys_nothing_but_loopback_is_listened_on(folder):
    with scheduler(folder) as (program, address), worker(folder, address, "a") as one:
        done = collect(folder, address)
        assert done.returncode == 0, done.stderr
        found = listening(program.pid, one.pid)
        assert len(found) >= 2
        assert {place for place, _ in found} <= LOOPBACK
    for words in (("start", "--host", "0.0.0.0"), ("join", "tcp://192.0.2.1:8786")):
        done = latprof(folder, "farm", *words)
        assert done.returncode == 2, done.stderr
        assert "without keys" in done.stderr
    done = latprof(folder, "farm", "status", "tls://127.0.0.1:8786")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_with_keys_whoever_has_none_is_refused(folder):
    keys, others = make_keys(folder / "keys"), make_keys(folder / "others")
    with scheduler(folder, keys) as (program, address):
        with worker(folder, address, "a", keys=keys) as one:
            done = collect(folder, address, "--keys", keys)
            assert done.returncode == 0, done.stderr
            check_whole(folder / "lab.db", "a")
            plain = address.replace("tls", "tcp")
            for words in (("--keys", others), ()):
                refused = collect(
                    folder, address if words else plain, *words, "--queue-timeout", "1s"
                )
                assert refused.returncode == 4, refused.stderr
                assert "no farm answers" in refused.stderr
                assert "Traceback" not in refused.stderr
            # What listens beyond this computer takes certificates.
            beyond = {
                port for place, port in listening(program.pid, one.pid) if place not in LOOPBACK
            }
            assert beyond
            for port in beyond:
                assert not answers_without_certificate(port)
        with Program(
            *("-c", "from latprof.cli.main import main; main()"),
            *("farm", "join", address, "--keys", others, "--host-label", "c"),
            env=environment(folder),
        ) as stranger:
            assert stranger.ended() == 4
            assert any("no farm answers" in line for line in stranger.lines)


def answers_without_certificate(port):
    """Whether somebody without a certificate gets a byte from a port."""
    import socket
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), 30) as plain:
            plain.settimeout(30)
            with context.wrap_socket(plain) as wrapped:
                return bool(wrapped.recv(1))
    except (ssl.SSLError, ConnectionError):
        return False


def begin(folder, address, *words, store="lab.db"):
    """A collection that goes on."""
    code = "from latprof.cli.main import main; main()"
    words = (*COLLECT, "--farm", address, "--store", folder / store, *words)
    return Program("-c", code, *words, env=environment(folder))


def wait_for_visits(path, number, client):
    deadline = time.monotonic() + 300
    while True:
        made = 0
        if path.exists():
            try:
                made = sum(len(found) for found in visits(path).values())
            except Exception:
                made = 0
        if made >= number:
            return
        assert client.process.poll() is None, client.lines
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_worker_loses_nothing_when_its_host_joins_again(folder):
    with scheduler(folder) as (_, address), begin(folder, address) as client:
        with worker(folder, address, "a", seconds=0.1) as first:
            wait_for_visits(folder / "lab.db", 4, client)
            first.kill()
        with worker(folder, address, "a", seconds=0.0):
            assert client.ended() == 0, client.lines
    check_whole(folder / "lab.db", "a")


def test_a_device_that_stays_away_ends_its_visits_and_not_the_others(folder):
    with (
        scheduler(folder) as (_, address),
        worker(folder, address, "b"),
        worker(folder, address, "a", seconds=0.2) as first,
        begin(folder, address, "--queue-timeout", "3s") as client,
    ):
        wait_for_visits(folder / "lab.db", VISITS, client)
        first.kill()
        assert client.ended() == 5, client.lines
        assert any("sim@a has been away" in line for line in client.lines)
    made = visits(folder / "lab.db")
    assert len(made["b"]) == VISITS


def test_a_killed_scheduler_is_followed_by_the_next_one(folder):
    with scheduler(folder) as (first, address):
        port = int(address.rpartition(":")[2])
        with (
            worker(folder, address, "a", seconds=0.1) as one,
            worker(folder, address, "b", seconds=0.1),
            begin(folder, address) as client,
        ):
            wait_for_visits(folder / "lab.db", 8, client)
            first.kill()
            with scheduler(folder, port=port):
                assert client.ended() == 0, client.lines + one.lines
    check_whole(folder / "lab.db", "a", "b")


def test_a_killed_collection_resumes(folder):
    with scheduler(folder) as (_, address), worker(folder, address, "a", seconds=0.05):
        with begin(folder, address) as client:
            wait_for_visits(folder / "lab.db", 4, client)
            client.kill(signal.SIGKILL)
        done = collect(folder, address)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["devices"][0]["visits_resumed"] >= 4
    check_whole(folder / "lab.db", "a")


def test_a_device_that_keeps_failing_is_set_aside_and_reported(folder, monkeypatch):
    monkeypatch.setenv("FAILS", "bad")
    with (
        scheduler(folder) as (_, address),
        worker(folder, address, "bad"),
        worker(folder, address, "good"),
    ):
        done = collect(folder, address)
        assert done.returncode == 5, done.stderr
        assert "sim@bad is set aside after 6 failed visits in a row" in done.stderr
        found = json.loads(latprof(folder, "farm", "status", address, "--json").stdout)
        states = {each["name"]: each["state"] for each in found["devices"]}
        assert states["sim@bad"] == "set aside"
    assert len(visits(folder / "lab.db")["good"]) == VISITS


def test_a_device_is_announced_once(folder):
    with scheduler(folder) as (_, address), worker(folder, address, "a"):
        again = Program(
            *(worker.__globals__["__file__"], address, "-", "a", 1, 0), env=environment(folder)
        )
        with again:
            assert again.ended() == 1
            assert any("in the farm already" in line for line in again.lines)


def test_the_clock_of_a_host_may_be_an_hour_off(folder, monkeypatch):
    monkeypatch.setenv("CLOCK_OFF_S", "-3600")
    with scheduler(folder) as (_, address), worker(folder, address, "a"):
        monkeypatch.delenv("CLOCK_OFF_S")
        before = time.time()
        done = collect(folder, address)
        assert done.returncode == 0, done.stderr
    with Store.open(folder / "lab.db") as store:
        (stored,) = store.targets()
        started = [made.started_at for made in store.measurements(stored.target)]
    assert min(started) > before - 60
    assert max(started) < time.time() + 60
