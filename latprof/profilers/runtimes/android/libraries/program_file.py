"""The official programs called ``benchmark_model``: TFLite's, and LiteRT's, which is newer."""

from __future__ import annotations

import re
import struct

from latprof.errors import InputFileError
from latprof.profilers.runtimes.android.libraries.library_file import (
    ABIS,
    SYSTEMS,
    LibraryFile,
    check_whole,
    other_abi,
)

_MAKERS_OWN = "`latprof android setup --runtime benchmark-model` fetches LiteRT's"
#: What a program of each generation holds and the other does not, LiteRT's first: it has some of
#: TFLite's options too.
_SIGNS = {
    "litert-benchmark": re.compile(rb"use_npu|Inference \(avg\): [^\n\0]{0,40} ms"),
    "tflite-benchmark": re.compile(rb"Inference \(avg\)|use_nnapi|Inference timings"),
}


def read_program(content: bytes, source: str, *, abi: str | None = None) -> LibraryFile:
    """The program in a file; its ``api`` is ``litert-benchmark`` or ``tflite-benchmark``.

    A script, which stands for a program that needs surroundings of its own, is taken for ``abi``.

    Raises
    ------
    InputFileError
        For what is no such program.
    DeviceError
        For another ABI.
    """
    is_script = content[:2] == b"#!"
    if not is_script and (len(content) < 64 or content[:4] != b"\x7fELF"):
        raise InputFileError(
            f"{source} is not a program",
            field="source",
            expected="the official benchmark_model, of LiteRT or of TFLite",
            got="a web page" if content[:64].lstrip()[:1] == b"<" else f"{len(content)} bytes",
            hint=_MAKERS_OWN,
        )
    generation = next((name for name, sign in _SIGNS.items() if sign.search(content)), "")
    if not generation:
        raise InputFileError(
            f"{source} is a program, but not benchmark_model",
            field="source",
            expected="the official benchmark_model, of LiteRT or of TFLite",
            hint=_MAKERS_OWN,
        )
    found = abi or next(iter(SYSTEMS))
    if not is_script:
        check_whole(content, source)
        machine = struct.unpack_from("<H", content, 18)[0]
        found = ABIS.get((content[4], machine), f"machine {machine}")
    if found not in SYSTEMS or (abi is not None and found != abi):
        raise other_abi(source, [found], abi)
    return LibraryFile("benchmark_model", content, found, SYSTEMS[found], generation, 0)
