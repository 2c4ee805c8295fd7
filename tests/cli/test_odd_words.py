"""Odd words for every option that takes text: one line, a documented status, and no secret in it.

The options and arguments are read from the commands themselves, so that a later one is tried too.
"""

import os
import typing

import pytest
import typer
from calls import CALLS, STARTED, made_folder, stop_what_takes_long

from latprof.cli.app import app

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
    "memory": "sqlite:///file:x?mode=memory&cache=shared&uri=true",
    "several lines": "a\nlatprof: b\r\nc",
    "a terminal's code": "\x1b[2J\x1b]0;owned\x07",
    "right to left": "\u202egnp.exe",
    "a formula": "=1+1",
    "a format": "%s%n{0.__class__}",
    "no UTF-8": os.fsdecode(b"caf\xe9\xff"),
    "only blanks": "   ",
    "upwards": "../../../../../../etc/passwd",
    "a device": "/dev/zero",
}
#: Statuses that are documented, and that of a command which began its work.
STATUSES = {0, 1, 2, 3, 4, 5, STARTED}


def texts():
    """Options and arguments that take text or a path."""
    group: typing.Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        hints = typing.get_type_hints(command.callback)
        for option in command.params:
            kinds = {hints[option.name], *typing.get_args(hints[option.name])}
            if not (getattr(option, "is_flag", False) or kinds & {int, float, bool}):
                yield name, option


TEXTS = list(texts())


@pytest.fixture(scope="module")
def folder(collected, tmp_path_factory):
    return made_folder(tmp_path_factory.mktemp("words"), collected)


@pytest.fixture
def _stopped(monkeypatch):
    stop_what_takes_long(monkeypatch.setattr)


def said(command, option, word, folder):
    words = CALLS[command].format(*[folder] * 3).split()
    if option.param_type_name == "argument":
        return [command, *words, "--", word]
    name = max(option.opts, key=len)
    return [command, *words, f"{name}={word}"]


@pytest.mark.usefixtures("_stopped")
@pytest.mark.parametrize(
    ("command", "option"), TEXTS, ids=lambda value: getattr(value, "name", value)
)
def test_each_odd_word_is_answered_in_one_line(latprof, folder, command, option, monkeypatch):
    monkeypatch.chdir(folder)
    wrong = []
    for key, word in WORDS.items():
        done = latprof(*said(command, option, word, folder))
        lines = [line for line in done.stderr.splitlines() if line.startswith("latprof: ")]
        fine = (
            done.returncode in STATUSES
            and len(done.stderr) < 6000
            and (done.returncode in {0, 1, 5, STARTED} or len(lines) == 1)
            and not {"\x1b", "\x07", "\u202e"} & set(done.stderr)
            and "verysecret" not in done.stderr + done.stdout
            and "Traceback" not in done.stderr
        )
        if not fine:
            wrong.append((key, done.returncode, done.stderr[-400:]))
    assert not wrong
