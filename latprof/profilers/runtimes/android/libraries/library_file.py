"""What a runtime library says of itself, and libraries inside AAR, wheel and zip files."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass

from latprof.errors import DeviceError, InputFileError

#: Most bytes of a library, and of the file that holds it.
MOST_BYTES = 512 << 20
_MOST_ENTRIES = 20_000
#: ABIs by ELF's class and machine; a runner exists for those in :data:`SYSTEMS`.
ABIS = {
    (2, 183): "arm64-v8a",
    (2, 62): "x86_64",
    (1, 40): "armeabi-v7a",
    (1, 3): "x86",
    (2, 243): "riscv64",
}
#: What the runner of each ABI is linked to, and so its library has to be.
SYSTEMS = {"arm64-v8a": "Android", "x86_64": "Linux"}
#: C APIs by a function that each has, the newest first; and what the runner needs of it.
_APIS = {
    "onnxruntime": (b"OrtGetApiBase", ()),
    "litert": (b"LiteRtCreateEnvironment", (b"LiteRtCreateModelFromFd", b"LiteRtRunCompiledModel")),
    "tflite": (b"TfLiteModelCreate", (b"TfLiteInterpreterInvoke", b"TfLiteTensorData")),
}
RUNTIME_OF_API = {
    "onnxruntime": "onnxruntime",
    "litert": "litert",
    "tflite": "litert",
    "litert-benchmark": "benchmark-model",
    "tflite-benchmark": "benchmark-model",
}
_OLDEST = {
    "onnxruntime": "ONNX Runtime 1.7",
    "litert": "LiteRT 2.1.6",
    "tflite": "TFLite 2.3",
}
_ORT_VERSION = re.compile(rb"\0VERS_(\d{1,3})\.(\d{1,3})\.(\d{1,3})\0")
_OLDEST_ORT = (1, 7)
#: The note by which the NDK marks what it links: the API level that is needed.
_ANDROID_NOTE = re.compile(rb"\x08\0\0\0[\x04-\xff]\0\0\0\x01\0\0\0Android\0(.{4})", re.DOTALL)
#: ELF's number of 64-bit files, and of what is loaded.
_BITS_64, _LOADED = 2, 1
_ZIP = b"PK\x03\x04"
#: What to do about a file that is none, and about one that is damaged.
_MAKERS_OWN = "`latprof android setup` without a file fetches the makers' own"
_UNPACK = "unpack it, and give the library alone"
_WHOLE = f"fetch it again, whole; {_MAKERS_OWN}"


@dataclass(frozen=True)
class LibraryFile:
    """A library that was read.

    Parameters
    ----------
    name : str
        Of its file.
    content : bytes
    abi : str
        Android's word, for example ``arm64-v8a``.
    system : str
        ``Android`` or ``Linux``: whose C library it needs.
    api : str
        ``litert``, ``tflite`` or ``onnxruntime``; empty for another library.
    least_sdk : int
        API level of Android that it needs; 0 where it does not say.
    """

    name: str
    content: bytes
    abi: str
    system: str
    api: str
    least_sdk: int


def read_library(content: bytes, source: str, *, abi: str | None = None) -> LibraryFile:
    """The library in a file: itself, or the one for an ABI in an AAR, a wheel or another zip file.

    Parameters
    ----------
    content : bytes
    source : str
        What the file is called in errors.
    abi : str, optional
        Which is wanted; else the one that latprof has a runner for, ``arm64-v8a`` first.

    Raises
    ------
    InputFileError
        For what is no library of these runtimes, or holds none, or is too old.
    DeviceError
        For another ABI or another system.
    """
    if not content.startswith(_ZIP):
        library = _described(content, source.rsplit("/", 1)[-1], source)
        _check(library, source, abi)
        return library
    found = _members(content, source)
    if not found:
        raise InputFileError(
            f"{source} holds no LiteRT, TFLite or ONNX Runtime library",
            field="source",
            expected="an AAR, a wheel or another zip file with libLiteRt.so, "
            "libtensorflowlite_jni.so or libonnxruntime.so",
            hint=_MAKERS_OWN,
        )
    wanted = [abi] if abi else [each for each in SYSTEMS if any(f.abi == each for f in found)]
    for one in wanted:
        fitting = [each for each in found if each.abi == one]
        fitting.sort(key=lambda each: list(_APIS).index(each.api))
        if fitting:
            _check(fitting[0], source, abi)
            return fitting[0]
    raise other_abi(source, sorted({each.abi for each in found}), abi)


def _members(content: bytes, source: str) -> list[LibraryFile]:
    """All libraries of these runtimes in a zip file."""
    found = []
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            if len(infos) > _MOST_ENTRIES:
                raise InputFileError(
                    f"{source} has more than {_MOST_ENTRIES} entries", hint=_UNPACK
                )
            left = MOST_BYTES
            for info in infos:
                if not re.search(r"\.so(\.\d+)*$", info.filename):
                    continue
                left -= info.file_size
                if left < 0:
                    raise InputFileError(
                        f"the libraries in {source} are too large",
                        expected=f"at most {MOST_BYTES >> 20} MiB together",
                        hint=_UNPACK,
                    )
                with archive.open(info) as file:
                    inner = file.read(info.file_size + 1)
                try:
                    library = _described(inner, info.filename.rsplit("/", 1)[-1], source)
                except InputFileError:
                    continue
                if library.api:
                    found.append(library)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError) as error:
        raise InputFileError(
            f"{source} is a damaged zip file: {str(error)[:200]}", field="source", hint=_WHOLE
        ) from None
    except NotImplementedError as error:
        raise InputFileError(
            f"{source} cannot be unpacked: {error}", field="source", hint=_UNPACK
        ) from None
    return found


def _described(content: bytes, name: str, source: str) -> LibraryFile:
    if len(content) < 64 or content[:4] != b"\x7fELF":
        raise InputFileError(
            f"{source} is not a library",
            field="source",
            expected="a shared library (.so) for Android, or an AAR, wheel or zip file with one",
            got="a web page" if content[:64].lstrip()[:1] == b"<" else f"{len(content)} bytes",
            hint=_WHOLE,
        )
    check_whole(content, source)
    machine = struct.unpack_from("<H", content, 18)[0]
    api = next((api for api, (symbol, _) in _APIS.items() if _has(content, symbol)), "")
    is_linux = any(_has(content, name) for name in (b"libc.so.6", b"ld-linux-aarch64.so.1"))
    note = _ANDROID_NOTE.search(content)
    level = struct.unpack("<I", note[1])[0] if note else 0
    if level == 0 and not is_linux and _has(content, b"aligned_alloc"):
        level = 28  # the first whose C library has it
    return LibraryFile(
        name,
        content,
        ABIS.get((content[4], machine), f"machine {machine}"),
        "Linux" if is_linux else "Android",
        api,
        level if level < 1000 else 0,
    )


def check_whole(content: bytes, source: str) -> None:
    """Raise InputFileError for a 64-bit ELF file that ends before what it says to load."""
    if content[4] != _BITS_64:
        return
    (table,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    places = range(table, table + size * count, size or 1)
    heads = [content[place : place + 40] for place in places]
    parts = [struct.unpack_from("<II QQQ Q", head) for head in heads if len(head) == 40]
    if len(parts) < len(heads) or any(
        kind == _LOADED and start + length > len(content) for kind, _, start, _, _, length in parts
    ):
        raise InputFileError(f"{source} is cut off", field="source", hint=_WHOLE)


def _has(content: bytes, name: bytes) -> bool:
    """Whether a library's table of names has a name."""
    return b"\0" + name + b"\0" in content


