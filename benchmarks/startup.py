"""How long `import latprof` and `latprof --help` take, against `import numpy` and a small program.

Whole processes in turn (A, B, A, B, ...), the median of the pairs' ratios.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

PAIRS = 15

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


def seconds(code: str, *arguments: str) -> float:
    """Time one process that runs ``code``."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def ratio(code: str, other: str, *arguments: str) -> tuple[float, float, float]:
    """Return the median ratio of two programs, and the median seconds of each."""
    for program in (code, other):
        seconds(program, *arguments)
    pairs = [(seconds(code, *arguments), seconds(other, *arguments)) for _ in range(PAIRS)]
    first, second = zip(*pairs, strict=True)
    middle = statistics.median(a / b for a, b in pairs)
    return middle, statistics.median(first), statistics.median(second)


def main() -> None:
    """Print both ratios beside what they may be."""
    value, a, b = ratio("import latprof", "import numpy")
    print(f"import latprof / import numpy: {value:.2f} ({a:.3f} s / {b:.3f} s), at most 1.2")
    command = "from latprof.cli.main import main; main()"
    value, a, b = ratio(command, SMALL_PROGRAM, "--help")
    print(f"latprof --help / small typer --help: {value:.2f} ({a:.3f} s / {b:.3f} s), at most 1.5")


if __name__ == "__main__":
    main()
