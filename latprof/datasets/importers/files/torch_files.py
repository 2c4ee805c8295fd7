"""Files that ``torch.save`` wrote, read without torch: a zip file with one pickle of plain data."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from typing import Any

from latprof.datasets.importers.files.plain_pickle import read_pickle
from latprof.datasets.importers.files.reading import read_bytes
from latprof.errors import DataSetError

_MAX_PICKLE_BYTES = 64 << 20
_MAX_MEMBERS = 64
_DIRECTORY_ENTRY = b"PK\x01\x02"
_EXPECTED = "a zip file that torch.save wrote, of lists, dictionaries, text and numbers"


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """Read a ``.pt`` file of plain data.

    Returns lists, dictionaries, text and numbers, as :func:`read_pickle` does.

    Raises
    ------
    DataSetError
        For a file that is missing, damaged, larger than 64 MiB (packed or unpacked), or that holds
        anything else: tensors, objects, functions. Nothing in the file is ever executed.
    """
    data = read_bytes(path)
    # Each member costs memory before it is looked at, so they are counted first.
    if data[:2] != b"PK" or data.count(_DIRECTORY_ENTRY) > _MAX_MEMBERS:
        raise DataSetError(f"{path} is not a file of torch.save", expected=_EXPECTED)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            content = _read_pickle_member(path, archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise DataSetError(f"{path} is damaged: {error}", expected=_EXPECTED) from None
    except (RuntimeError, NotImplementedError, LookupError, struct.error) as error:
        raise DataSetError(
            f"{path} is of a kind not read here: {error}", expected=_EXPECTED
        ) from None
    return read_pickle(str(path), content)


def _read_pickle_member(path: str | os.PathLike[str], archive: zipfile.ZipFile) -> bytes:
    names = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
    if len(names) != 1:
        raise DataSetError(f"{path} holds {len(names)} pickles", expected=_EXPECTED)
    if names[0].compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise DataSetError(f"{path} is packed in a way not read here", expected=_EXPECTED)
    with archive.open(names[0]) as member:
        # The size that the file states may be a lie: what counts is what comes out.
        content = member.read(_MAX_PICKLE_BYTES + 1)
    if len(content) > _MAX_PICKLE_BYTES:
        raise DataSetError(f"{path} unpacks to too much", expected="at most 64 MiB")
    return content
