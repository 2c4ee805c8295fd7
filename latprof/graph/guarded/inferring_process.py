"""The guarded child: onnx's C++ in a process that may die of what it is asked.

Started by :mod:`latprof.graph.guarded.inference` as a script, with the standard library and
latprof's folder on its path. It loads onnx's compiled part alone, which is there in a hundredth of
a second, and answers until its stdin ends. Memory and CPU time are limited for each request; no
file can be opened any more.
"""

from __future__ import annotations

import contextlib
import struct
import sys
import time
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, BinaryIO

#: What is asked, bytes of memory, seconds of CPU time, length of the model that follows.
REQUEST = struct.Struct("<BQdQ")
#: What became of it, seconds of CPU time used, length of the model or reason that follows.
ANSWER = struct.Struct("<BdQ")
INFER, INLINE = range(2)
DONE, REFUSED, OUT_OF_MEMORY = range(3)
_MODULE = "onnx.onnx_cpp2py_export"
_REASON_BYTES = 2000


def main() -> None:
    """Answer requests on stdin until it ends."""
    root, extension = sys.argv[1:]
    sys.path.append(root)
    from latprof.graph.guarded.wire import inferred_values

    compiled = _load(extension)
    limit_memory, limit_time = _limits()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while header := requests.read(REQUEST.size):
        what, memory, seconds, length = REQUEST.unpack(header)
        data = requests.read(length)
        if len(data) < length:
            break
        begun = time.process_time()
        limit_memory(memory)
        limit_time(begun + seconds)
        status, content = _answer(compiled, inferred_values, what, data)
        limit_memory(None)
        _send(answers, status, time.process_time() - begun, content)
        if status == OUT_OF_MEMORY:
            break


def _answer(
    compiled: Any, values_of: Callable[[bytes], bytes], what: int, data: bytes
) -> tuple[int, bytes]:
    try:
        if what == INLINE:
            return DONE, compiled.inliner.inline_local_functions(data, False)
        inferred = compiled.shape_inference.infer_shapes(
            data, check_type=False, strict_mode=False, data_prop=True
        )
        return DONE, values_of(inferred)
    except MemoryError:
        return OUT_OF_MEMORY, b""
    except Exception as error:  # noqa: BLE001 - the C++ side raises several unrelated types
        reason = str(error)
        if "bad_alloc" in reason:
            return OUT_OF_MEMORY, b""
        return REFUSED, reason.encode(errors="replace")[:_REASON_BYTES]


def _send(answers: BinaryIO, status: int, seconds: float, content: bytes) -> None:
    answers.write(ANSWER.pack(status, seconds, len(content)))
    answers.write(content)
    answers.flush()


def _load(extension: str) -> Any:
    """Load onnx's compiled part without the package around it, which imports NumPy and protobuf."""
    spec = spec_from_file_location(
        _MODULE, extension, loader=ExtensionFileLoader(_MODULE, extension)
    )
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _limits() -> tuple[Any, Any]:
    """Functions that limit memory beyond what is used now, and CPU time in all."""
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - imports less
        used = int(file.read().split()[0]) * resource.getpagesize()
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (0, 0))

    def limit(kind: int, value: int | None) -> None:
        most = resource.getrlimit(kind)[1]
        wanted = most if value is None else value
        if most != resource.RLIM_INFINITY:
            wanted = min(wanted, most) if wanted != resource.RLIM_INFINITY else most
        resource.setrlimit(kind, (wanted, most))

    return (
        lambda extra: limit(resource.RLIMIT_AS, None if extra is None else used + extra),
        lambda seconds: limit(resource.RLIMIT_CPU, int(seconds) + 1),
    )


if __name__ == "__main__":
    main()
