"""Commands and their processes make no connection: all calls of sockets, counted by strace."""

import os
import re
import subprocess
import sys

import pytest
from command_line import COMMAND
from computed_store import fill_store
from onnx import TensorProto, helper, save

#: A guard against hangs in seconds, far above what a busy machine takes.
LONGEST_S = 500
#: What a session of the runtime's own takes to call home when nothing keeps it from it.
SESSION_S = 30

SESSION = """
import sys, time
if sys.argv[1] == "off":
    from latprof.profilers.runtimes.cpu import cpu_onnxruntime
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[2])
deadline = time.monotonic() + float(sys.argv[3])
while time.monotonic() < deadline: time.sleep(0.2)
"""
#: A call of a process that may leave this computer, and look-ups at a resolver wherever it is.
_CALL = re.compile(r"(socket|connect|sendto|sendmsg|sendmmsg)\((.*)")
_LOOPBACK = re.compile(r'inet_addr\("127\.|inet_pton\(AF_INET6, "::1"')


def network_calls(folder, command, **options):
    """What a command and all its descendants asked of the network; and the completed process."""
    trace = folder / "trace"
    traced = ["strace", "-f", "-qq", "-s", "64", "-e", "trace=network", "-o", str(trace)]
    done = subprocess.run(
        [*traced, *command],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
        **options,
    )
    return found_calls(trace.read_text(errors="replace")), done


def found_calls(trace):
    """Lines of a trace that open a socket beyond this computer, or look a name up."""
    found = []
    for line in trace.splitlines():
        call = _CALL.search(line)
        if call is None or "AF_UNIX" in call[2] or "AF_NETLINK" in call[2]:
            if call and "nscd" in call[2]:  # how a look-up of a name begins
                found.append(line)
            continue
        is_lookup = "htons(53)" in call[2]
        opens = call[1] == "socket" and re.search(r"AF_INET6?\b", call[2])
        leaves = call[1] != "socket" and "AF_INET" in call[2] and not _LOOPBACK.search(call[2])
        if is_lookup or leaves or opens:
            found.append(line)
    return found


def test_the_counting_sees_what_it_should():
    assert found_calls("1 socket(AF_UNIX, SOCK_STREAM, 0) = 3\n1 socketpair(AF_UNIX, 1) = 0") == []
    for line in (
        "1 socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = 3",
        '1 connect(3, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1',
        '1 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.53")}',
        '1 connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("8.8.8.8")}',
    ):
        assert found_calls(line) == [line]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, a store, a pack, an accuracy function."""
    folder = tmp_path_factory.mktemp("place")
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    save(model, folder / "a.onnx")
    fill_store(folder / "lat.db")
    (folder / "own.py").write_text("def accuracy(found): return [0.5 for _ in found]\n")
    done = subprocess.run([*COMMAND, "train", "lat.db", "-o", "a.pack"], cwd=folder, check=False)
    assert done.returncode == 0
    return folder


@pytest.mark.parametrize("telemetry", ["off", "on"])
def test_a_session_of_half_a_minute(place, tmp_path, telemetry):
    """Off as latprof's modules leave it; the same count sees what happens otherwise."""
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", SESSION, telemetry, str(place / "a.onnx"), str(SESSION_S)]
    calls, done = network_calls(tmp_path, command, env=environment | {"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert bool(calls) == (telemetry == "on"), calls[:5]


COMMANDS = (
    "--help",
    "devices",
    "doctor",
    "collect --space proxyless --resolution 64 --visits 1 --rounds 1 -n 2 --store new.db",
    "profile a.onnx",
    "compare a.onnx a.onnx --visits 2 --processes 1",
    "export lat.db --csv a.csv",
    "datasets",
    "train lat.db -o b.pack",
    "transfer --from a.pack lat.db -o c.pack",
    "predict a.onnx --pack a.pack",
    "lookup-table a.pack -o table.csv",
    "search --pack a.pack --accuracy own:accuracy --limit-ms 6 --budget 10",
    "report lat.db -o report.html",
)


@pytest.mark.parametrize("words", COMMANDS)
def test_no_command_asks_the_network_for_anything(place, tmp_path, words):
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    calls, done = network_calls(tmp_path, [*COMMAND, *words.split()], cwd=place, env=environment)
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 1}, done.stderr  # 1: doctor finds something
    assert calls == []
