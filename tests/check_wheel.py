"""Build the wheel, install it in a clean environment, and use it there: what users get works."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path, path: Path | None = None) -> str:
    """Run a command outside this environment; its output, or its exit status for this script."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_"))}
    if path is not None:
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    print("$", *command, flush=True)
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        sys.exit(f"exit status {done.returncode}:\n{done.stdout}")
    return done.stdout


def build_wheel(place: Path) -> Path:
    """Build the wheel into a directory; its path."""
    run(sys.executable, "-m", "build", "--wheel", "--outdir", place, ROOT, cwd=place)
    (wheel,) = place.glob("*.whl")
    return wheel


def main() -> None:
    """Build, look inside, install, collect, train and predict."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        wheel = build_wheel(place)
        names = zipfile.ZipFile(wheel).namelist()
        strays = [n for n in names if not n.startswith(("latprof/", "latprof-"))]
        if strays or "latprof/py.typed" not in names:
            sys.exit(f"the wheel holds other top-level names or lacks py.typed: {strays}")
        venv.create(place / "env", with_pip=True)
        binaries = place / "env" / "bin"
        run(
            *(binaries / "pip", "--disable-pip-version-check", "install", "--quiet"),
            *("--constraint", ROOT / "constraints.txt", wheel),
            cwd=place,
        )
        latprof = binaries / "latprof"
        for arguments in (
            ["--help"],
            ["devices"],
            ["datasets", "proxyless-cpu-ort1"],
            ["predict", "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"],
            "collect --space proxyless -n 12 --visits 2 --ops --store lat.db".split(),
            "train lat.db -o cpu.pack".split(),
            ["predict", "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5", "--pack", "cpu.pack"],
            "report lat.db --pack cpu.pack -o report.html --png plots".split(),
            "export lat.db --parquet lat.parquet --csv lat.csv".split(),
        ):
            print(run(latprof, *arguments, cwd=place, path=binaries))
        print(f"{wheel.name}: {wheel.stat().st_size / 1e3:.0f} kB, works in a clean environment")


if __name__ == "__main__":
    main()
