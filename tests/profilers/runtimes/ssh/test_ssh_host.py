"""A computer behind ``ssh``: measured as this one is, and what goes wrong is one line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from command_line import LONGEST_S
from onnx import TensorProto, helper, numpy_helper
from ssh_programs import install_fake, python_there

import latprof
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import (
    DeviceError,
    DeviceOfflineError,
    DeviceUnauthorizedError,
    InvalidValueError,
    RuntimeFailedError,
    UnknownNameError,
    UsageError,
)
from latprof.measurement.records import PairedProtocol
from latprof.profilers.base import RunOptions
from latprof.profilers.host.facts import processor_name
from latprof.profilers.runtimes.ssh import ssh_host
from latprof.profilers.targets import profiler_class
from latprof.profilers.visits.network_source import NetworkSource
from latprof.profilers.visits.sending import sent

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
#: Of a visit that takes hours on any machine.
LONG = PairedProtocol(rounds=10_000, min_runs=1 << 14, max_runs=1 << 14, reference_loads=1)


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """The file in which the fake ``ssh`` notes its words."""
    monkeypatch.chdir(tmp_path)
    return install_fake(tmp_path, monkeypatch)


def asked(address):
    return profiler_class(f"ssh:{address}:onnxruntime")(RunOptions()).target(None)


def written_model(folder):
    """A model with its weights in another file, and an input that takes whole numbers."""
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"], "pick")]
    table = numpy_helper.from_array(np.ones((50, 64), np.float32), "table")
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [1, 40])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 40, 64])],
        [table],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(
        model,
        folder / "m.onnx",
        save_as_external_data=True,
        location="m.data",
        size_threshold=0,
    )
    np.save(folder / "x.npy", np.full((1, 40), 49))
    return folder / "m.onnx"


def test_a_model_with_files_beside_it_is_measured_there(ssh, tmp_path):
    model = written_model(tmp_path)
    found = latprof.profile(
        model,
        "ssh:noisy:onnxruntime",
        inputs={"x": tmp_path / "x.npy"},
        visits=2,
        mode="opt-basic",
    )
    assert found.target.spelling == "ssh:noisy:onnxruntime"
    assert found.target.device_name == processor_name()
    assert found.target.mode == "opt-basic"
    assert len(found.kernels) == 1
    assert len(set(found.processes)) == 2
    words = ssh.read_text().splitlines()
    asked_for = [line.rpartition(" cpu:onnxruntime")[0].split()[-1] for line in words]
    assert sorted(set(asked_for)) == ["facts", "look", "measure"]
    assert asked_for.count("facts") == 1, "the computer is asked what it is once"
    assert found.host.checks
    assert all("-oBatchMode=yes" in line and " -- noisy sh -c " in line for line in words)


def test_a_file_is_sent_once_and_named_for_its_content(tmp_path):
    model = written_model(tmp_path)
    network = NetworkSource.of_model(model, inputs={"x": tmp_path / "x.npy"})
    told, content, names = sent(network, 1, ())
    assert [name for name, _ in told["files"]] == names
    assert sum(size for _, size in told["files"]) == len(content)
    assert len(content) > 50 * 64 * 4
    assert told["path"] == f"sent:{names[0]}"
    assert str(tmp_path) not in json.dumps(told)
    again, content, more = sent(network, 1, names)
    assert (again["path"], content, more) == (told["path"], b"", [])


@pytest.mark.parametrize(
    ("host", "error", "words"),
    [
        ("nowhere", DeviceOfflineError, "ssh:nowhere cannot be reached: ssh: Could not resolve"),
        ("locked", DeviceUnauthorizedError, "ssh-copy-id locked"),
        ("stranger", DeviceUnauthorizedError, "confirm it once by hand: ssh stranger"),
        ("silent", DeviceOfflineError, "ssh:silent does not answer"),
        ("endless", RuntimeFailedError, "ssh:endless gave no usable answer"),
        ("chatty", RuntimeFailedError, "ssh:chatty gave no usable answer"),
        ("liar", RuntimeFailedError, "the answer of ssh:liar: field processor is wrong"),
        ("deep", RuntimeFailedError, "ssh:deep gave no usable answer"),
    ],
)
def test_a_host_that_cannot_be_used_is_one_line(ssh, monkeypatch, host, error, words):
    monkeypatch.setattr(ssh_host, "ANSWER_S", 0.5 if host == "silent" else LONGEST_S)
    with pytest.raises(error, match=words) as caught:
        asked(host)
    assert "\n" not in str(caught.value)
    assert not any("sleep" in child.name() for child in psutil.Process().children(recursive=True))


def test_a_host_without_this_latprof_is_told_from_one_without_any(ssh, tmp_path, monkeypatch):
    other = tmp_path / "other" / "latprof"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    (other / "_version.py").write_text('__version__ = "0.0.1\\u001b[31m"\n')
    monkeypatch.setenv("LATPROF_SSH_PYTHON", str(python_there(tmp_path, other.parent)))
    with pytest.raises(DeviceError, match=r"has latprof 0\.0\.1 \[31m, here is"):
        asked("board")
    monkeypatch.setenv("LATPROF_SSH_PYTHON", "/nowhere/python")
    with pytest.raises(DeviceError, match="has no Python with latprof"):
        asked("board")
    monkeypatch.setenv("LATPROF_SSH_PYTHON", "python3; touch here")
    with pytest.raises(UsageError, match="no path of a Python"):
        asked("board")


def test_a_runtime_that_is_missing_there_is_named(ssh, tmp_path, monkeypatch):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.metadata as m\n"
        "found = m.version\n"
        "def version(name):\n"
        "    if name == 'onnxruntime':\n"
        "        raise m.PackageNotFoundError(name)\n"
        "    return found(name)\n"
        "m.version = version\n"
    )
    root = Path(latprof.__file__).parents[1]
    python = python_there(tmp_path, f"{hidden}:{root}")
    monkeypatch.setenv("LATPROF_SSH_PYTHON", str(python))
    with pytest.raises(DeviceError, match=r"ssh:board: ONNX Runtime is not installed; there: pip"):
        asked("board")


@pytest.mark.parametrize(
    "address",
    ["-oProxyCommand=x", "-p", "a@-b", "pi;x", "$(x)", "pi:0", "pi:99999", "a@b@c", "[x]", "pi,pi"],
)
def test_what_ssh_would_take_for_something_else_is_no_address(address):
    with pytest.raises(InvalidValueError, match="not the address of a computer"):
        profiler_class(f"ssh:{address}:onnxruntime")


def test_addresses_are_as_ssh_takes_them():
    for address, words in {
        "pi": ["--", "pi"],
        "me@pi.local:2222": ["-p", "2222", "--", "me@pi.local"],
        "[::1]:22": ["-p", "22", "--", "::1"],
    }.items():
        command = ssh_host.SshHost(address, "cpu:onnxruntime", "python").command("facts")
        assert command[-1 - len(words) : -1] == words
    with pytest.raises(UnknownNameError):
        profiler_class("ssh:two words:onnxruntime")


def test_cores_that_are_not_there_are_refused_and_many_threads_are_warned_of(ssh):
    kind = profiler_class("ssh:board:onnxruntime")
    with pytest.raises(UsageError, match="no such cores on ssh:board"):
        kind(RunOptions(cores=(4000,))).target(None)
    assert "take turns" in kind(RunOptions(threads=999)).caution
    assert kind(RunOptions()).caution == ""


def test_everything_there_ends_with_the_connection_in_the_middle_of_a_visit():
    """The far side alone, with pipes in place of ``ssh``."""
    architecture, reference = (NetworkSource.of_architecture(SPACE, a) for a in SPACE.sample(2))
    configuration = {
        "target": "cpu:onnxruntime",
        "options": RunOptions().to_dict(),
        "reference": reference.to_dict(),
        "protocol": LONG.to_dict(),
        "host": "here",
        "reference_runs": {},
    }
    told, content, _ = sent(architecture, 1, ())
    with subprocess.Popen(
        [sys.executable, "-m", "latprof.profilers.visits.remote_side", "measure"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdin.write(json.dumps(configuration).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"ready": True}
        started = psutil.Process(process.pid).children(recursive=True)
        assert started
        request = {"do": "visit", "following": [], "network": told}
        process.stdin.write(json.dumps(request).encode() + b"\n" + content)
        process.stdin.close()
        process.wait(LONGEST_S)  # the visit alone would take far longer
        psutil.wait_procs(started, LONGEST_S)
        assert not any(child.is_running() for child in started)
