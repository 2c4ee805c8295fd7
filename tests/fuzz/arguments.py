"""Odd words for every option that takes text, and odd places for every argument that is a path.

The options are read from the commands and the arguments from the functions that ``latprof`` hands
on, so that a later one is tried too. Each is used, or refused in one line with a documented status;
stores beside them stay as they are.
"""

import functools
import inspect
import os
import re
import shutil
import socket
import typing
from pathlib import Path

import pytest
import typer
from calls import CALLS, STARTED, made_folder, stop_what_takes_long
from command_line import run_latprof
from computed_store import fill_store
from python_calls import PACK, WITH, calls, outcome, stop_python

import latprof
from latprof.cli.app import app
from tests.fuzz.outcomes import BAD

#: What a person, a script or a downloaded name may bring. No word is a file of the folder.
WORDS = {
    "nothing": "",
    "deep JSON": "[" * 100_000,
    "deep objects": '{"a":' * 50_000,
    "a long word": "x" * 100_000,
    "a long list": "1," * 50_000,
    "pairs": "a=b=c=d",
    "a secret": "postgresql://user:verysecret@127.0.0.1:notaport/x?password=verysecret",
    "another secret": "mysql+nothing://user:verysecret@[::1/x",
    "a secret without slashes": "postgresql:user:verysecret@127.0.0.1/x",
    "memory": "sqlite:///file:x?mode=memory&cache=shared&uri=true",
    "several lines": "a\nlatprof: b\r\nc",
    "a terminal's code": "\x1b[2J\x1b]0;owned\x07",
    "right to left": "\u202egnp.exe",
    "a formula": "=1+1",
    "a format": "%s%n{0.__class__}",
    "no UTF-8": os.fsdecode(b"caf\xe9\xff"),
    "only blanks": "   ",
    "upwards": "../none/../../at/all",
    "a device": "/dev/zero",
    "a relative module": ".x:y",
}
#: Statuses that are documented, and that of a command which began its work.
STATUSES = {0, 1, 2, 3, 4, 5, STARTED}
#: Bytes of an error's line.
_LONGEST = 1000

#: Annotations of what a path may be given for.
_PATH = re.compile(
    r"\b(?:PathLike|StoreLike|PackLike|AnyPackLike|NetworkLike|Predictable|ModelSource)\b"
)
#: What needs another argument, or takes text that names no file.
MORE: dict[tuple[str, str], dict[str, typing.Any]] = {
    ("collect", "models"): {"space": None, "resolution": None, "n": None},
    ("collect", "sources"): {"plan": "transfer"},
    ("export", "notes"): {"dataset": "made.zip"},
    ("export", "dataset"): {"licence": "CC0-1.0"},
    ("search", "latency"): {"pack": None, "space": "proxyless", "limit_ms": 100.0},
    ("search", "accuracy"): {},
    ("search", "data"): {"accuracy": None},
    ("doctor", "repair"): {"store": "lat.db"},
    ("doctor", "record"): {"store": None, "target": "adb:x"},
}


@functools.cache
def options():
    """Options and arguments that take text or a path."""
    group: typing.Any = typer.main.get_command(app)
    found = []
    for name, command in group.commands.items():
        hints = typing.get_type_hints(command.callback)
        for option in command.params:
            kinds = {hints[option.name], *typing.get_args(hints[option.name])}
            if not (getattr(option, "is_flag", False) or kinds & {int, float, bool}):
                found.append((name, option))
    return found


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
        listening.bind(os.path.relpath(odd / "socket"))  # of at most 107 bytes
    return {path.name: path for path in odd.iterdir()} | {
        "zero byte": "a\0b",
        "zero byte in a path": Path("a\0b"),
        "too long": "x" * 5000,
        "a name too long": Path("x" * 300 + ".onnx"),
        "too deep": "x/" * 3000,
        "no UTF-8": os.fsdecode(b"caf\xe9.x"),
        "no text": "\ud800.db",
        "nothing": "",
        "below a file": odd / "text" / "below",
        "below a loop": odd / "loop" / "below",
        "device": "/dev/zero",
        "full device": "/dev/full",
        "number": 3,
        "bytes": b"bytes.db",
        "descriptor": 0,
        "a URL": "http://127.0.0.1:9/x",
        "a store's URL": "postgresql://user:verysecret@127.0.0.1:notaport/x",
    }


def named(name):
    """The parameters of a function that take a path."""
    for parameter in inspect.signature(getattr(latprof, name)).parameters.values():
        if _PATH.search(str(parameter.annotation)):
            yield parameter.name


def parameters():
    """Every function that ``latprof`` hands on, with each of its parameters for a path."""
    functions = [name for name in dir(latprof) if inspect.isfunction(getattr(latprof, name))]
    return [(name, parameter) for name in functions for parameter in named(name)]


