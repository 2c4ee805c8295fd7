"""``latprof`` as a user runs it: in this process where that shows the same, else in one of its own.

A start of Python and its imports take over a second; most tests need neither.
"""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

#: What starts the command in a process of its own.
COMMAND = (sys.executable, "-c", "from latprof.cli.main import main; main()")
#: A guard against hangs in seconds, far above what a busy machine takes.
LONGEST_S = 900


def run_latprof(*arguments, cwd=None, env=None, process=False, timeout=LONGEST_S):
    """Run the command line; return a ``CompletedProcess`` with text.

    ``env`` or ``process=True`` asks for a process of its own.
    """
    words = [os.fspath(word) if isinstance(word, Path) else str(word) for word in arguments]
    if env is not None or process:
        return subprocess.run(
            [*COMMAND, *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=cwd,
            env=env,
        )
    return _run_here(words, cwd)


def _run_here(words, cwd):
    from latprof.cli.main import main

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n") for _ in range(2))
    status = 0
    with _as_started(["latprof", *words], cwd):
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as leaving:
                status = _status(leaving, err)
        for stream in (out, err):
            stream.flush()
    texts = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return subprocess.CompletedProcess(words, status, *texts)


@contextlib.contextmanager
def _as_started(argv, cwd):
    """Arguments, folder and import path as of a new process; what was imported there goes again."""
    before = sys.argv, list(sys.path), set(sys.modules), Path.cwd()
    sys.argv = argv
    if cwd is not None:
        os.chdir(cwd)
    place = Path.cwd()
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.argv, sys.path[:] = before[0], before[1]
        os.chdir(before[3])
        for name in set(sys.modules) - before[2]:
            file = getattr(sys.modules[name], "__file__", None)
            if cwd is not None and file and Path(file).resolve().is_relative_to(place.resolve()):
                del sys.modules[name]


def _status(leaving, err):
    if leaving.code is None:
        return 0
    if isinstance(leaving.code, int):
        return leaving.code
    print(leaving.code, file=err)
    return 1