def _check(library: LibraryFile, source: str, abi: str | None) -> None:
    """Refuse a library that the runner could not use on a phone."""
    if (abi is not None and library.abi != abi) or library.abi not in SYSTEMS:
        raise other_abi(source, [library.abi], abi)
    if not library.api:
        raise InputFileError(
            f"{source} is a library, but none of LiteRT, TFLite or ONNX Runtime",
            field="source",
            expected="libLiteRt.so, libtensorflowlite_jni.so or libonnxruntime.so",
            hint=_MAKERS_OWN,
        )
    if SYSTEMS[library.abi] != library.system:
        raise DeviceError(
            f"{source} is built for {library.system}",
            field="source",
            expected=f"a library for {library.abi} and {SYSTEMS[library.abi]}",
            got=f"{library.name} for {library.abi} and {library.system}",
            hint="take the library of the Android package (AAR)",
        )
    content = library.content
    is_old = not all(_has(content, symbol) for symbol in _APIS[library.api][1])
    if library.api == "onnxruntime" and (version := _ORT_VERSION.search(content)):
        is_old = (int(version[1]), int(version[2])) < _OLDEST_ORT
    if is_old:
        raise InputFileError(
            f"{source} is too old",
            field="source",
            expected=f"{_OLDEST[library.api]} or later",
            hint="take a newer version of the library",
        )


def other_abi(source: str, found: list[str], wanted: str | None) -> DeviceError:
    """The error for a file without what a phone's ABI needs."""
    return DeviceError(
        f"{source} has no library for this ABI",
        field="abi",
        expected=wanted or " or ".join(SYSTEMS),
        got=", ".join(found),
        hint="phones with 64-bit Android need the one for arm64-v8a",
    )
