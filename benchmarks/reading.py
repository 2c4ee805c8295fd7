"""How long a MobileNetV2 takes to be read and predicted: ``python -m benchmarks.reading``.

In one process, as CI jobs and search codes ask: the guarded child that infers shapes is up. Wall
time of many repetitions; the least is what the work takes, the median what this computer made of it
meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnx

from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.proxyless import (
    MOBILENET_V2_CHOICES,
    MOBILENET_V2_WIDTHS,
    ProxylessSpace,
)
from latprof.graph.reader import read_network
from latprof.predictors.pack.answering import predict_network
from latprof.predictors.pack.saving import load_pack
from latprof.predictors.pack.shipped import DEFAULT_PACK

#: Milliseconds.
READ, READ_AND_PREDICT, PREDICT = 15.0, 18.0, 3.0


def milliseconds(work: Callable[[], object], times: int) -> tuple[float, float]:
    """Least and median wall time, after a first time that does not count."""
    work()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(1e3 * (time.perf_counter() - start))
    return min(found), statistics.median(found)


def main() -> None:
    """Print the three figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    times = parser.parse_args().times
    space = ProxylessSpace(widths=MOBILENET_V2_WIDTHS)
    model = space.build_onnx(Architecture(space.name, MOBILENET_V2_CHOICES))
    pack = load_pack(DEFAULT_PACK)
    with tempfile.TemporaryDirectory(prefix="latprof-") as folder:
        path = Path(folder) / "mobilenetv2.onnx"
        onnx.save(model, path)
        network = read_network(path)
        for text, work, most in (
            ("read", lambda: read_network(path), READ),
            (
                "read and predicted",
                lambda: predict_network(pack, read_network(path), "m"),
                READ_AND_PREDICT,
            ),
            ("predicted after reading", lambda: predict_network(pack, network, "m"), PREDICT),
        ):
            least, median = milliseconds(work, times)
            print(f"MobileNetV2 {text}: {least:.1f} ms, median {median:.1f} (at most {most:g})")


if __name__ == "__main__":
    main()
