"""Runs every command in this process, as ``python tests/support/every_command.py FOLDER``.

Prints a JSON object: of each command its status and what it wrote to stderr. ``--closed`` closes
the standard streams before the first, as a shell's ``>&- 2>&- <&-`` does.
"""

import contextlib
import io
import json
import os
import sys
import traceback
from pathlib import Path

from calls import CALLS, stop_what_takes_long


def run(words):
    """The status of a command, and its stderr."""
    from latprof.cli.main import main

    out, error = io.StringIO(), io.StringIO()
    sys.argv = ["latprof", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        status = status_of(main)
    return [status, error.getvalue()[-2000:], len(out.getvalue())]


def status_of(main):
    try:
        main()
    except SystemExit as leaving:
        return leaving.code or 0
    except BaseException as error:
        print(f"Traceback: {error!r}", file=sys.stderr)
        return -1
    return 0


def run_closed(words):
    """The status of a command whose streams are closed as Python finds them then."""
    from latprof.cli.main import main

    sys.argv = ["latprof", *words]
    return [status_of_closed(main), "", 0]


def close_streams():
    """Once: what was opened since may have their numbers."""
    for number in range(3):
        with contextlib.suppress(OSError):
            os.close(number)
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, name, None)
        setattr(sys, f"__{name}__", None)


def status_of_closed(main):
    try:
        main()
    except SystemExit as leaving:
        return leaving.code or 0
    except BaseException:
        with Path("traceback.txt").open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
        return 99
    return 0


def calls(folder, *, is_closed):
    for command, call in CALLS.items():
        yield command, [command, *call.format(*[folder] * 3).split()]
        if not is_closed:
            yield f"{command} --help", [command, "--help"]
    if not is_closed:
        trees = f"train {folder}/lat.db -o {folder}/trees.pack --predictor xgboost --no-compare"
        yield "train with trees", trees.split()


if __name__ == "__main__":
    from latprof.cli.app import app  # noqa: F401 - imported before anything is closed

    stop_what_takes_long(setattr)
    is_closed, printed = "--closed" in sys.argv, os.dup(1)
    if is_closed:
        close_streams()
    way = run_closed if is_closed else run
    found = {name: way(words) for name, words in calls(sys.argv[1], is_closed=is_closed)}
    os.write(printed, json.dumps(found).encode())
