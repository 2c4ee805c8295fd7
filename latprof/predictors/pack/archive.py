"""The container of a pack: one zip file, written in one step and read with suspicion.

Beside the files it holds ``manifest.sha256``, the digest of the manifest; the manifest in turn
states the digest and size of every other file, so that no byte of content can change unseen.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from latprof.common.files import write_atomically
from latprof.errors import InvalidValueError, PackAlteredError, PackError, did_you_mean
from latprof.predictors.pack.shipped import pack_names, published_pack_names

MANIFEST = "manifest.json"
_DIGEST = "manifest.sha256"

_MAX_PACK_BYTES = 64 << 20
_MAX_CONTENT_BYTES = 256 << 20
_MAX_MEMBERS = 64
_MAX_RATIO = 200
_MAX_DIRECTORY_BYTES = 1 << 16
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}){0,3}")
#: End of a zip file without comment: signature, disk numbers and counts, directory's size.
_END = struct.Struct("<4s8xI4xH")


def check_name(name: str) -> None:
    """Raise InvalidValueError unless ``name`` can be a file's name inside a pack."""
    if not _NAME.fullmatch(name):
        raise InvalidValueError(
            "not a name for a file in a pack",
            expected="letters, digits, dots, dashes and slashes",
            got=repr(name)[:80],
        )


# Writing ---------------------------------------------------------------------------------


def write_archive(
    path: str | os.PathLike[str], manifest: bytes, files: Mapping[str, bytes]
) -> None:
    """Write a pack: to a temporary file beside ``path``, flushed to the disk, then renamed.

    Whatever happens, ``path`` holds the old content or the new. Raises OutputPathError where the
    path cannot be written, DiskFullError, and InvalidValueError for a file's name or a pack that
    would be too large to read.
    """
    members = {MANIFEST: manifest, _DIGEST: digest(manifest).encode(), **files}
    for name in members:
        check_name(name)
    if len(members) > _MAX_MEMBERS or sum(map(len, members.values())) > _MAX_CONTENT_BYTES:
        raise InvalidValueError(
            "the pack is too large",
            expected=f"at most {_MAX_MEMBERS} files and {_MAX_CONTENT_BYTES >> 20} MiB",
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            # What packs better than the reader believes is stored as it is.
            packs_well = len(data) > _MAX_RATIO / 2 * len(zlib.compress(data))
            kind = zipfile.ZIP_STORED if packs_well else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=kind)
    if len(buffer.getbuffer()) > _MAX_PACK_BYTES:
        raise InvalidValueError("the pack is too large", expected=f"{_MAX_PACK_BYTES >> 20} MiB")
    write_atomically(path, buffer.getvalue())


# Reading ---------------------------------------------------------------------------------


def read_archive(path: str | os.PathLike[str]) -> dict[str, bytes]:
    """Read all files of a pack; the manifest's own digest is checked, theirs are not yet.

    Raises PackError for a file that is missing, empty, truncated, no zip file, or not of the kind
    that :func:`write_archive` writes, and PackAlteredError where a checksum does not fit.
    """
    name = os.fspath(path)
    data = _read_bounded(name)
    if len(data) < _END.size:
        raise PackError(f"{name} is no pack: the file is empty or too short", expected="a zip file")
    signature, directory_bytes, comment_bytes = _END.unpack(data[-_END.size :])
    if signature != b"PK\x05\x06" or comment_bytes:
        raise PackError(f"{name} is no pack, or its end is missing", expected="a zip file")
    if directory_bytes > _MAX_DIRECTORY_BYTES or data[-_END.size - 20 :][:4] == b"PK\x06\x07":
        raise PackError(f"{name} is no pack: it lists too many files")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _read_members(name, archive)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise PackAlteredError(f"{name} is damaged: {error}", hint=_AGAIN) from None
    except (EOFError, OSError, ValueError, RuntimeError, struct.error, LookupError) as error:
        raise PackError(f"{name} is no pack: {error}") from None
    if MANIFEST not in members:
        raise PackError(f"{name} is no pack: it has no {MANIFEST}")
    if members.pop(_DIGEST, b"").strip() != digest(members[MANIFEST]).encode():
        raise PackAlteredError(f"the manifest of {name} was altered", hint=_AGAIN)
    return members


_AGAIN = "copy the pack again from where it came from, or train it again"


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _read_bounded(name: str) -> bytes:
    try:
        if not stat.S_ISREG(Path(name).stat().st_mode):
            raise PackError(f"{name} is no pack", expected="a regular file")
        with Path(name).open("rb") as file:
            data = file.read(_MAX_PACK_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        guess = did_you_mean(name, [*pack_names(), *published_pack_names()])
        raise PackError(
            f"cannot read pack {name}: {reason}",
            field="path",
            hint=f"{guess or ''} packs that come with latprof: {', '.join(pack_names()) or 'none'}",
        ) from None
    if len(data) > _MAX_PACK_BYTES:
        raise PackError(f"{name} is no pack", expected=f"at most {_MAX_PACK_BYTES >> 20} MiB")
    return data


def _read_members(name: str, archive: zipfile.ZipFile) -> dict[str, bytes]:
    """All members, once their names, number and stated sizes are found sound."""
    listed = archive.infolist()
    if len(listed) > _MAX_MEMBERS:
        raise PackError(f"{name} is no pack: it holds {len(listed)} files")
    if len({info.filename for info in listed}) != len(listed):
        raise PackError(f"{name} is no pack: a file is in it twice")
    for info in listed:
        if not _NAME.fullmatch(info.filename):
            raise PackError(f"{name} is no pack: it holds a file {info.filename[:80]!r}")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise PackError(f"{name} is no pack: {info.filename} is compressed in another way")
        if info.flag_bits & 0x1:
            raise PackError(f"{name} is no pack: {info.filename} is encrypted")
        if info.file_size > _MAX_RATIO * max(info.compress_size, 1):
            raise PackError(f"{name} is no pack: {info.filename} is compressed too far")
    if sum(info.file_size for info in listed) > _MAX_CONTENT_BYTES:
        raise PackError(f"{name} is no pack: its files are too large")
    return {info.filename: archive.read(info) for info in listed}
