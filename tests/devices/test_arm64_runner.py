"""The arm64 runner under qemu with LiteRT's arm64 library: what it computes, not how fast."""

import numpy as np
import pytest
from arm64 import CLOCKS_KHZ, arm64_folder, command
from runners import a_runner, litert

import latprof
from latprof.graph.convert.to_tflite import tflite_skeleton
from latprof.profilers.runtimes.android.runner.runner_client import RunnerTimeouts, runner_program

SPACES = ("proxyless", "mnasnet", "ofa-mobilenetv3")
SLOW = RunnerTimeouts(start_s=300, open_s=300, load_s=600, plan_s=1800, ask_s=300)


@pytest.fixture(scope="module")
def arm64(tmp_path_factory):
    return arm64_folder(tmp_path_factory.mktemp("arm64"))


@pytest.fixture(scope="module")
def skeletons(tmp_path_factory):
    folder = tmp_path_factory.mktemp("skeletons")
    for name in SPACES:
        space = latprof.get_space(name)
        content = space.onnx_bytes(space.sample(1, seed=1)[0])
        (folder / name).write_bytes(tflite_skeleton(content, seed=3))
    return folder


def outputs(library, skeletons, started):
    """Each network's output, and the conditions the runner saw."""
    found = []
    with a_runner(library, SLOW, started) as client:
        for name in SPACES:
            client.load(0, str(skeletons / name), seed=8)
            client.run_plan([(0, 1)])
            found.append(np.frombuffer(client.output(0, first_bytes=1 << 20).data, np.float32))
            client.unload(0)
        return found, client.greeting, client.conditions()


def test_arm64_computes_what_x86_does_from_the_same_skeletons(arm64, skeletons):
    started = command(arm64, runner_program("arm64-linux"))
    there, greeting, conditions = outputs(str(arm64 / "libLiteRt.so"), skeletons, started)
    here, _, _ = outputs(litert(), skeletons, ())
    assert greeting.abi == "arm64-linux"
    assert [clock.highest_khz for clock in conditions.clocks] == list(CLOCKS_KHZ)
    for ours, theirs in zip(here, there, strict=True):
        assert np.abs(ours).max() > 0
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4 * np.abs(ours).max())
