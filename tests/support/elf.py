"""What an ELF file says of itself: enough to check programs that run elsewhere."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _HASH, _STRINGS, _SYMBOLS, _GNU_HASH = 1, 4, 5, 6, 0x6FFFFEF5
_VERSIONS = 0x6FFFFFF0
_TABLES = (_HASH, _STRINGS, _GNU_HASH, _VERSIONS)


@dataclass(frozen=True)
class Elf:
    """A 64-bit little-endian ELF file."""

    machine: int
    position_independent: bool
    interpreter: str
    alignments: tuple[int, ...]
    needed: tuple[str, ...]
    undefined: frozenset[str]
    hash_styles: frozenset[str]


def read_elf(path: Path) -> Elf:
    """Read a dynamically linked program; ValueError for what is none."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"{path} is no 64-bit little-endian ELF file")
    kind, machine = struct.unpack_from("<HH", data, 16)
    offset, size, count = (
        *struct.unpack_from("<Q", data, 32),
        *struct.unpack_from("<HH", data, 54),
    )
    headers = [struct.unpack_from("<IIQQQQQQ", data, offset + size * i) for i in range(count)]
    loads = [header for header in headers if header[0] == _LOAD]

    def place(address: int) -> int:
        """Where in the file an address is."""
        for _, _, start, virtual, _, length, _, _ in loads:
            if virtual <= address < virtual + length:
                return int(start + address - virtual)
        raise ValueError(f"{path} has no byte for the address {address:#x}")

    def text(at: int) -> str:
        return data[at : data.index(b"\0", at)].decode()

    dynamic = next(header for header in headers if header[0] == _DYNAMIC)
    tags: list[tuple[int, int]] = list(
        struct.iter_unpack("<QQ", data[dynamic[2] : dynamic[2] + dynamic[5]])
    )
    values = dict(tags)
    strings, symbols = place(values[_STRINGS]), place(values[_SYMBOLS])
    # How many symbols there are is not said where only GNU's hash is: up to the next table.
    end = min(place(value) for tag, value in tags if tag in _TABLES and place(value) > symbols)
    entries = [struct.unpack_from("<IBBHQQ", data, at) for at in range(symbols + 24, end - 23, 24)]
    return Elf(
        machine,
        kind == 3,
        next(text(header[2]) for header in headers if header[0] == _INTERPRETER),
        tuple(header[7] for header in loads),
        tuple(text(strings + value) for tag, value in tags if tag == _NEEDED),
        frozenset(text(strings + name) for name, _, _, section, *_ in entries if section == 0),
        frozenset(style for tag, style in ((_HASH, "sysv"), (_GNU_HASH, "gnu")) if tag in values),
    )
