"""Print every promised figure, one benchmark after the other: ``python -m benchmarks``."""

from __future__ import annotations

import subprocess
import sys

NAMES = (
    *("startup", "predictors", "mutations", "dataset"),
    *("protocol", "repeatability", "collection_cost", "comparison"),
    *("supernets", "verify", "runtimes"),
)


def main() -> None:
    """Run each in a process of its own, so that none warms another up."""
    for name in NAMES:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)


if __name__ == "__main__":
    main()
