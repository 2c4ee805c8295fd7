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

from latprof.common.files import check_output, write_atomically
from latprof.errors import DeviceError, InputFileError
from latprof.profilers.runtimes.android.libraries.library_file import RUNTIME_OF_API, LibraryFile

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Runtimes of a phone whose library the runner opens, by the word of a target.
RUNTIMES = ("litert", "onnxruntime")


@dataclass(frozen=True)
class RuntimeLibrary:
    """A library that was taken.

    Parameters
    ----------
    runtime, abi : str
        One of :data:`RUNTIMES` or ``benchmark-model``, and Android's word: ``arm64-v8a`` or
        ``x86_64``.
    api : str
        ``litert``, ``tflite`` or ``onnxruntime``: the C API that it has; of ``benchmark-model``
        the program's generation, ``litert-benchmark`` or ``tflite-benchmark``.
    name : str
        Of its file, for example ``libLiteRt.so``.
    sha256 : str
    size_bytes : int
    source : str
        The URL or file that it was taken from.
    least_sdk : int
        API level of Android that it needs; 0 where it does not say.
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
    least_sdk: int
    path: Path

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return asdict(self) | {"path": str(self.path)}


def library_folder() -> Path:
    """Where libraries are kept: ``latprof/android`` of the user's data folder."""
    import platformdirs

    return platformdirs.user_data_path("latprof", appauthor=False) / "android"


def remembered_library(runtime: str, abis: Sequence[str], sdk: int = 0) -> RuntimeLibrary:
    """The library of a runtime for a phone, whose ABIs are given, its own first.

    ``sdk`` is the phone's API level; 0 where it is not known.

    Raises
    ------
    DeviceError
        Where there is none, or none for the phone's ABI, or it needs a newer Android; the hint says
        what to run.
    InputFileError
        Where the file is not the one that was taken.
    """
    for abi in abis:
        found = _read(library_folder() / runtime / abi)
        if found is not None and found.least_sdk > sdk > 0:
            raise DeviceError(
                f"the phone's Android is too old for {found.name}",
                field="library",
                expected=f"API level {found.least_sdk} or later",
                got=f"API level {sdk}",
                hint=f"give an older library: `latprof android setup FILE --runtime {runtime}`",
            )
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


def remember_library(library: LibraryFile, source: str) -> RuntimeLibrary:
    """Keep a library that was checked, in place of the one for the same runtime and ABI."""
    runtime = RUNTIME_OF_API[library.api]
    folder = library_folder() / runtime / library.abi
    sha256 = hashlib.sha256(library.content).hexdigest()
    check_output(folder, directory=True)
    path = write_atomically(folder / f"{sha256[:16]}.so", library.content)
    kept = RuntimeLibrary(
        runtime,
        library.abi,
        library.api,
        library.name,
        sha256,
        len(library.content),
        source,
        library.least_sdk,
        path,
    )
    values = kept.to_dict() | {"path": path.name}
    write_atomically(folder / "library.json", json.dumps(values, indent=1).encode())
    for other in folder.glob("*.so"):
        if other != path:
            other.unlink(missing_ok=True)
    return kept


def _read(folder: Path) -> RuntimeLibrary | None:
    """The library in a folder; None where none was ever put there."""
    record = folder / "library.json"
    try:
        values = json.loads(record.read_text())
        library = RuntimeLibrary(**{**values, "path": folder / Path(values["path"]).name})
        content = library.path.read_bytes()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
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
