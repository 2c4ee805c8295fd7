"""A project of someone else uses the built wheel in a clean environment: examples/foreign-nas."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import venv
from pathlib import Path

from check_wheel import ROOT, run

LIMIT_MS = 5.0


def install(place: Path, wheel: Path) -> Path:
    """Make a clean environment with the wheel and the project; its directory of commands."""
    # Copied, so that its build leaves nothing in the repository.
    project = shutil.copytree(
        ROOT / "examples" / "foreign-nas",
        place / "foreign-nas",
        ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"),
    )
    venv.create(place / "env", with_pip=True)
    binaries = place / "env" / "bin"
    pip = (binaries / "pip", "--disable-pip-version-check", "install", "--quiet")
    # Without bytecode of what is never imported, which would take half a minute.
    pip = (*pip, "--no-compile", "--constraint", ROOT / "constraints.txt")
    run(*pip, "torch", cwd=place)
    # The project asks for latprof[collect,torch]; the address says which latprof that is.
    run(*pip, f"latprof @ {wheel.as_uri()}", project, cwd=place)
    shutil.rmtree(project)
    return binaries


def check(output: str) -> None:
    """Exit unless the search learned, its bound keeps the limit, and the winner was measured."""
    patterns = {
        "chosen": r"chosen +proxyless:(\d)",
        "accuracy": r"accuracy +([\d.]+)%",
        "bound": r"95 % stay below ([\d.]+) ms",
        "measured": r"measured +([\d.]+) ms",
    }
    found = {name: re.search(pattern, output) for name, pattern in patterns.items()}
    values = {name: float(match[1]) for name, match in found.items() if match}
    if len(values) < len(patterns):
        sys.exit("the output lacks a line")
    if values["accuracy"] < 60:
        sys.exit("the search learned nothing: chance is 12.5 %")
    if not 0 < values["bound"] <= LIMIT_MS or not values["measured"] > 0:
        sys.exit("the bound breaks the limit, or nothing was measured")


def main() -> None:
    """Install, search, measure."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        binaries = install(place, Path(sys.argv[1]).resolve())
        for module in ("latprof", "foreign_nas"):
            code = f"import {module}; print({module}.__file__)"
            file = Path(run(binaries / "python", "-c", code, cwd=place).strip())
            if not file.is_relative_to(place / "env"):
                sys.exit(f"{module} is not the installed one: {file}")
        command = (binaries / "foreign-nas", "--limit-ms", str(LIMIT_MS), "--verify")
        output = run(*command, cwd=place, path=binaries)
        print(output)
        check(output)
        print("a foreign project works with the wheel in a clean environment")


if __name__ == "__main__":
    main()
