"""Digests of the files that a search follows from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def digest(path: str | os.PathLike[str]) -> str:
    """The first 16 hexadecimal digits of a file's SHA-256; empty where there is no such file."""
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else ""
