"""Networks for a measuring process on another computer: what it is told, and the files it needs."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.errors import ModelFileError

if TYPE_CHECKING:
    from latprof.profilers.visits.network_source import NetworkSource

#: Begins a path of a file that was sent.
PLACEHOLDER = "sent:"


def sent(
    network: NetworkSource, batch_size: int, known: Collection[str]
) -> tuple[dict[str, Any], bytes, list[str]]:
    """What a process on another computer is told of a network.

    Parameters
    ----------
    network : NetworkSource
    batch_size : int
        Of architectures.
    known : collection of str
        Names of files that the process has.

    Returns
    -------
    dict
        As :meth:`NetworkSource.handed_over`, whose paths name files that are sent, and ``files``:
        name and length of each that is sent now.
    bytes
        The content of these files one after the other, then the network's own.
    list of str
        The names of these files.

    Raises
    ------
    ModelFileError
        For a file that cannot be read any more.
    """
    told, own = network.handed_over(batch_size)
    files: dict[str, Path] = {}
    if network.path is not None:
        # What the network is, and which file: a model with other shapes is another network.
        digest = hashlib.sha256(f"{network.subject.key}\0{network.path}".encode()).hexdigest()
        suffix = ".tflite" if network.path.suffix.lower() == ".tflite" else ".onnx"
        files[digest + suffix] = network.path
        told["path"] = PLACEHOLDER + digest + suffix
    for rule in told["rules"].values():
        if rule["kind"] == "file":
            name = f"{rule['digest']}.npy"
            files[name] = Path(rule["path"])
            rule["path"] = PLACEHOLDER + name
    new = [name for name in files if name not in known]
    contents = [_content(files[name]) for name in new]
    sizes = map(len, contents)
    told["files"] = [list(each) for each in zip(new, sizes, strict=True)]
    return told, b"".join((*contents, own)), new


def _content(path: Path) -> bytes:
    """A file, a model with the weights that lie in other files inside it."""
    from latprof.graph.external_data import self_contained

    try:
        return self_contained(path) if path.suffix.lower() == ".onnx" else path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from None
