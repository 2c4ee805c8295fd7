"""One session in a process of its own, and several side by side; real ones of ONNX Runtime."""

import json
import math
import subprocess
import sys

import pytest

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import LatprofError, RuntimeFailedError, UnsupportedModelError
from latprof.profilers.base import RunOptions
from latprof.profilers.sessions import streams
from latprof.profilers.sessions.load_figures import LoadFigures
from latprof.profilers.sessions.session_process import SessionProcess, load_figures
from latprof.profilers.sessions.streams import measure_streams, throughput_of
from latprof.profilers.visits.network_source import NetworkSource

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
NETWORK = NetworkSource.of_architecture(SPACE, SPACE.sample(1)[0])
TARGET = "cpu:onnxruntime"


def test_loading_costs_time_and_memory_of_a_fresh_process():
    found = load_figures(TARGET, RunOptions(), NETWORK)
    assert found.load_s > 0
    assert found.first_inference_ms > 0
    time, memory = found.describe()
    assert "first inference" in time
    if found.process_peak_bytes is not None:  # Linux
        assert found.process_peak_bytes > found.model_peak_bytes > 0
        assert "MiB" in memory


def test_what_cannot_be_loaded_has_no_figures_and_says_why_to_who_asks(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(SPACE.onnx_bytes(SPACE.sample(1)[0]))
    source = NetworkSource.of_model(path)
    path.write_bytes(b"no model")
    assert math.isnan(load_figures(TARGET, RunOptions(), source).load_s)
    assert load_figures(TARGET, RunOptions(), source).describe() == ("not known", "not known")
    with (
        SessionProcess(TARGET, RunOptions(), source) as session,
        pytest.raises(UnsupportedModelError),
    ):
        session.load()


def test_a_session_goes_before_other_programs_as_measuring_processes_do():
    told, content = NETWORK.handed_over(1)
    asked = {"target": TARGET, "options": RunOptions().to_dict(), "network": told}
    code = (
        "import sys\n"
        "from latprof.profilers.sessions import session_worker as worker\n"
        "worker.take_precedence = lambda: print('goes first', file=sys.stderr)\n"
        "worker.main()\n"
    )
    line = json.dumps(asked).encode() + b"\n" + content
    done = subprocess.run([sys.executable, "-c", code], input=line, capture_output=True, check=True)
    assert b"goes first" in done.stderr
    assert json.loads(done.stdout)["load_s"] > 0


def test_answers_that_are_no_numbers_are_no_figures():
    found = LoadFigures.of({"load_s": "soon", "first_inference_ms": True, "other": 1})
    assert found == LoadFigures() or math.isnan(found.load_s)
    assert found.first_inference_ms is None


def test_streams_run_side_by_side_and_add_up():
    rounds = []
    found = measure_streams(
        TARGET,
        RunOptions(),
        NETWORK,
        2,
        (1, 2),
        cores=1,
        window_s=0.05,
        on_round=lambda: rounds.append(1),
    )
    assert len(rounds) == 2 * streams.ROUNDS
    one, two = found
    assert (one.streams, two.streams) == (1, 2)
    assert one.speedup == 1
    assert 0 < one.lowest <= one.throughput <= one.highest
    assert two.speedup == pytest.approx(two.throughput / one.throughput, rel=1.0)
    assert (one.oversubscribed, two.oversubscribed) == (False, True)
    values = two.to_dict()
    assert values["items_per_s"] == two.throughput
    assert values["raw_runs"] > 0


def test_throughput_is_of_all_streams_and_their_batches():
    assert throughput_of([[2.0, 2.0], [4.0]], 8) == pytest.approx(8 * (500 + 250))


def test_a_session_that_dies_is_a_failure_of_the_runtime():
    with SessionProcess(TARGET, RunOptions(), NETWORK) as session:
        session.load()
        session.close()
        with pytest.raises((RuntimeFailedError, ValueError, LatprofError)):
            session.begin(0.0, 1.0)
