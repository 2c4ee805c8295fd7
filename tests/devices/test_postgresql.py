"""A store in a PostgreSQL server: it passes the contract, and several processes share its work."""

import json
import signal
from collections import Counter

import postgres
import pytest
from shared_collector import TARGET, TOTAL, begun, ended, read, start

from latprof.errors import LatprofError
from latprof.measurement.store.claims import Claims
from latprof.measurement.store.store import Store
from latprof.testing.store_contract import StoreContract


@pytest.fixture(scope="module")
def server():
    with postgres.server() as found:
        yield found


@pytest.fixture
def location(server):
    server.empty()
    return server.url


class TestPostgresql(StoreContract):
    @pytest.fixture
    def location(self, server):
        server.empty()
        return server.url


def counted(location):
    with Store.open(location) as store:
        return Counter(made.key for made in store.measurements(TARGET))


def test_processes_share_the_visits_and_make_a_killed_ones(location):
    processes = [start(location, 0.02) for _ in range(3)]
    try:
        begun(*processes)
        lines = [read(processes[0], 3)]
        processes[0].send_signal(signal.SIGKILL)
        lines += [read(process) for process in processes]
    finally:
        ended(*processes)
    assert len(counted(location)) == TOTAL
    assert set(counted(location).values()) == {1}
    for last in (lines[2][-1], lines[3][-1]):
        assert json.loads(last)["left"] == 0


def test_a_server_that_restarts_loses_nothing_and_the_error_has_no_password(server, location):
    with Store.open(location, create=True) as store:
        store.add_target(TARGET, "r")
        with Claims(store, TARGET) as claims:
            server.stop()
            with pytest.raises(LatprofError) as caught:
                claims.take((), 1)
            assert "hush" not in str(caught.value)
            server.start()
            claims.take((), 1)
    with Store.open(location) as store:
        assert [stored.target for stored in store.targets()] == [TARGET]
