"""Install a built wheel in clean environments, and use it there: what users get works."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Most megabytes of an installation without extras, pip not counted.
BASE_MB = 230
EXTRAS = "collect,train-cpu,report,data"
ARCHITECTURE = "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"


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


def new_environment(place: Path, python: str, *requirement: str) -> Path:
    """Make an environment with nothing but a requirement in it; its directory of commands."""
    run(python, "-m", "venv", place, cwd=place.parent)
    binaries = place / "bin"
    pip = (binaries / "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--constraint", ROOT / "constraints.txt", *requirement, cwd=place)
    return binaries


def installed_mb(binaries: Path) -> float:
    """Size of what an environment holds beside pip, in MB."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(binaries / "python", "-c", code, cwd=binaries).strip())
    own = [entry for entry in packages.iterdir() if not entry.name.startswith("pip")]
    files = (file for entry in own for file in (entry.rglob("*") if entry.is_dir() else [entry]))
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def check_base(place: Path, python: str, wheel: Path) -> None:
    """Without extras: predicts a member of a space and another model; names what is missing."""
    binaries = new_environment(place / "base", python, str(wheel))
    size = installed_mb(binaries)
    print(f"installed without extras: {size:.0f} MB (at most {BASE_MB})")
    if size > BASE_MB:
        sys.exit("the installation without extras is too large")
    code = (
        "import latprof\n"
        "for name in ('proxyless', 'mnasnet'):\n"
        "    space = latprof.get_space(name)\n"
        "    (found,) = space.architectures(space.sample_choices(1, seed=0))\n"
        "    open(f'{name}.onnx', 'wb').write(space.onnx_bytes(found))\n"
        "print(latprof.predict(['proxyless.onnx', 'mnasnet.onnx']))\n"
    )
    print(run(binaries / "python", "-c", code, cwd=place, path=binaries))
    latprof = binaries / "latprof"
    check_budget(latprof, place)
    for arguments in (
        ["--help"],
        ["devices"],
        ["datasets", "proxyless-cpu-ort1"],
        ["predict", ARCHITECTURE, "proxyless.onnx", "mnasnet.onnx", "--operators"],
    ):
        print(run(latprof, *arguments, cwd=place, path=binaries))
    done = subprocess.run(
        [latprof, "train", "lat.db", "-o", "cpu.pack"],
        cwd=place,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 2 or "pip install 'latprof[train]'" not in done.stderr:
        sys.exit(f"train without its extra exits with {done.returncode}: {done.stderr}")


def check_budget(latprof: Path, place: Path) -> None:
    """The second command of docs/ci.md after the installation: a budget that fails the build."""
    done = subprocess.run(
        [latprof, "predict", "mnasnet.onnx", "--fail-if", "> 0.001 ms"],
        cwd=place,
        check=False,
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    if done.returncode != 1 or "at most 0.001 ms: broken" not in done.stdout:
        sys.exit(f"a broken budget exits with {done.returncode}: {done.stdout}{done.stderr}")


def check_extras(place: Path, python: str, wheel: Path) -> None:
    """With the extras that need no torch: from a collection to a report and a table."""
    # Without bytecode of what is never imported, which would take half a minute.
    requirement = f"latprof[{EXTRAS}] @ {wheel.as_uri()}"
    binaries = new_environment(place / "extras", python, "--no-compile", requirement)
    print(f"installed with {EXTRAS}: {installed_mb(binaries):.0f} MB")
    for arguments in (
        "datasets",
        "collect --space proxyless -n 12 --visits 2 --ops --store lat.db",
        "train lat.db -o cpu.pack",
        f"predict {ARCHITECTURE} --pack cpu.pack",
        "report lat.db --pack cpu.pack -o report.html --png plots",
        "export lat.db --parquet lat.parquet --csv lat.csv",
    ):
        print(run(binaries / "latprof", *arguments.split(), cwd=place, path=binaries))


def main() -> None:
    """Look inside, and use it in clean environments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environments")
    given = parser.parse_args()
    python, wheel = given.python, given.wheel.resolve()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        names = zipfile.ZipFile(wheel).namelist()
        strays = [n for n in names if not n.startswith(("latprof/", "latprof-"))]
        if strays or "latprof/py.typed" not in names:
            sys.exit(f"the wheel holds other top-level names or lacks py.typed: {strays}")
        check_base(place, python, wheel)
        check_extras(place, python, wheel)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e3:.0f} kB, works in clean environments")


if __name__ == "__main__":
    main()
