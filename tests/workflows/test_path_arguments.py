"""Paths that are none, names that nothing can spell, and files of other kinds, as any argument.

The arguments are read from the functions that ``latprof`` hands on, so that a later one is tried.
"""

import inspect
import os
import re
import socket
from pathlib import Path

import pytest
from calls import made_folder
from python_calls import WITH, calls, outcome, stop_python

import latprof

#: Annotations of what a path may be given for.
_PATH = re.compile(
    r"\b(?:PathLike|StoreLike|PackLike|AnyPackLike|NetworkLike|Predictable|ModelSource)\b"
)
#: What needs another argument, or takes text that names no file.
MORE = {
    ("collect", "models"): {"space": None, "resolution": None, "n": None},
    ("collect", "sources"): {"plan": "transfer"},
    ("export", "notes"): {"dataset": "made.zip"},
    ("export", "dataset"): {"licence": "CC0-1.0"},
    ("search", "latency"): {"pack": None, "space": "proxyless", "limit_ms": 100.0},
    ("search", "accuracy"): {},
    ("search", "data"): {"accuracy": None},
    ("doctor", "repair"): {"store": "lat.db"},
    ("doctor", "record"): {"store": None, "target": "adb:x"},
    ("zoo", "output"): {},
}


#: What is no path at all may be Python's own error.
NO_PATHS = {"number", "bytes", "descriptor"}


def places(folder):
    """Names of nothing, and of what is no file, by what they are."""
    odd = folder / "odd"
    odd.mkdir()
    os.mkfifo(odd / "fifo")
    (odd / "folder").mkdir()
    (odd / "loop").symlink_to(odd / "loop")
    (odd / "nowhere").symlink_to(odd / "none" / "at" / "all")
    (odd / "empty").touch()
    (odd / "text").write_text("no such thing\n")
    (odd / "zeros").write_bytes(bytes(100_000))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(odd / "socket"))
    made = {path.name: path for path in odd.iterdir()}
    return made | {
        "zero byte": "a\0b",
        "zero byte in a path": Path("a\0b"),
        "too long": "x" * 5000,
        "too deep": "x/" * 3000,
        "no UTF-8": os.fsdecode(b"caf\xe9.x"),
        "no text": "\ud800.db",
        "nothing": "",
        "below a file": odd / "text" / "below",
        "below a loop": odd / "loop" / "below",
        "device": "/dev/zero",
        "full device": "/dev/full",
        "process": "/proc/self/mem",
        "root": "/",
        "number": 3,
        "bytes": b"bytes.db",
        "descriptor": 0,
        "a URL": "http://127.0.0.1:9/x",
        "a store's URL": "postgresql://user:verysecret@127.0.0.1:notaport/x",
    }


def named(name):
    for parameter in inspect.signature(getattr(latprof, name)).parameters.values():
        if _PATH.search(str(parameter.annotation)):
            yield parameter.name


FUNCTIONS = [
    name for name in dir(latprof) if inspect.isfunction(getattr(latprof, name)) and [*named(name)]
]


def path_calls(folder):
    store, model = folder / "lat.db", folder / "m.onnx"
    return calls(folder) | {
        "doctor": ((), {}),
        "export": ((store,), {"csv": folder / "t.csv"}),
        "labels": ((store,), {}),
        "load_dataset": (("proxyless-cpu-ort1",), {}),
        "load_pack": (("proxyless-cpu-ort1",), {}),
        "lookup_table": (("proxyless-cpu-ort1",), {"output": folder / "t.csv"}),
        "merge": (([store, folder / "other.db"], folder / "merged.db"), {}),
        "packs": ((), {}),
        "read_network": ((model,), {"shapes": {"x": (1, 3, 8, 8)}}),
        "report": ((store,), {"output": folder / "r.html"}),
        "save_pack": ((latprof.load_pack("proxyless-cpu-ort1"), folder / "kept.pack"), {}),
        "transfer": (("proxyless-cpu-ort1", store), {"output": folder / "t.pack"}),
    }


@pytest.fixture(scope="module")
def folder(collected, tmp_path_factory):
    return made_folder(tmp_path_factory.mktemp("paths"), collected)


@pytest.fixture(scope="module")
def odd(folder):
    return places(folder)


@pytest.fixture
def _stopped(monkeypatch):
    stop_python(monkeypatch.setattr)


def test_every_function_with_paths_is_called(folder):
    assert set(FUNCTIONS) <= path_calls(folder).keys()


@pytest.mark.usefixtures("_stopped")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_path_is_used_or_refused(folder, odd, monkeypatch, name):
    monkeypatch.chdir(folder)
    before = (folder / "lat.db").read_bytes()
    function, (positional, more) = getattr(latprof, name), path_calls(folder)[name]
    parameters = list(inspect.signature(function).parameters)
    wrong = []
    for parameter in named(name):
        for key, place in odd.items():
            given = more | WITH.get((name, parameter), {}) | MORE.get((name, parameter), {})
            words = list(positional)
            if parameter in parameters[: len(words)]:
                words[parameters.index(parameter)] = place
            else:
                given[parameter] = place
            found = outcome(function, words, given)
            mistyped = key in NO_PATHS and found.startswith("TypeError")
            if found not in {"refused", "taken"} and not mistyped:
                wrong.append((parameter, key, found))
    assert not wrong
    assert (folder / "lat.db").read_bytes() == before
