"""How long a cold start takes: ``python -m benchmarks.startup``.

Whole processes in turn (A, B, A, B, ...), with the modules' bytecode there as after an
installation. The figures are ratios of the CPU time of the processes, user and system, since that
is what a busy machine changes least: the median over pairs, which is the figure, and beside it the
ratio of the two least.
``latprof predict`` is timed on a member of the bundled pack's search space and on another model.
``--check`` exits with status 1 where a promised figure is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from latprof.datasets.spaces.named import get_space

SMALL_PROGRAM = """
import typer
app = typer.Typer()

@app.command()
def hello(name: str = "you", loud: bool = False) -> None:
    "Say hello."

@app.command()
def goodbye(name: str = "you") -> None:
    "Say goodbye."

app()
"""
LATPROF = "from latprof.cli.main import main; main()"


class Starts:
    """Starts processes with bytecode kept in a folder."""

    def __init__(self, folder: str, pairs: int) -> None:
        self._pairs = pairs
        self._environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def cpu_seconds(self, code: str, *arguments: str) -> float:
        """CPU time of one process that runs ``code``, its output thrown away."""
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"exit status {process.returncode}: {code} {' '.join(arguments)}")
        return usage.ru_utime + usage.ru_stime

    def compare(
        self, label: str, limit: float, program: tuple[str, ...], other: tuple[str, ...]
    ) -> bool:
        """Print the ratio of two programs beside what it may be; whether it keeps that."""
        for warmed in (program, other):
            self.cpu_seconds(*warmed)
        pairs = [(self.cpu_seconds(*program), self.cpu_seconds(*other)) for _ in range(self._pairs)]
        first, second = zip(*pairs, strict=True)
        middle = statistics.median(a / b for a, b in pairs)
        print(
            f"{label}: {middle:.2f} (of the least: {min(first) / min(second):.2f}; "
            f"{min(first):.3f} s / {min(second):.3f} s), at most {limit:g}",
            flush=True,
        )
        return middle <= limit


def main() -> None:
    """Print all ratios beside what they may be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="processes of each program")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a figure is missed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        starts = Starts(folder, arguments.pairs)
        good = starts.compare(
            "import latprof / import numpy", 1.2, ("import latprof",), ("import numpy",)
        )
        good &= starts.compare(
            "latprof --help / small typer --help",
            1.5,
            (LATPROF, "--help"),
            (SMALL_PROGRAM, "--help"),
        )
        for name in ("proxyless", "mnasnet"):
            space = get_space(name)
            (architecture,) = space.architectures(space.sample_choices(1, seed=0))
            path = Path(folder) / f"{name}.onnx"
            path.write_bytes(space.onnx_bytes(architecture))
            label = f"latprof predict, a network of {name} / python -c pass"
            good &= starts.compare(label, 18, (LATPROF, "predict", str(path)), ("pass",))
    if arguments.check and not good:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
