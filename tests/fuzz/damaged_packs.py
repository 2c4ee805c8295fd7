"""Ways to damage a pack, for :mod:`tests.fuzz.pack_mutants`.

Bytes or members change and the digests stay as they were: a reader has to notice.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

Random: TypeAlias = np.random.Generator
Members: TypeAlias = dict[str, bytes]


def members_of(data: bytes) -> Members:
    """The files of a pack."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def flip_bit(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    changed[_at(random, data)] ^= 1 << int(random.integers(8))
    return bytes(changed)


def change_byte(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    changed[_at(random, data)] = int(random.integers(256))
    return bytes(changed)


def change_end(random: Random, data: bytes) -> bytes:
    """Change a byte of the zip file's directory, where names and sizes stand."""
    changed = bytearray(data)
    changed[len(data) - 1 - int(random.integers(min(600, len(data))))] = int(random.integers(256))
    return bytes(changed)


def truncate(random: Random, data: bytes) -> bytes:
    return data[: _at(random, data)]


def replace_piece(random: Random, data: bytes) -> bytes:
    at = _at(random, data)
    return data[:at] + random.bytes(int(random.integers(40))) + data[at + 20 :]


def swap_pieces(random: Random, data: bytes) -> bytes:
    length = int(random.integers(1, 200))
    first, second = sorted(int(random.integers(len(data) - length)) for _ in range(2))
    if second < first + length:
        return data[:first] + data[first:second][::-1] + data[second:]
    pieces = data[:first], data[second : second + length], data[first + length : second]
    return b"".join((*pieces, data[first : first + length], data[second + length :]))


def add_around(random: Random, data: bytes) -> bytes:
    more = random.bytes(int(random.integers(1, 40)))
    return more + data if random.random() < 0.5 else data + more


def swap_members(random: Random, data: bytes) -> bytes:
    members = members_of(data)
    first, second = (str(name) for name in random.choice(sorted(members), 2, replace=False))
    members[first], members[second] = members[second], members[first]
    return _zipped(list(members.items()))


def repeat_member(random: Random, data: bytes) -> bytes:
    members = list(members_of(data).items())
    name, content = members[int(random.integers(len(members)))]
    content = content if random.random() < 0.5 else content.replace(b"1", b"2", 1)
    return _zipped([*members, (name, content)])


def drop_member(random: Random, data: bytes) -> bytes:
    members = list(members_of(data).items())
    del members[int(random.integers(len(members)))]
    return _zipped(members)


def rename_member(random: Random, data: bytes) -> bytes:
    members = list(members_of(data).items())
    number = int(random.integers(len(members)))
    name = str(random.choice(["../a", "/a", "predictor", "extra/a", "a\\b", "held_out.json"]))
    members[number] = (name, members[number][1])
    return _zipped(members)


def change_member(random: Random, data: bytes) -> bytes:
    """Change a byte of a member's content in a zip file whose own checksums are right."""
    members = members_of(data)
    name = str(random.choice(sorted(members)))
    members[name] = change_byte(random, members[name]) if members[name] else b"x"
    return _zipped(list(members.items()))


def shuffle_members(random: Random, data: bytes) -> bytes:
    """The same members in another order, not compressed: still the same pack."""
    members = list(members_of(data).items())
    order = random.permutation(len(members))
    return _zipped([members[number] for number in order], zipfile.ZIP_STORED)


DAMAGE: tuple[Callable[[Random, bytes], bytes], ...] = (
    *(flip_bit, change_byte, change_end, truncate, replace_piece, swap_pieces, add_around),
    *(swap_members, repeat_member, drop_member, rename_member, change_member, shuffle_members),
)


def _at(random: Random, data: bytes) -> int:
    return int(random.integers(len(data)))


def _zipped(members: list[tuple[str, bytes]], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", kind) as archive:
        warnings.simplefilter("ignore")  # names that are there twice are the point
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return buffer.getvalue()
