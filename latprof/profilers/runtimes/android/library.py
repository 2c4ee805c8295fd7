"""The runtime library that a phone gets: taken once by ``latprof android setup``, and remembered.

Each lies in the user's data folder under its runtime and ABI, with a record of where it came from,
its size and its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.files import write_atomically
from latprof.errors import DeviceError, InputFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Runtimes of a phone, by the word of a target.
RUNTIMES = ("litert", "onnxruntime")


@dataclass(frozen=True)
class RuntimeLibrary:
    """A library that was taken.

    Parameters
    ----------
    runtime, abi : str
        One of :data:`RUNTIMES`, and Android's word: ``arm64-v8a`` or ``x86_64``.
    api : str
        ``litert``, ``tflite`` or ``onnxruntime``: the C API that it has.
    name : str
        Of its file, for example ``libLiteRt.so``.
    sha256 : str
    size_bytes : int
    source : str
        The URL or file that it was taken from.
    path : Path
        Where it lies on this computer.
    """

    runtime: str
    abi: str
    api: str
    name: str
    sha256: str
    size_bytes: int
    source: str
    path: Path

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return asdict(self) | {"path": str(self.path)}


def library_folder() -> Path:
    """Where libraries are kept: ``latprof/android`` of the user's data folder."""
    import platformdirs

    return platformdirs.user_data_path("latprof", appauthor=False) / "android"


def remembered_library(runtime: str, abis: Sequence[str]) -> RuntimeLibrary:
    """The library of a runtime for a phone, whose ABIs are given, its own first.

    Raises
    ------
    DeviceError
        Where there is none, or none for the phone's ABI; the hint says what to run.
    InputFileError
        Where the file is not the one that was taken.
    """
    for abi in abis:
        found = _read(library_folder() / runtime / abi)
        if found is not None:
            return found
    others = [each.abi for each in remembered_libraries() if each.runtime == runtime]
    raise DeviceError(
        f"there is no {runtime} library for this phone's ABI"
        if others
        else f"there is no {runtime} library for phones on this computer",
        field="library",
        expected=", ".join(abis) or "an ABI",
        got=", ".join(others) or None,
        hint=f"run `latprof android setup --runtime {runtime}`",
    )


def remembered_libraries() -> list[RuntimeLibrary]:
    """All libraries that are kept, by runtime and ABI; damaged ones are left out."""
    found = []
    for place in sorted(library_folder().glob("*/*")):
        try:
            library = _read(place)
        except InputFileError:
            continue
        if library is not None:
            found.append(library)
    return found


def remember_library(
    content: bytes, *, runtime: str, abi: str, api: str, name: str, source: str
) -> RuntimeLibrary:
    """Keep a library that was checked, in place of the one for the same runtime and ABI."""
    folder = library_folder() / runtime / abi
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = hashlib.sha256(content).hexdigest()
    path = write_atomically(folder / f"{sha256[:16]}.so", content)
    library = RuntimeLibrary(runtime, abi, api, name, sha256, len(content), source, path)
    values = library.to_dict() | {"path": path.name}
    write_atomically(folder / "library.json", json.dumps(values, indent=1).encode())
    for other in folder.glob("*.so"):
        if other != path:
            other.unlink(missing_ok=True)
    return library


def _read(folder: Path) -> RuntimeLibrary | None:
    """The library in a folder; None where none was ever put there."""
    record = folder / "library.json"
    try:
        values = json.loads(record.read_text())
        library = RuntimeLibrary(**{**values, "path": folder / Path(values["path"]).name})
        content = library.path.read_bytes()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputFileError(
            f"the record of a runtime library cannot be read: {record}",
            got=str(error)[:200],
            hint="run `latprof android setup` again",
        ) from None
    if hashlib.sha256(content).hexdigest() != library.sha256:
        raise InputFileError(
            f"{library.path} is not the library that was taken",
            expected=library.sha256,
            hint="run `latprof android setup` again",
        )
    return library
