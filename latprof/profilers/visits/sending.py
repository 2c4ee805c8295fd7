"""Networks for a measuring process on another computer: what it is told, and the files it needs."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from latprof.errors import ModelFileError

if TYPE_CHECKING:
    from latprof.profilers.visits.network_source import NetworkSource

#: Begins a path of a file that was sent.
_PLACEHOLDER = "sent:"
#: Files by the names that they are sent under, each with the SHA-256 that it had.
SentFiles: TypeAlias = dict[str, tuple[Path, str]]


def named(network: NetworkSource, batch_size: int) -> tuple[dict[str, Any], bytes, SentFiles]:
    """As :meth:`NetworkSource.handed_over`, with paths that name files, and these files."""
    told, own = network.handed_over(batch_size)
    files: SentFiles = {}
    if network.path is not None:
        # What the network is, and which file: a model with other shapes is another network.
        digest = hashlib.sha256(f"{network.subject.key}\0{network.path}".encode()).hexdigest()
        suffix = ".tflite" if network.path.suffix.lower() == ".tflite" else ".onnx"
        files[digest + suffix] = network.path, network.subject.key.partition(" ")[0]
        told["path"] = _PLACEHOLDER + digest + suffix
    for rule in told["rules"].values():
        if rule["kind"] == "file":
            name = f"{rule['digest']}.npy"
            files[name] = Path(rule["path"]), rule["digest"]
            rule["path"] = _PLACEHOLDER + name
    return told, own, files


def place(told: dict[str, Any], folder: Path) -> list[Path]:
    """Give what was told of a network the paths that its files have in a folder; returns these."""
    found = []
    for each in (told, *told["rules"].values()):
        name = str(each.get("path") or "")
        if name.startswith(_PLACEHOLDER):
            found.append(folder / name.removeprefix(_PLACEHOLDER))
            each["path"] = str(found[-1])
    return found


def content_of(path: Path, digest: str) -> bytes:
    """A file's content, a model with the weights that lie in other files inside it.

    Raises ModelFileError where it cannot be read any more, or is another one than the digest's.
    """
    from latprof.graph.external_data import self_contained
    from latprof.graph.model_file import model_digest

    try:
        is_model = path.suffix.lower() == ".onnx"
        content = self_contained(path) if is_model else path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}") from None
    if digest not in (hashlib.sha256(content).hexdigest(), model_digest(path)):
        raise ModelFileError(
            f"{path} was changed while it was measured", hint="run the same command again"
        )
    return content


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
    told, own, files = named(network, batch_size)
    new = [name for name in files if name not in known]
    contents = [content_of(*files[name]) for name in new]
    sizes = map(len, contents)
    told["files"] = [list(each) for each in zip(new, sizes, strict=True)]
    return told, b"".join((*contents, own)), new
