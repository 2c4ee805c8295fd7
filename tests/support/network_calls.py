"""What commands ask of the network: all calls of sockets, counted by strace."""

import os
import re
import subprocess
import sys

from command_line import COMMAND
from computed_store import fill_store
from onnx import TensorProto, helper, save

#: A guard against hangs in seconds, far above what a busy machine takes.
LONGEST_S = 500
COMMANDS = (
    "--help",
    "devices",
    "doctor",
    "collect --space proxyless --resolution 64 --visits 1 --rounds 1 -n 2 --store new.db",
    "profile a.onnx --visits 2",
    "compare a.onnx a.onnx --processes 2 --visits 1",
    "export lat.db --csv a.csv",
    "datasets",
    "train lat.db -o b.pack",
    "transfer --from a.pack lat.db -o c.pack",
    "predict a.onnx --pack a.pack",
    "lookup-table a.pack -o table.csv",
    "search --pack proxyless-cpu-ort1 --accuracy own:accuracy --limit-ms 6 --budget 10",
    "report lat.db -o report.html",
)

#: What a session of the runtime's own takes to call home when nothing keeps it from it; on a busy
#: machine it takes longer.
SESSION_S = 30
LONGER_S = (90, 270)

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
    # Only calls of sockets stop a process, so that a command takes hardly longer than without.
    traced = ["strace", "-f", "--seccomp-bpf", "-qq", "-s", "64", "-e", "trace=network"]
    done = subprocess.run(
        [*traced, "-o", str(trace), *command],
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
        **options,
    )
    return found_calls(trace.read_text(errors="replace")), done


def found_calls(trace):
    """Lines of a trace that open a socket beyond this computer, or look a name up.

    A socket that is connected to this computer itself, as to an adb server, is none.
    """
    found: dict[object, str] = {}
    for number, line in enumerate(trace.splitlines()):
        call = _CALL.search(line)
        if call is None or "AF_UNIX" in call[2] or "AF_NETLINK" in call[2]:
            if call and "nscd" in call[2]:  # how a look-up of a name begins
                found[number] = line
            continue
        process, descriptor = line.split(" ", 1)[0], call[2].split(",", 1)[0]
        is_lookup = "htons(53)" in call[2]
        here = bool(_LOOPBACK.search(call[2]))
        if call[1] == "socket" and re.search(r"AF_INET6?\b", call[2]):
            found[process, line.rpartition("= ")[2].split(" ")[0]] = line
        elif call[1] == "connect" and here and not is_lookup:
            found.pop((process, descriptor), None)
        elif is_lookup or (call[1] != "socket" and "AF_INET" in call[2] and not here):
            found[number] = line
    return list(found.values())


def make_place(folder):
    """A model, a store, a pack and an accuracy function for :data:`COMMANDS`."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    save(model, folder / "a.onnx")
    fill_store(folder / "lat.db")
    (folder / "own.py").write_text("def accuracy(found): return [0.5 for _ in found]\n")
    done = subprocess.run([*COMMAND, "train", "lat.db", "-o", "a.pack"], cwd=folder, check=False)
    assert done.returncode == 0


def calls_of_command(words, folder, place):
    """What one of :data:`COMMANDS` asked of the network; and the completed process."""
    return network_calls(
        folder, [*COMMAND, *words.split()], cwd=place, env=_without_the_switch(folder)
    )


def calls_of_session(telemetry, folder, place):
    """What a session of half a minute asked, telemetry ``"off"`` as latprof does it or ``"on"``.

    On, a session that asks nothing is given more time.
    """
    for seconds in (SESSION_S, *(LONGER_S if telemetry == "on" else ())):
        command = [sys.executable, "-c", SESSION, telemetry, str(place / "a.onnx"), str(seconds)]
        calls, done = network_calls(folder, command, env=_without_the_switch(folder))
        if calls:
            break
    return calls, done


def _without_the_switch(folder):
    # Nor any other: ONNX Runtime calls nobody where a variable tells it of a CI service.
    kept = {"PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    return environment | {"TMPDIR": str(folder)}
