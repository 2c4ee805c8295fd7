"""Commands and their processes make no connection: all calls of sockets, counted by strace."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from network_calls import COMMANDS, calls_of_command, calls_of_session, found_calls, make_place


def test_the_counting_sees_what_it_should():
    assert found_calls("1 socket(AF_UNIX, SOCK_STREAM, 0) = 3\n1 socketpair(AF_UNIX, 1) = 0") == []
    for line in (
        "1 socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = 3",
        '1 connect(3, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1',
        '1 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.53")}',
        '1 connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("8.8.8.8")}',
    ):
        assert found_calls(line) == [line]
    opened = "1 socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 3"
    here = '1 connect(3, {sa_family=AF_INET, sin_addr=inet_addr("127.0.0.1")}, 16) = -1'
    assert found_calls(f"{opened}\n{here}") == []
    assert found_calls(f"{opened}\n{here.replace('(3', '(4')}") == [opened]
    assert found_calls(f"{opened}\n{here}\n{opened}") == [opened]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    make_place(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def sessions(place, tmp_path_factory):
    """What sessions of half a minute ask, waited for beside the commands."""
    with ThreadPoolExecutor(2) as pool:
        yield {
            telemetry: pool.submit(
                calls_of_session, telemetry, tmp_path_factory.mktemp(telemetry), place
            )
            for telemetry in ("off", "on")
        }


@pytest.mark.parametrize("words", COMMANDS)
def test_no_command_asks_the_network_for_anything(place, tmp_path, words):
    calls, done = calls_of_command(words, tmp_path, place)
    assert "Traceback" not in done.stderr
    # doctor finds; visits are disturbed; a busy host gets no number
    fine = done.returncode in {0, 1, 5} or "[host-busy]" in done.stderr
    assert fine, done.stderr
    assert calls == []


@pytest.mark.parametrize("telemetry", ["off", "on"])
def test_a_session_of_half_a_minute(sessions, telemetry):
    """Off as latprof's modules leave it; the same count sees what happens otherwise."""
    calls, done = sessions[telemetry].result()
    assert done.returncode == 0, done.stderr
    assert bool(calls) == (telemetry == "on"), calls[:5]
