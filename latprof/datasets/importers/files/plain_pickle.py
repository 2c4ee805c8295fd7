"""Pickles that hold plain data only, read without running what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from latprof.errors import DataSetError

_READER = Path(__file__).with_name("unpickling.py")
#: What the process that reads a pickle may use.
MEMORY_BYTES = 2 << 30
CPU_S = 60
_DEADLINE_S = 300.0


def read_pickle(source: str, data: bytes) -> Any:
    """Read one pickle of plain data.

    A process with at most 2 GiB of memory, a minute of processor time and no file to open reads it
    (:mod:`latprof.datasets.importers.files.unpickling`) with Python's own unpickler and an
    allow-list of names.

    Parameters
    ----------
    source : str
        What the messages call the file.
    data : bytes

    Returns
    -------
    object
        Lists (tuples and arrays of NumPy's come out as lists), dictionaries (their keys as text),
        text, numbers (NumPy's as Python's) and None.

    Raises
    ------
    DataSetError
        For anything else, with the reason.
    """
    # Isolated: no module of the current directory, the environment or the site.
    command = [sys.executable, "-I", "-S", str(_READER), str(MEMORY_BYTES), str(CPU_S)]
    problem = "it asks for too much memory or time"
    try:
        done = subprocess.run(  # noqa: S603 - this Python, and a file of ours
            command, input=data, capture_output=True, timeout=_DEADLINE_S, check=False
        )
        found = json.loads(done.stdout) if done.returncode == 0 else {"refused": problem}
    except subprocess.TimeoutExpired:
        found = {"refused": problem}
    except (OSError, ValueError, MemoryError, RecursionError) as error:
        found = {"refused": f"its reader failed: {error}"}
    if "value" in found:
        return found["value"]
    raise DataSetError(
        f"{source} cannot be read: {found['refused']}",
        expected="a pickle of lists, dictionaries, text and numbers",
    )
