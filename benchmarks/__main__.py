"""Print the figures that the documents cite: ``python -m benchmarks [--data FOLDER]``.

One benchmark after the other, each in a process of its own so that none warms another up, in the
order of docs/benchmarks.md. Those on public collections take ``--data``, a folder that
docs/importing.md describes; they, and those that need a GPU, are left out with a line where there
is none. Exits with status 1 where a benchmark failed, after all have run.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from latprof.datasets.published.loading import dataset_names
from latprof.profilers.targets import profiler_class

DATA = "{data}"
GPU = "cuda:0:torch"


@dataclass(frozen=True)
class Benchmark:
    """A module of this package with its arguments; ``DATA`` stands for the folder of ``--data``."""

    module: str
    arguments: tuple[str, ...] = ()
    gpu: bool = False
    phone: bool = False

    def command(self, data: Path | None) -> list[str]:
        """The command, to be run at the top of the repository."""
        arguments = [str(data) if each == DATA else each for each in self.arguments]
        return [sys.executable, "-m", f"benchmarks.{self.module}", *arguments]

    def missing(self, data: Path | None) -> str:
        """What this host lacks; empty where it can run."""
        if DATA in self.arguments and data is None:
            return "needs --data FOLDER, the public collections (make bench DATA=FOLDER)"
        if self.gpu:
            found = profiler_class(GPU).availability()
            return "" if found.state == "ready" else f"needs {GPU}: {found.detail}"
        if self.phone and shutil.which("adb") is None:
            return "needs Debian's packages for a test phone: make debian-packages"
        return ""

    def __str__(self) -> str:
        return " ".join([self.module, *(a for a in self.arguments if a != DATA)])


def benchmarks() -> list[Benchmark]:
    """All of them, those first that measure nothing."""
    public = ("--data", DATA)
    return [
        *(Benchmark("dataset", (name,)) for name in dataset_names()),
        Benchmark("public", public),
        Benchmark("public", (*public, "--intervals")),
        Benchmark("public", (*public, "--few")),
        Benchmark("transfer", public),
        Benchmark("imported", (DATA,)),
        Benchmark("published_packs", public),
        Benchmark("kernels", public),
        Benchmark("kernels", ("--part", "networks")),
        Benchmark("searchers", public),
        Benchmark("cross_target", public),
        Benchmark("mutations"),
        Benchmark("fusion"),
        Benchmark("exports"),
        Benchmark("predictors"),
        Benchmark("speed"),
        Benchmark("startup"),
        Benchmark("reading"),
        Benchmark("supernets"),
        Benchmark("collection_cost"),
        Benchmark("repeatability"),
        Benchmark("protocol"),
        Benchmark("comparison"),
        Benchmark("farm"),
        Benchmark("phone", phone=True),
        Benchmark("runner_ratios"),
        Benchmark("busy"),
        Benchmark("runtimes"),
        Benchmark("pruning", ("--column", "300")),
        Benchmark("tflite_writer"),
        Benchmark("zoo"),
        Benchmark("mixed_precision"),
        Benchmark("verify"),
        Benchmark("own_space"),
        Benchmark("gpu", gpu=True),
    ]


def main() -> None:
    """Run what can be run here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the public collections")
    parser.add_argument("--only", default="", help="modules, with commas; all of them else")
    parser.add_argument("--list", action="store_true", help="print the commands and run nothing")
    arguments = parser.parse_args()
    known = {each.module for each in benchmarks()}
    only = set(filter(None, arguments.only.split(","))) or known
    if only - known:
        parser.error(f"no benchmark {', '.join(sorted(only - known))}; there are {sorted(known)}")
    failed = []
    for benchmark in benchmarks():
        if benchmark.module not in only:
            continue
        missing = benchmark.missing(arguments.data)
        print(f"== {benchmark}" + (f": left out, {missing}" if missing else ""), flush=True)
        if missing or arguments.list:
            continue
        if subprocess.run(benchmark.command(arguments.data), check=False).returncode:
            failed.append(str(benchmark))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
