"""What the TFLite writer makes of every search space: ``python -m benchmarks.tflite_writer``.

Networks of each space with random weights are written as TFLite files. Printed are the CPU time of
a network (median; the first one, which loads libraries, does not count), the largest difference of
LiteRT's outputs to ONNX Runtime's (the largest absolute difference by the largest absolute output,
for one normal random input each), the size of file and skeleton, and how long a filled skeleton
runs, divided by the file itself: the median over fresh loads of both. ``--litert-torch`` also
converts one network of each space with litert-torch (seconds to minutes each) and says whether the
outputs have the same bits and how long the file that was written runs, divided by litert-torch's.
``--check`` exits with status 1 where a promised figure is missed.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from latprof.datasets.spaces.named import get_space
from latprof.graph.convert.skeletons import filled
from latprof.graph.convert.tflite.translation import write_tflite
from latprof.graph.convert.to_tflite import convert_with_torch, silenced, tflite_skeleton
from latprof.registry import SPACES

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_DIFFERENCE = 1e-5
CPU_MS = 50.0
SKELETON = 0.01
_LOADS = 20
_BURSTS = 4


@dataclass(frozen=True)
class Written:
    """What was found of one network."""

    cpu_ms: float
    difference: float
    file_bytes: int
    skeleton_bytes: int


def written(model: bytes, seed: int) -> Written:
    """Write one network, and compare what it computes."""
    start = time.process_time()
    content = write_tflite(model).content
    cpu_ms = (time.process_time() - start) * 1e3
    assert "torch" not in sys.modules, "writing a model needs no torch"
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    values = np.random.default_rng(seed).standard_normal(image.shape).astype(np.float32)
    (expected,) = session.run(None, {image.name: values})
    found = Loaded(content).outputs(values)
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    return Written(cpu_ms, difference, len(content), len(tflite_skeleton(model)))


class Loaded:
    """A TFLite model in LiteRT's interpreter, one thread."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with silenced():
            self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        (self._taken,) = self._interpreter.get_input_details()
        (self._given,) = self._interpreter.get_output_details()
        shape = tuple(self._taken["shape"])
        images = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
        self._interpreter.set_tensor(self._taken["index"], images)

    def outputs(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run once on channels-first images."""
        self._interpreter.set_tensor(self._taken["index"], images.transpose(0, 2, 3, 1).copy())
        self._interpreter.invoke()
        result: NDArray[np.float32] = self._interpreter.get_tensor(self._given["index"])
        return result

    def least_seconds(self, runs: int) -> float:
        """The least CPU time of some runs, which a busy machine changes least."""
        times = []
        for _ in range(runs):
            start = time.thread_time()
            self._interpreter.invoke()
            times.append(time.thread_time() - start)
        return min(times)


def latency_ratio(first: bytes, second: bytes) -> float:
    """How long the first runs, divided by the second: the median over fresh loads of both.

    Two loads of one model differ by about 1.4 % for as long as they live. Which of the two is
    loaded first changes from load to load.
    """
    ratios = []
    for load in range(_LOADS):
        order = (first, second) if load % 2 else (second, first)
        models = [Loaded(content) for content in order]
        least = [math.inf, math.inf]
        for _ in range(_BURSTS):
            least = [min(t, m.least_seconds(3)) for t, m in zip(least, models, strict=True)]
        ratios.append(least[0] / least[1] if load % 2 else least[1] / least[0])
    return statistics.median(ratios)


def against_torch(name: str, model: bytes) -> None:
    """Print how a network compares with litert-torch's form of it."""
    start = time.process_time()
    other = convert_with_torch(model)
    seconds = time.process_time() - start
    ours = write_tflite(model).content
    (image,) = onnxruntime.InferenceSession(model).get_inputs()
    values = np.random.default_rng(0).standard_normal(image.shape).astype(np.float32)
    found, expected = (Loaded(content).outputs(values) for content in (ours, other))
    same = "the same" if np.array_equal(found, expected) else "other"
    ratio = latency_ratio(ours, other)
    print(f"{name}: {seconds:.1f} s by litert-torch, {same} output bits, latency ratio {ratio:.3f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=5, help="networks of each space")
    parser.add_argument("--spaces", default=",".join(SPACES.names()), help="with commas")
    parser.add_argument("--litert-torch", action="store_true", help="compare with it (minutes)")
    parser.add_argument("--check", action="store_true", help="exit with status 1 on a miss")
    arguments = parser.parse_args()
    models, everything, ratios = {}, [], []
    print(
        "space                CPU ms   difference   file kB   skeleton kB   skeleton/file latency"
    )
    for name in arguments.spaces.split(","):
        space = get_space(name)
        networks = [space.onnx_bytes(each) for each in space.sample(arguments.n, seed=1)]
        models[name] = networks[0]
        write_tflite(networks[0])
        rows = [written(model, seed) for seed, model in enumerate(networks)]
        content = write_tflite(networks[0]).content
        ratios.append(latency_ratio(filled(tflite_skeleton(networks[0])), content))
        everything += rows
        print(
            f"{name:18} {statistics.median(row.cpu_ms for row in rows):8.1f}"
            f" {max(row.difference for row in rows):12.1e}"
            f" {statistics.median(row.file_bytes for row in rows) / 1e3:9.0f}"
            f" {statistics.median(row.skeleton_bytes for row in rows) / 1e3:13.0f}"
            f" {ratios[-1]:23.4f}",
            flush=True,
        )
    median = statistics.median(row.cpu_ms for row in everything)
    largest = max(row.difference for row in everything)
    apart = max(abs(ratio - 1) for ratio in ratios)
    print(f"all {len(everything)} networks: {median:.1f} ms (promised {CPU_MS:.0f}),", end=" ")
    print(f"largest difference {largest:.1e} (promised {LARGEST_DIFFERENCE:.0e}),", end=" ")
    print(f"skeletons within {apart:.1%} (promised {SKELETON:.0%})")
    if arguments.litert_torch:
        for name, model in models.items():
            against_torch(name, model)
    if arguments.check and (median > CPU_MS or largest > LARGEST_DIFFERENCE or apart > SKELETON):
        raise SystemExit("a promised figure is missed")


if __name__ == "__main__":
    main()
