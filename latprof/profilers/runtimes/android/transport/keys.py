"""The keys by which a phone knows this computer: adb's own, or new ones where there are none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from latprof.errors import OutputPathError


def key_files() -> list[Path]:
    """Private keys, the first wins: of ``ADB_VENDOR_KEYS`` (files or folders), and adb's own.

    Makes adb's own, readable by the user alone, where it is not there. Raises OutputPathError.
    """
    own = Path.home() / ".android" / "adbkey"
    if not own.exists():
        _make(own)
    named: list[Path] = []
    for text in os.environ.get("ADB_VENDOR_KEYS", "").split(os.pathsep):
        place = Path(text)
        if text and place.is_dir():
            named += sorted(place.glob("*.adb_key"))
        elif text and place.is_file():
            named.append(place)
    return [own, *named]


def _make(private: Path) -> None:
    from adb_shell.auth.keygen import keygen

    try:
        private.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        # The library writes with the umask that it finds: in a folder that only the user enters.
        with tempfile.TemporaryDirectory(dir=private.parent, prefix=".latprof-") as folder:
            made = Path(folder) / private.name
            keygen(str(made))
            made.chmod(0o600)
            public = private.with_name(private.name + ".pub")
            made.with_name(public.name).replace(public)
            made.replace(private)
    except OSError as error:
        raise OutputPathError(
            f"cannot make the key {private}: {error.strerror}",
            field="key",
            hint="or name one in ADB_VENDOR_KEYS",
        ) from None
