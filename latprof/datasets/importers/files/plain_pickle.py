"""Pickles that hold plain data only, read without running what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from latprof.common.children.child import ENDED_WELL, Child
from latprof.errors import DataSetError

_READER = Path(__file__).with_name("unpickling.py")
#: What the process that reads a pickle may use.
MEMORY_BYTES = 2 << 30
CPU_S = 60
_DEADLINE_S = 300.0
_ANSWER_BYTES = 1 << 30  # its own bound is of characters, all ASCII


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
        Lists (tuples and arrays of NumPy's come out as lists), dictionaries (their keys as text,
        a tuple of whole numbers as ``"4,0,3"``), text, numbers (NumPy's as Python's) and None.

    Raises
    ------
    DataSetError
        For anything else, with the reason.
    """
    problem = "it asks for too much memory or time"
    try:
        with Child(str(_READER), str(MEMORY_BYTES), str(CPU_S), bare=True) as reader:
            reader.write(data, _DEADLINE_S)
            reader.end_input()
            answer = reader.read_all(_DEADLINE_S, _ANSWER_BYTES)
            ended = reader.wait(_DEADLINE_S)
        found = json.loads(answer) if ended == ENDED_WELL else {"refused": problem}
    except (TimeoutError, BrokenPipeError):
        found = {"refused": problem}
    except (OSError, ValueError, MemoryError, RecursionError) as error:
        found = {"refused": f"its reader failed: {error}"}
    if "value" in found:
        return found["value"]
    raise DataSetError(
        f"{source} cannot be read: {found['refused']}",
        expected="a pickle of lists, dictionaries, text and numbers",
    )
