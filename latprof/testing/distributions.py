"""A distribution in a folder: what Python takes for an installed package with entry points."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path


def write_distribution(
    folder: Path,
    name: str,
    modules: Mapping[str, str],
    entry_points: Mapping[str, Mapping[str, str]],
    version: str = "1.0",
) -> None:
    """Write modules and a ``.dist-info`` with entry points; on ``sys.path`` it is installed.

    Parameters
    ----------
    folder : Path
        Must exist; put it on ``sys.path``, and on ``PYTHONPATH`` for processes that are started.
    name : str
        Of the distribution.
    modules : mapping of str to str
        Module name to source.
    entry_points : mapping of str to mapping of str to str
        Group to name to ``"module:Class"``.
    """
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    lines = [
        line
        for group, points in entry_points.items()
        for line in (f"[{group}]", *(f"{key} = {place}" for key, place in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def forget_modules(names: Iterable[str]) -> None:
    """Let modules be imported anew, as when their distribution was not installed before."""
    for name in names:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
