"""A farm of real processes: scheduler, workers, client; killed, cut off, and never let in."""

import contextlib
import http.client
import itertools
import json
import signal
import subprocess
import time
from collections import Counter

import farm_processes
import postgres
import pytest
from farm_processes import (
    LOOPBACK,
    Cable,
    Program,
    environment,
    latprof,
    listening,
    scheduler,
    worker,
)
from free_port import free_port

from latprof import get_space
from latprof.errors import LatprofError
from latprof.farm import make_keys
from latprof.measurement.store.store import Store

COLLECT = (
    *("collect", "--space", "proxyless", "--resolution", "64", "-n", "6", "--visits", "4", "-q"),
    *("--repeat-fraction", "0", "--target", "fake:clock", "--json"),
)
VISITS = 6 * 4
MAIN = ("-c", "from latprof.cli.main import main; main()")
#: A scheduler of dask alone.
_OF_DASK = "from distributed.cli.dask_scheduler import main; main()"
WITHOUT_LATPROF = ("-c", f"import sys; sys.modules['latprof'] = None; {_OF_DASK}")
#: An older latprof.
OLD = ("-c", f"import latprof._version as v; v.__version__ = '0.0.1'; {MAIN[1]}")


@pytest.fixture
def folder(tmp_path):
    environment(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def alive(tmp_path_factory):
    """A scheduler for all tests that leave it alive, and its address."""
    with scheduler(tmp_path_factory.mktemp("alive")) as found:
        yield found


@pytest.fixture
def address(alive):
    return alive[1]


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


def specimens(path):
    """Which devices made the visits of a pooled target."""
    with contextlib.suppress(LatprofError), Store.open(path) as store:  # it is being made
        found = [m for stored in store.targets() for m in store.measurements(stored.target)]
        return {made.conditions["specimen"] for made in found}
    return set()


def check_whole(path, *hosts):
    made = visits(path)
    assert made.keys() == {*hosts}
    for host in hosts:
        assert len(made[host]) == VISITS
        assert set(made[host].values()) == {1}


def test_devices_measure_side_by_side_into_targets_of_their_own(folder, address):
    with (
        worker(folder, address, "a"),
        worker(folder, address, "b"),
    ):
        done = collect(folder, address, "--tag", "v1")
        assert done.returncode == 0, done.stderr
        devices = json.loads(done.stdout)["devices"]
        assert [each["device"] for each in devices] == ["sim@a", "sim@b"]
        assert [each["visits_made"] for each in devices] == [VISITS, VISITS]
        check_whole(folder / "lab.db", "a", "b")
        with Store.open(folder / "lab.db") as store:
            for stored in store.targets():
                (campaign,) = store.campaigns(stored.target)
                assert campaign["host"]["source"]["tag"] == "v1"
        again = collect(folder, address, "--target", "fake:clock@b")
        assert json.loads(again.stdout)["devices"][0]["visits_resumed"] == VISITS
        status = latprof(folder, "farm", "status", address, "--json", "-o", "page.html")
        found = json.loads(status.stdout)
        assert [(d["name"], d["made"]) for d in found["devices"]] == [
            ("sim@a", VISITS),
            ("sim@b", VISITS),
        ]
        assert "sim@a" in (folder / "page.html").read_text()


def test_pooled_devices_share_the_visits_to_one_target(folder, address):
    with (
        worker(folder, address, "a", seconds=0.4),
        worker(folder, address, "b", seconds=0.4),
    ):
        # However wide an interval is: a busy host makes more visits otherwise.
        done = collect(folder, address, "--pool", "--half-width", "99%")
    assert done.returncode == 0, done.stderr
    devices = json.loads(done.stdout)["devices"]
    assert sum(each["visits_made"] for each in devices) == VISITS
    assert min(each["visits_made"] for each in devices) > 0
    assert devices[0]["specimens"].keys() == {"sim@a", "sim@b"}
    check_whole(folder / "lab.db", "")


def test_a_target_that_is_not_there_is_an_error_with_what_is(folder, address):
    with worker(folder, address, "a"):
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
    port = free_port()
    words = (*WITHOUT_LATPROF, "--host", "127.0.0.1", "--port", port, "--no-dashboard")
    with Program(*words, env=environment(folder)) as other:
        other.wait_for("Scheduler at")
        done = latprof(folder, "farm", "status", f"tcp://127.0.0.1:{port}")
        assert done.returncode == 2, done.stderr
        (line,) = done.stderr.strip().splitlines()
        assert "the scheduler there has no latprof" in line


def test_without_keys_nothing_but_loopback_is_listened_on(folder, alive):
    program, address = alive
    with (
        worker(folder, address, "a", seconds=0.05) as one,
        begin(folder, address) as client,
    ):
        wait_for_visits(folder / "lab.db", 1, client)
        found = listening(program.pid, one.pid, client.pid)
        assert len(found) >= 2
        assert {place for place, _ in found} <= LOOPBACK
        pages = {port for _, port in listening(program.pid)} - {int(address.rpartition(":")[2])}
        assert pages
        for port, page in itertools.product(pages, ("", "status", "json/counts.json", "metrics")):
            assert answer(port, page) == 404
    for words in (("start", "--host", "0.0.0.0"), ("join", "tcp://192.0.2.1:8786")):
        done = latprof(folder, "farm", *words)
        assert done.returncode == 2, done.stderr
        assert "without keys" in done.stderr
    done = latprof(folder, "farm", "status", "tls://127.0.0.1:8786")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_with_keys_whoever_has_none_is_refused(folder):
    keys, others = make_keys(folder / "keys"), make_keys(folder / "others")
    with scheduler(folder, keys) as (program, address):
        words = ("join", address, "--keys", others, "--host-label", "c")
        stranger = Program(*MAIN, "farm", *words, env=environment(folder))
        words = ("join", address, "--keys", keys, "--host-label", "a", "--only", "cpu:onnxruntime")
        with stranger, Program(*MAIN, "farm", *words, env=environment(folder)) as one:
            one.wait_for("joined")
            # ONNX Runtime itself, and a model that only this host has.
            model = onnx_file(folder / "own.onnx")
            target = ("--target", "cpu:onnxruntime@a", "--visits", "2", "--keys", keys)
            words = (model, *target, "--farm", address, "--json", "-q", "--store", "lab.db")
            done = latprof(folder, "collect", *words)
            assert done.returncode == 0, done.stderr
            (found,) = json.loads(done.stdout)["devices"]
            assert (found["visits_made"], found["visits_failed"]) == (2, 0)
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
            assert stranger.ended() == 4
            assert any("no farm answers" in line for line in stranger.lines)
            one.kill(signal.SIGTERM)
            program.kill(signal.SIGTERM)
            assert not [*folder.glob("latprof-*"), *folder.glob("dask-*")]  # of TMPDIR


def answer(port, page):
    """The status of a page of this computer."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, 60)) as connection:
        connection.request("GET", f"/{page}")
        return connection.getresponse().status


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


def onnx_file(path):
    """A network of a space as a file."""
    space = get_space("proxyless", resolution=64)
    path.write_bytes(space.onnx_bytes(space.sample(1)[0]))
    return path


def begin(folder, address, *words, store=None):
    """A collection that goes on."""
    words = (*COLLECT, "--farm", address, "--store", store or folder / "lab.db", *words)
    return Program(*MAIN, *words, env=environment(folder))


def wait_for_visits(path, number, client):
    deadline = time.monotonic() + 300
    while True:
        made = 0
        with contextlib.suppress(LatprofError):  # it is being made
            made = sum(len(found) for found in visits(path).values())
        if made >= number:
            return
        assert client.process.poll() is None, client.lines
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def database():
    with postgres.server() as found:
        yield found


def test_whatever_is_killed_nothing_is_lost_and_nothing_made_twice(folder, database):
    """A worker of three, the collection, the database, the scheduler, one after the other."""
    store, clients = database.url, []
    database.empty()
    with scheduler(folder) as (first, address), contextlib.ExitStack() as stack:
        port = int(address.rpartition(":")[2])
        for label in "bc":
            stack.enter_context(worker(folder, address, label, seconds=0.5))

        def begun():
            clients.append(stack.enter_context(begin(folder, address, store=store)))
            return clients[-1]

        client = begun()
        with worker(folder, address, "a", seconds=0.5) as one:
            wait_for_visits(store, 3, client)
            one.kill()
        stack.enter_context(worker(folder, address, "a", seconds=0.5))
        wait_for_visits(store, 15, client)
        client.kill()
        made = sum(map(len, visits(store).values()))
        client = begun()
        wait_for_visits(store, made + 6, client)  # it measures by then
        database.stop()
        assert client.ended() == 3, client.lines
        said = [line for line in client.lines if "[store]" in line]
        assert said, client.lines
        assert all("run the same command again" in line for line in said), said
        database.start()
        made = sum(map(len, visits(store).values()))
        client = begun()
        wait_for_visits(store, made + 6, client)
        first.kill()
        with scheduler(folder, port=port):
            assert client.ended() == 0, client.lines
    for each in clients:
        assert not any("hush" in line or "Traceback" in line for line in each.lines), each.lines
    check_whole(store, "a", "b", "c")


def test_a_database_that_restarts_ends_the_collection_on_all_devices(folder, address, database):
    """Also on one that measures meanwhile, and would find the database where it was."""
    store = database.url
    database.empty()
    with worker(folder, address, "a", seconds=0.5), worker(folder, address, "b", seconds=5.0):
        with begin(folder, address, store=store) as client:
            wait_for_visits(store, 4, client)
            database.stop()
            database.start()
            assert client.ended() == 3, client.lines
        (said,) = [line for line in client.lines if line.startswith("latprof: sim@")]
        assert said.startswith("latprof: sim@a, sim@b: "), said
        assert said.endswith("[store]")
        assert len(visits(store)["b"]) < VISITS


def test_a_scheduler_that_dies_while_a_device_is_waited_for_is_waited_for_as_well(folder):
    with scheduler(folder) as (first, address), begin(folder, address) as client:
        client.wait_for("waiting for a device")
        first.kill()
        port = int(address.rpartition(":")[2])
        with scheduler(folder, port=port), worker(folder, address, "a"):
            assert client.ended() == 0, client.lines
    check_whole(folder / "lab.db", "a")


def test_collections_write_into_one_database_together(folder, address, database):
    database.empty()
    with contextlib.ExitStack() as stack:
        clients = []
        for label in "ab":
            stack.enter_context(worker(folder, address, label, seconds=0.05))
            words = ("--target", f"fake:clock@{label}")
            clients.append(begin(folder, address, *words, store=database.url))
            stack.enter_context(clients[-1])
        for client in clients:
            assert client.ended() == 0, client.lines
            assert not any("hush" in line for line in client.lines)
    check_whole(database.url, "a", "b")


def test_a_device_that_another_collection_has_is_waited_for_and_not_for_ever(folder, address):
    many = ("--visits", "400")
    with (
        worker(folder, address, "a", seconds=0.2),
        begin(folder, address, *many, store=folder / "first.db") as first,
    ):
        wait_for_visits(folder / "first.db", 1, first)
        done = collect(folder, address, "--queue-timeout", "1s")
        assert done.returncode == 4, done.stderr
        assert "another collection has sim@a" in done.stderr
        with begin(folder, address) as second:
            wait_for_visits(folder / "first.db", 3, first)
            first.kill()
            assert second.ended() == 0, second.lines
    check_whole(folder / "lab.db", "a")


def test_a_cut_network_loses_nothing(folder, address):
    with (
        Cable(int(address.rpartition(":")[2])) as cable,
        worker(folder, cable.address, "a", seconds=0.1) as one,
        worker(folder, address, "b", seconds=0.1),
        begin(folder, cable.address) as client,
    ):
        wait_for_visits(folder / "lab.db", 8, client)
        cable.cut()
        one.wait_for("is gone")
        cable.mend()
        assert client.ended() == 0, client.lines
    check_whole(folder / "lab.db", "a", "b")


def test_a_collection_that_comes_back_before_its_loss_is_noticed_is_another_one(folder):
    with scheduler(folder) as (program, address), contextlib.ExitStack() as stack:
        cable = stack.enter_context(Cable(int(address.rpartition(":")[2])))
        stack.enter_context(worker(folder, address, "a", seconds=0.2))
        client = stack.enter_context(begin(folder, cable.address))
        wait_for_visits(folder / "lab.db", 4, client)
        cable.cut_near()
        wait_for_visits(folder / "lab.db", 10, client)
        cable.tell()
        assert client.ended() == 0, client.lines
        assert latprof(folder, "farm", "status", address).returncode == 0
        assert not any("Traceback" in line for line in [*program.lines, *client.lines])
    check_whole(folder / "lab.db", "a")


def test_a_full_disk_ends_the_collection_and_loses_nothing(folder, address, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o")
    made = [*mount, "size=512k", "tmpfs", str(place)]
    if subprocess.run(made, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small file system here")
    words = ("-n", "40", "--visits", "1", "--store", place / "lab.db")
    try:
        with worker(folder, address, "a"), worker(folder, address, "b"):
            done = collect(folder, address, *words)
            assert done.returncode == 5, done.stderr
            (_, said) = done.stderr.strip().splitlines()
            assert said.startswith("latprof: sim@a, sim@b: ")
            assert said.endswith("[disk-full]")
            kept = visits(place / "lab.db")
            subprocess.run([*mount, "remount,size=8m", "tmpfs", str(place)], check=True)
            done = collect(folder, address, *words)
            assert done.returncode == 0, done.stderr
        found = visits(place / "lab.db")
        for host in ("a", "b"):
            assert kept[host].keys() < found[host].keys()
            assert (len(found[host]), set(found[host].values())) == (40, {1})
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_device_that_stays_away_ends_its_visits_and_not_the_others(folder, address):
    with (
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


def test_a_device_that_is_away_when_a_collection_begins_is_told_and_not_complete(folder, address):
    with worker(folder, address, "b"):
        with (
            worker(folder, address, "a", seconds=0.2) as first,
            begin(folder, address, "--target", "fake:clock@a") as client,
        ):
            wait_for_visits(folder / "lab.db", 3, client)
            client.kill()
            first.kill()
        begun = len(visits(folder / "lab.db")["a"])
        assert begun < VISITS
        done = collect(folder, address, "--target", "fake:clock@a", "--queue-timeout", "1s")
        assert done.returncode == 4
        assert f"begun before: fake:clock@a ({begun} of {VISITS} visits)" in done.stderr
        done = collect(folder, address, "--queue-timeout", "2s")
        assert done.returncode == 5, done.stderr
        said = f"fake:clock@a is not there and has made {begun} of {VISITS} visits"
        assert said in done.stderr
        assert f"fake:clock@a: it never came, and {VISITS - begun} of its" in done.stderr
        found = json.loads(done.stdout)
        assert found["absent"] == ["fake:clock@a"]
        (b, a) = found["devices"]
        assert (b["device"], b["visits_made"], b["error"]) == ("sim@b", VISITS, None)
        assert (a["device"], a["error"]["code"]) == ("fake:clock@a", "device-offline")
        # It comes while it is waited for.
        with begin(folder, address) as client:
            client.wait_for(said)
            with worker(folder, address, "a"):
                assert client.ended() == 0, client.lines
        check_whole(folder / "lab.db", "a", "b")
        # Nothing of it is missing any more; other networks were never asked of it.
        for words in ((), ("-n", "3", "--seed", "7")):
            done = collect(folder, address, *words)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["absent"] == []


def test_a_specimen_that_is_away_is_named_and_the_others_make_its_visits(folder, address):
    pooled = ("--pool", "--half-width", "99%")
    with worker(folder, address, "a", seconds=0.2):
        with worker(folder, address, "b", seconds=0.2), begin(folder, address, *pooled) as client:
            while "sim@b" not in specimens(folder / "lab.db"):
                assert client.process.poll() is None, client.lines
                time.sleep(0.05)
            client.kill()
        done = collect(folder, address, *pooled)
    assert done.returncode == 0, done.stderr
    assert "not there: sim@b; the others made the visits" in done.stderr
    assert json.loads(done.stdout)["absent"] == ["sim@b"]
    check_whole(folder / "lab.db", "")


def test_the_visits_of_a_pooled_device_that_dies_are_made_by_the_others(folder, address):
    words = ("--pool", "--half-width", "99%", "--queue-timeout", "2s")
    with (
        worker(folder, address, "b", seconds=0.4),
        worker(folder, address, "a", seconds=0.4) as first,
        begin(folder, address, *words) as client,
    ):
        while "sim@a" not in specimens(folder / "lab.db"):
            assert client.process.poll() is None, client.lines
            time.sleep(0.05)
        first.kill()
        assert client.ended() == 5, client.lines
        assert any("sim@a has been away" in line for line in client.lines)
    check_whole(folder / "lab.db", "")


def test_a_device_that_keeps_failing_is_set_aside_and_reported(folder, address, monkeypatch):
    monkeypatch.setenv("FAILS", "bad")
    with (
        worker(folder, address, "bad"),
        worker(folder, address, "good"),
    ):
        done = collect(folder, address)
        assert done.returncode == 5, done.stderr
        assert "sim@bad is set aside after 6 failed visits in a row" in done.stderr
        assert "it is tried again after 10 minutes" in done.stderr
        found = json.loads(latprof(folder, "farm", "status", address, "--json").stdout)
        states = {each["name"]: each["state"] for each in found["devices"]}
        assert states["sim@bad"] == "set aside"
    assert len(visits(folder / "lab.db")["good"]) == VISITS


def test_a_device_is_announced_once_and_by_this_version_alone(folder, address):
    with worker(folder, address, "a"):
        words = (farm_processes.__file__, address, "-", "a", 1, 0)
        with Program(*words, env=environment(folder)) as again:
            assert again.ended() == 1
            assert any("in the farm already" in line for line in again.lines)
        words = (*OLD, "farm", "join", address, "--only", "cpu:onnxruntime")
        with Program(*words, env=environment(folder)) as other:
            assert other.ended() == 2
            assert any("another version of latprof" in line for line in other.lines)
        words = (*OLD, *COLLECT, "--farm", address, "--store", folder / "lab.db")
        with Program(*words, env=environment(folder)) as other:
            assert other.ended() == 2
            (line,) = other.lines
            assert "a runs another version of latprof" in line
        assert not (folder / "lab.db").exists()


def test_the_clock_of_a_host_may_be_hours_off_and_jump(folder, address, monkeypatch):
    monkeypatch.setenv("CLOCK_OFF_S", "-3600 0 7200")
    with worker(folder, address, "a", seconds=0.02):
        monkeypatch.delenv("CLOCK_OFF_S")
        before = time.time()
        done = collect(folder, address)
        assert done.returncode == 0, done.stderr
    with Store.open(folder / "lab.db") as store:
        (stored,) = store.targets()
        started = [made.started_at for made in store.measurements(stored.target)]
    assert len(started) == VISITS
    assert min(started) > before - 60
    assert max(started) < time.time() + 60
