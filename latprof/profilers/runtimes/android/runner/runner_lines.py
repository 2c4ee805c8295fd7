"""Lines of the runner's protocol: fields with names, and a CRC-32 at the end (docs/runner.md)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from latprof.errors import InvalidValueError, RuntimeFailedError

#: Version of the protocol that this module speaks.
PROTOCOL = 1
#: The longest request and answer, in bytes.
MOST_REQUEST_BYTES, MOST_ANSWER_BYTES = 65_535, 1 << 24
_LINE = re.compile(rb"([0-9]{1,19}) ([a-z]+)((?: [a-z_0-9]+=[!-~]*)*)")
_PLAIN = (
    frozenset(b"/,:._-+")
    | frozenset(range(0x30, 0x3A))
    | frozenset(range(0x41, 0x5B))
    | frozenset(range(0x61, 0x7B))
)

T = TypeVar("T")


@dataclass(frozen=True)
class RunnerAnswer:
    """One line of the runner's: its request's number, ``hello``, ``ok`` or ``err``, its fields."""

    number: int
    kind: str
    fields: Mapping[str, str]

    def text(self, name: str) -> str:
        """A field, decoded; RuntimeFailedError where it is absent or badly encoded."""
        return decoded(self.raw(name))

    def raw(self, name: str) -> str:
        """A field as it came; RuntimeFailedError where it is absent."""
        if name not in self.fields:
            raise garbled(f"without {name}")
        return self.fields[name]

    def number_of(self, name: str) -> int:
        """A field that is a whole number."""
        return whole(self.raw(name))

    def parts(self, name: str, separator: str, read: Callable[[str], T]) -> tuple[T, ...]:
        """A field's parts, each read; none for an empty field."""
        return split(self.raw(name), separator, read)


def request_line(number: int, verb: str, fields: Mapping[str, object]) -> bytes:
    """Write one request; fields of None are left out.

    Raises
    ------
    InvalidValueError
        For text of more than the protocol allows, or with a zero byte.
    """
    words = [f"{number} {verb}"]
    words += [f"{name}={_encoded(str(v))}" for name, v in fields.items() if v is not None]
    body = " ".join(words).encode()
    line = body + b" #%08x\n" % zlib.crc32(body)
    if len(line) > MOST_REQUEST_BYTES:
        raise InvalidValueError(
            "a request to the runner is too long",
            field=verb,
            expected=f"up to {MOST_REQUEST_BYTES} bytes",
            got=f"{len(line)} bytes",
            hint="ask for less at once",
        )
    return line


def read_answer(line: bytes) -> RunnerAnswer:
    """Read one line, without its end; RuntimeFailedError for what is none."""
    body, mark, checksum = line.rpartition(b" #")
    if not mark or checksum != b"%08x" % zlib.crc32(body):
        raise garbled("whose checksum does not fit")
    match = _LINE.fullmatch(body)
    if match is None:
        raise garbled("that is none of the protocol's")
    number, kind, rest = (part.decode("ascii") for part in match.groups())
    pairs = [word.split("=", 1) for word in rest.split()]
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise garbled("that has a field twice")
    return RunnerAnswer(int(number), kind, fields)


def decoded(text: str) -> str:
    """A percent-encoded text; what is no UTF-8 in it becomes a replacement character."""
    return unquote_to_bytes(text).decode("utf-8", errors="replace")


def split(text: str, separator: str, read: Callable[[str], T]) -> tuple[T, ...]:
    """The parts of a text, each read; none for an empty one."""
    return tuple(read(part) for part in text.split(separator)) if text else ()


def whole(text: str) -> int:
    """A whole number of at most 19 digits, -1 included; RuntimeFailedError for anything else."""
    if not re.fullmatch(r"-?[0-9]{1,19}", text):
        raise garbled("with a number that is none")
    return int(text)


def garbled(how: str) -> RuntimeFailedError:
    """The error for an answer that cannot be read."""
    return RuntimeFailedError(
        f"the runner's answer is a line {how}",
        field="garbled",
        hint="the connection may be cut or disturbed: check the cable and try again",
    )


def _encoded(text: str) -> str:
    if "\0" in text:
        raise InvalidValueError(
            "a request to the runner holds a zero byte", got=repr(text[:80]), hint="leave it out"
        )
    encoded = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in encoded)
