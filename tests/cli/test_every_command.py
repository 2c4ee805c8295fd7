"""Every command without docstrings and assertions, and with closed standard streams.

All commands run in one process each time; a few in processes of their own, with real visits.
"""

import json
import os
import sqlite3
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import typer
from calls import CALLS, STARTED, made_folder
from command_line import COMMAND

from latprof.cli.app import app

SUPPORT = Path(__file__).parents[1] / "support"
#: What each command ends with where nothing is wrong with it.
STATUS = {"android": 3, "collect": STARTED, "profile": STARTED, "compare": STARTED}
STATUS |= {
    "farm": STARTED,
    "fusion": STARTED,
    "search": STARTED,
    "transfer": 2,
}  # of the space at another resolution
NETWORK = "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"


def test_no_command_is_left_out():
    group: typing.Any = typer.main.get_command(app)
    assert CALLS.keys() == group.commands.keys()


def every_command(folder, *words, **environment):
    done = subprocess.run(
        [sys.executable, SUPPORT / "every_command.py", folder, *words],
        env=os.environ | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def expected(name):
    return 0 if name.endswith("--help") else STATUS.get(name, 0)


def wrong_statuses(found):
    # doctor may find something on this computer
    return {
        name: each
        for name, each in found.items()
        if each[0] != expected(name) and (name, each[0]) != ("doctor", 1)
    }


@pytest.fixture(scope="module")
def folder(collected, tmp_path_factory):
    return made_folder(tmp_path_factory.mktemp("every"), collected)


@pytest.fixture(scope="module")
def optimized(tmp_path_factory):
    """Environment of processes without docstrings and assertions, which compile what they share.

    What is compiled is kept in the virtual environment: of 2,300 modules most are others'.
    """
    kept = os.access(sys.prefix, os.W_OK) and sys.prefix != sys.base_prefix
    prefix = Path(sys.prefix, "bytecode") if kept else tmp_path_factory.mktemp("bytecode")
    return {
        "PYTHONOPTIMIZE": "2",
        "PYTHONPYCACHEPREFIX": str(prefix),
        "PYTHONDONTWRITEBYTECODE": "",
    }


def test_without_docstrings_and_assertions(folder, optimized):
    found = every_command(folder, **optimized)
    assert wrong_statuses(found) == {}
    assert not [name for name, each in found.items() if "Traceback" in each[1]]
    assert all(printed > 200 for name, (_, _, printed) in found.items() if "--help" in name)


def table_of(content):
    """The keys of a table in lines of `mean: MILLISECONDS`, and the milliseconds."""
    lines = content.decode().splitlines()
    values = [float(line.partition("mean: ")[2]) for line in lines if "mean: " in line]
    return [line for line in lines if "mean: " not in line], values


def test_with_closed_streams(folder, latprof):
    (folder / "merged.db").unlink(missing_ok=True)
    found = every_command(folder, "--closed")
    assert wrong_statuses(found) == {}
    written = {name: (folder / name).read_bytes() for name in ("t.csv", "r.html")}
    assert written["r.html"].lstrip()[:9].lower() == b"<!doctype"
    assert latprof("lookup-table", "proxyless-cpu-ort1", "-o", folder / "u.csv").returncode == 0
    keys, values = table_of(written["t.csv"])
    again, expected = table_of((folder / "u.csv").read_bytes())
    assert keys == again
    assert len(values) > 50
    assert values == pytest.approx(expected, rel=1e-9)  # fits differ in last digits by alignment
    for name in ("lat.db", "merged.db"):
        with sqlite3.connect(folder / name) as database:
            assert database.execute("pragma integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(("streams", "is_optimized"), [(">&- 2>&- <&-", False), ("", True)])
def test_visits_are_made_in_processes_of_their_own(tmp_path, optimized, streams, is_optimized):
    """The measuring process and the guarded child, too, are without docstrings or our streams."""
    store = tmp_path / "s.db"
    words = "collect --space proxyless --resolution 32 -n 1 --visits 1 --repeat-fraction 0 -q"
    done = subprocess.run(
        ["sh", "-c", f'"$@" {streams}', "sh", *COMMAND, *words.split(), "--store", store],
        env=os.environ | (optimized if is_optimized else {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode in {0, 5}, done.stderr  # of a busy computer visits are disturbed
    assert "Traceback" not in done.stderr
    with sqlite3.connect(store) as database:
        (visits,) = database.execute("select count(*) from measurements").fetchone()
    assert visits >= 1
