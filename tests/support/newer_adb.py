"""adb 36, which the wheel of adbutils holds: Debian's is of 2020. Fetched with pip, 9 MB."""

import subprocess
import sys
import zipfile
from pathlib import Path

WHEEL = "adbutils==2.12.0"


def newer_adb(folder: Path) -> Path:
    """The path of the program."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    done = subprocess.run(
        [*pip, "--only-binary", ":all:", "--no-deps", WHEEL],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    program = folder / "adb"
    with zipfile.ZipFile(wheel) as archive:
        program.write_bytes(archive.read("adbutils/binaries/adb"))
    program.chmod(0o755)
    return program
