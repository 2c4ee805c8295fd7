"""ONNX Runtime on this processor: what the contract's suite does not ask."""

import time

from latprof.datasets.proxyless import ProxylessSpace
from latprof.profilers.base import RunOptions
from latprof.profilers.cpu_onnxruntime import CpuOnnxRuntime

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=64, num_classes=10)


def test_idle_sessions_leave_the_cores_to_others():
    """A pool that waits for its next run in a loop would slow whatever is measured meanwhile."""
    profiler = CpuOnnxRuntime(RunOptions(threads=2))
    model = profiler.load(SPACE.onnx_bytes(SPACE.sample(1)[0]))
    used = []
    for _ in range(5):
        model.run(3)
        start = time.process_time()
        time.sleep(0.03)
        used.append(time.process_time() - start)
    assert min(used) < 0.005


def test_several_threads_are_part_of_the_targets_identity():
    one, two = (CpuOnnxRuntime(RunOptions(threads=n)).target((1, 3, 64, 64)) for n in (1, 2))
    assert one.differences(two) == ["threads 1 against 2"]