def path_calls(folder):
    """Arguments of each function that takes a path."""
    store, model = folder / "lat.db", folder / "m.onnx"
    return calls(folder) | {
        "doctor": ((), {}),
        "export": ((store,), {"csv": folder / "t.csv"}),
        "import_runs": ((folder / "runs.json", folder / "runs.db"), {}),
        "labels": ((store,), {}),
        "load_dataset": ((PACK,), {}),
        "load_pack": ((PACK,), {}),
        "lookup_table": ((PACK,), {"output": folder / "t.csv"}),
        "merge": (([store, folder / "other.db"], folder / "merged.db"), {}),
        "packs": ((), {}),
        "read_network": ((model,), {"shapes": {"x": (1, 3, 8, 8)}}),
        "report": ((store,), {"output": folder / "r.html"}),
        "save_pack": ((latprof.load_pack(PACK), folder / "kept.pack"), {}),
        "transfer": ((PACK, store), {"output": folder / "t.pack"}),
    }


class _Place:
    """A folder with a store, and whether what is tried changes that."""

    def __init__(self, folder):
        store = fill_store(folder / "whole.db")
        self.folder = made_folder(folder, store)
        self._before = store.read_bytes()
        latprof.import_runs(folder / "runs.json", folder / "runs.db")

    def fault(self):
        """What was done to the store, which is made whole again."""
        path = self.folder / "lat.db"
        if path.is_file() and path.read_bytes() == self._before:
            return ""
        shutil.copyfile(self.folder / "whole.db", path)
        return "the store is another"


def fuzz_words(numbers, _seed, folder):
    """Try words, every option with one of them in turn; yields what became of each."""
    place, words = _Place(folder), [*WORDS]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.folder)
        stop_what_takes_long(patch.setattr)
        for number in numbers:
            turn, which = divmod(number, len(options()))
            command, option = options()[which]
            if turn >= len(words):
                yield "none left", "skipped", ""
                continue
            key = words[(which + turn) % len(words)]
            done = run_latprof(*_spelled(command, option, WORDS[key], place.folder))
            fault = _fault_of(done) or place.fault()
            detail = f"{number}: {command} {option.name} {key}: {done.returncode}: {fault}"
            outcome = {0: "taken", STARTED: "taken"}.get(done.returncode, "refused")
            yield command, BAD if fault else outcome, detail


def _spelled(command, option, word, folder):
    words = CALLS[command].format(*[folder] * 3).split()
    if option.param_type_name == "argument":
        return [command, *words, "--", word]
    return [command, *words, f"{max(option.opts, key=len)}={word}"]


def _fault_of(done):
    """What is wrong with the answer to a word; empty for nothing."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("latprof: ")]
    first = done.stderr.partition("\n")[0]  # typer's own, of a few lines, whoever runs the tests
    is_usage = first.startswith("Usage: ") and "latprof " in first
    wrong = {
        "status": done.returncode not in STATUSES,
        "length": any(len(line.encode(errors="replace")) > _LONGEST for line in lines),
        "lines": done.returncode in {2, 3, 4} and len(lines) != 1 and not is_usage,
        "codes": bool({"\x1b", "\x07", "\u202e"} & set(done.stderr + done.stdout)),
        "secret": "verysecret" in done.stderr + done.stdout,
        "traceback": "Traceback" in done.stderr,
    }
    found = [name for name, is_wrong in wrong.items() if is_wrong]
    return f"{', '.join(found)}: {done.stderr[-400:]!r}" if found else ""


def fuzz_paths(numbers, _seed, folder):
    """Try places, every parameter with one of them in turn; yields what became of each."""
    place = _Place(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.folder)
        odd, given, tried = places(place.folder), path_calls(place.folder), parameters()
        stop_python(patch.setattr)
        for number in numbers:
            turn, which = divmod(number, len(tried))
            name, parameter = tried[which]
            if turn >= len(odd):
                yield "none left", "skipped", ""
                continue
            key = [*odd][(which + turn) % len(odd)]
            found = _tried(name, parameter, odd[key], given[name])
            fault = (found if found not in {"refused", "taken"} else "") or place.fault()
            yield name, BAD if fault else found[:9], f"{number}: {parameter} {key}: {fault}"


def _tried(name, parameter, place, call):
    function, (positional, more) = getattr(latprof, name), call
    order, words = list(inspect.signature(function).parameters), list(positional)
    more = more | WITH.get((name, parameter), {}) | MORE.get((name, parameter), {})
    if parameter in order[: len(words)]:
        words[order.index(parameter)] = place
    else:
        more[parameter] = place
    return outcome(function, words, more)
