"""Writing files so that a reader sees the old content or the new, never a part."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from latprof.errors import DiskFullError, InvalidValueError, OutputPathError, shown

#: How every SQLite database begins.
_SQLITE = b"SQLite format 3\0"
_DATABASE = "it is a database, such as a store"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def write_atomically(
    path: str | os.PathLike[str], content: bytes | Iterable[bytes | memoryview]
) -> Path:
    """Write ``content`` to ``path``: a temporary file beside it, fsync, rename. Returns the path.

    Pieces of a content are written one after the other, as they are made.
    The file gets the permissions of any newly made file. A link stays, what it leads to is written;
    a device or a pipe is written to as it is, never replaced by a file. Raises DiskFullError where
    the disk or the quota is full, OutputPathError where the path cannot be written or is a SQLite
    database, which days of measuring may have filled; neither leaves a trace.
    """
    target = Path(path)
    temporary: Path | None = None
    pieces = [content] if isinstance(content, bytes) else content
    try:
        found = what_is_at(target)
        if found == "directory":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if found == "special":
            with target.open("wb") as file:
                file.writelines(pieces)
            return target
        target = Path(os.path.realpath(target))
        if found == "file" and is_sqlite(target):
            raise FileExistsError(errno.EEXIST, _DATABASE)
        # Known before it is there: an interruption may come at any moment.
        temporary = target.parent / f".{target.name[:40]}.{os.urandom(6).hex()}"
        _TEMPORARY.add(temporary)
        with temporary.open("xb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_directory(target.parent)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise output_error(Path(path), error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            _TEMPORARY.discard(temporary)
    return Path(path)


#: What :func:`write_atomically` is writing.
_TEMPORARY: set[Path] = set()


def remove_temporary_files() -> None:
    """Remove what is being written, before the process is ended in the middle of it."""
    for path in tuple(_TEMPORARY):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def path_text(given: object, field: str) -> str:
    """``os.fspath`` of what is given for a path; raises InvalidValueError for what is none."""
    found = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(found, str):
        raise InvalidValueError(
            f"`{field}` is no path", field=field, expected="text or a path", got=shown(given)
        )
    return found


def check_output(
    path: str | os.PathLike[str], *, directory: bool = False, others: Iterable[object] = ()
) -> None:
    """Raise OutputPathError now for a path that could not be written after hours of work.

    With ``directory`` it is one that may be made; otherwise a file in a folder that is there, which
    is neither a database, such as a store, nor one of the ``others``: what the same work reads or
    writes too. What is no path among these is passed over.
    """
    target = Path(path_text(path, "output"))
    try:
        if directory:
            target.mkdir(parents=True, exist_ok=True)
            return
        with contextlib.suppress(FileNotFoundError):
            target.stat()  # a name may be too long, or hold a null character
        if what_is_at(target) == "directory":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if what_is_at(target.parent) != "directory":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if what_is_at(target) == "file" and is_sqlite(target):
            raise FileExistsError(errno.EEXIST, _DATABASE)
        if any(_is_same(target, other) for other in others):
            raise FileExistsError(errno.EEXIST, "the same file is named for something else")
    except (OSError, ValueError) as error:
        raise output_error(target, error) from error


def _is_same(path: Path, other: object) -> bool:
    """Whether a path leads to the file that another leads to, or will be, links followed."""
    if not isinstance(other, str | os.PathLike) or what_is_at(path) == "special":
        return False
    with contextlib.suppress(OSError, ValueError):  # of the other, which is not at fault here
        return os.path.realpath(path) == os.path.realpath(other)
    return False


def output_error(path: Path, error: OSError | ValueError) -> DiskFullError | OutputPathError:
    """The error of this package that an OSError while writing ``path`` stands for."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return DiskFullError(
            f"no space left to write {path}", hint="free some space, or choose another place"
        )
    return OutputPathError(
        f"cannot write {path}: {getattr(error, 'strerror', None) or error}".replace("\0", "\\0"),
        field="path",
        hint="name another file"
        if isinstance(error, FileExistsError)
        else "choose a path in an existing directory that you may write to",
    )


def what_is_at(path: Path) -> Literal["file", "directory", "special"] | None:
    """What lies at ``path``, links followed; None where nothing does, or nothing can.

    Unlike :meth:`Path.exists` this does not raise for a name that is too long. ``"special"`` is a
    device or a pipe.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    if stat.S_ISDIR(mode):
        return "directory"
    return "file" if stat.S_ISREG(mode) else "special"


def is_sqlite(path: Path) -> bool:
    """Whether a file is a SQLite database, such as a store, by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:  # may be written, not read
        return False


def sync_directory(directory: Path) -> None:
    """Make the rename itself last; some file systems do not offer this."""
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def cache_folder(kind: str) -> Path:
    """Where things of a kind are kept that can be made again, in the user's cache folder.

    ``latprof/KIND`` of ``$XDG_CACHE_HOME`` or ``~/.cache``, or where the system has its caches.
    """
    import platformdirs

    return platformdirs.user_cache_path("latprof", appauthor=False) / kind


def data_folder(kind: str) -> Path:
    """Where things of a kind are kept that cost time to find again, in the user's data folder.

    ``latprof/KIND`` of ``$XDG_DATA_HOME`` or ``~/.local/share``, or where the system has such data.
    """
    import platformdirs

    return platformdirs.user_data_path("latprof", appauthor=False) / kind


def digest(path: str | os.PathLike[str]) -> str:
    """The first 16 hexadecimal digits of a file's SHA-256; empty where there is no such file."""
    file = Path(path)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if what_is_at(file) == "file" else ""
