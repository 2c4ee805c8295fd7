"""The runner's program for this computer, against the libraries of the runtimes' own wheels."""

import hashlib
import os
import signal
import zlib
from pathlib import Path

import numpy as np
import pytest
from command_line import LONGEST_S
from elf import read_elf
from onnx import TensorProto, helper
from runners import a_process, a_runner, litert, onnxruntime, random_input
from tvm_networks import small_network

from latprof.common.children.child import ENDED_WELL
from latprof.errors import (
    DeviceError,
    MeasurementTimeoutError,
    RuntimeFailedError,
    UnsupportedModelError,
)
from latprof.graph.convert.to_tflite import tflite_bytes, tflite_skeleton
from latprof.profilers.runtimes.android.runner.runner_client import (
    ABIS,
    RunnerClient,
    RunnerTimeouts,
    runner_program,
)
from latprof.profilers.runtimes.android.runner.runner_lines import read_answer, request_line
from latprof.profilers.visits.network_source import reference_network

pytestmark = pytest.mark.skipif(
    os.uname().machine != "x86_64" or os.uname().sysname != "Linux", reason="x86-64 Linux only"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small network: the paths of its ONNX and TFLite file and skeleton."""
    folder = tmp_path_factory.mktemp("runner models")  # a path with a space
    network = small_network(resolution=64)
    content = network if isinstance(network, bytes) else network.SerializeToString()
    files = {
        "onnx": content,
        "tflite": tflite_bytes(content),
        "skeleton": tflite_skeleton(content, seed=5),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: str(folder / name) for name in files}


def outputs(client, number):
    output = client.output(number, first_bytes=1 << 20)
    assert output.total_bytes == len(output.data)
    assert output.sha256 == hashlib.sha256(output.data).hexdigest()
    return np.frombuffer(output.data, np.float32).reshape(output.info.shape)


def test_onnx_runtime_through_the_runner_computes_what_it_does_in_python(model):
    import onnxruntime as ort

    with a_runner(onnxruntime()) as client:
        loaded = client.load(3, model["onnx"], seed=11)
        client.run_plan([(3, 1)])
        got = outputs(client, 3)
    session = ort.InferenceSession(model["onnx"], providers=["CPUExecutionProvider"])
    feed = {info.name: random_input(info, 11 + index) for index, info in enumerate(loaded.inputs)}
    (expected,) = session.run(None, feed)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_litert_through_the_runner_computes_what_it_does_in_python(model):
    path = litert()
    from ai_edge_litert.interpreter import Interpreter

    with a_runner(path) as client:
        loaded = client.load(0, model["tflite"], seed=11)
        client.run_plan([(0, 1)])
        got = outputs(client, 0)
    interpreter = Interpreter(model_path=model["tflite"], num_threads=1)
    interpreter.allocate_tensors()
    (detail,) = interpreter.get_input_details()
    interpreter.set_tensor(detail["index"], random_input(loaded.inputs[0], 11))
    interpreter.invoke()
    expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_skeleton_is_filled_with_the_stated_numbers(model, tmp_path):
    from latprof.graph.convert.skeletons import filled

    whole = tmp_path / "whole"
    whole.write_bytes(filled(Path(model["skeleton"]).read_bytes()))
    with a_runner(litert()) as client:
        loaded = [client.load(0, model["skeleton"]), client.load(1, str(whole))]
        client.run_plan([(0, 1), (1, 1)])
        first, second = (outputs(client, number) for number in range(2))
    assert [entry.from_skeleton for entry in loaded] == [True, False]
    assert loaded[0].file_bytes == loaded[1].file_bytes == whole.stat().st_size
    np.testing.assert_array_equal(first, second)
    assert np.abs(first).max() > 0


@pytest.mark.parametrize("where", [litert, onnxruntime])
def test_a_plan_returns_every_run_of_every_burst(where, model):
    with a_runner(where()) as client:
        name = "tflite" if where is litert else "onnx"
        client.load(0, model[name])
        client.load(7, model[name], threads=2)
        core = client.set_affinity(client.greeting.cores[-1:])
        result = client.run_plan([(0, 3), (7, 2), (0, 4)])
        conditions = client.conditions()
    assert [(burst.model, len(burst.runs)) for burst in result.bursts] == [(0, 3), (7, 2), (0, 4)]
    runs = [run for burst in result.bursts for run in burst.runs]
    assert 0 < sum(run.wall_ns for run in runs) < result.end_ns - result.start_ns
    assert {run.core for run in runs} == set(core) == set(conditions.cores)
    # Of one thread on one core: no more CPU time than wall time, but for the clocks' steps.
    alone = [run for burst in result.bursts if burst.model == 0 for run in burst.runs]
    assert all(0 < run.cpu_ns < run.wall_ns + 1e6 for run in alone)
    assert result.memory.peak_kb >= result.memory.resident_kb > 0
    assert conditions.now_ns > result.end_ns


def test_kernels_of_litert_have_the_names_of_xnnpack(model):
    with a_runner(litert()) as client:
        client.load(0, model["tflite"], profile="/nowhere")
        runs = client.kernels(0, 3)
    assert len(runs) == 3
    names = [[event.name for event in run if event.kind == 8] for run in runs]
    assert names[0] == names[1] == names[2]
    assert any("DWConv" in name for name in names[0])
    assert any("GEMM" in name for name in names[0])
    assert [event.operator for event in runs[0] if event.kind == 8] == list(range(len(names[0])))


def test_kernels_of_onnx_runtime_are_in_its_profile(model, tmp_path):
    import json

    with a_runner(onnxruntime()) as client:
        client.load(0, model["onnx"], profile=str(tmp_path / "profile"))
        path = client.profile_file(0, 3)
        with pytest.raises(DeviceError, match="profile has ended"):
            client.profile_file(0, 1)
    events = json.loads(Path(path).read_text())
    kernels = [event for event in events if event.get("name", "").endswith("_kernel_time")]
    assert len(kernels) >= 3 * 4


def test_an_input_can_be_given(model, tmp_path):
    with a_runner(onnxruntime()) as client:
        loaded = client.load(0, model["onnx"], seed=1)
        client.run_plan([(0, 1)])
        by_seed = outputs(client, 0)
        path = tmp_path / "values"
        path.write_bytes(random_input(loaded.inputs[0], 2).tobytes())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        client.set_input(0, 0, str(path), digest)
        client.run_plan([(0, 1)])
        given = outputs(client, 0)
        client.load(1, model["onnx"], seed=2)
        client.run_plan([(1, 1)])
        np.testing.assert_array_equal(given, outputs(client, 1))
        assert np.abs(given - by_seed).max() > 0
        path.write_bytes(b"123")
        with pytest.raises(DeviceError, match="3 bytes"):
            client.set_input(0, 0, str(path))


@pytest.mark.parametrize("dtype", ["INT64", "INT32", "UINT8", "BOOL", "FLOAT16", "DOUBLE", "INT16"])
def test_inputs_of_every_kind_are_valid(dtype, tmp_path):
    kind = getattr(TensorProto, dtype)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", kind, [2, 50])],
        [helper.make_tensor_value_info("y", kind, [2, 50])],
    )
    opset = [helper.make_opsetid("", 17)]
    path = tmp_path / "model.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    )
    with a_runner(onnxruntime()) as client:
        client.load(0, str(path), seed=4)
        client.run_plan([(0, 1)])
        output = client.output(0, first_bytes=1 << 10)
    values = np.frombuffer(output.data, helper.tensor_dtype_to_np_dtype(kind)).astype(np.float64)
    assert values.shape == (100,)
    if dtype in {"FLOAT16", "DOUBLE"}:
        assert 0.7 < values.std() < 1.3
        assert np.abs(values).max() < 1.74
    else:
        assert set(values) == ({0, 1} if dtype == "BOOL" else set(range(1, 8)))


# ---- faults ----


def test_files_are_refused_by_name_content_and_digest(model, tmp_path):
    damaged = bytearray(Path(model["skeleton"]).read_bytes())
    damaged[-1] ^= 1
    content = Path(model["tflite"]).read_bytes()
    files = {
        "damaged": damaged,
        "cut": content[: len(content) // 2],
        "text": b"hello" * 9,
        "empty": b"",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with a_runner(litert()) as client:
        for name, code, kind in [
            ("damaged", "bad-skeleton", DeviceError),
            ("cut", "unsupported", UnsupportedModelError),
            ("text", "unsupported", UnsupportedModelError),
            ("empty", "unsupported", UnsupportedModelError),
            ("absent", "no-file", DeviceError),
            ("", "no-file", DeviceError),
        ]:
            with pytest.raises(kind) as error:
                client.load(0, str(tmp_path / name))
            assert error.value.field == code
        with pytest.raises(DeviceError, match=hashlib.sha256(content).hexdigest()):
            client.load(0, model["tflite"], sha256="0" * 64)
        client.load(0, model["tflite"], sha256=hashlib.sha256(content).hexdigest())
        assert client.run_plan([(0, 1)]).bursts


@pytest.mark.parametrize("seed", range(8))
def test_mutated_skeletons_never_crash_the_runner(seed, model, tmp_path):
    """With a right checksum, so that the table itself is what is checked."""
    generator, refusals = np.random.default_rng(seed), []
    skeleton = bytearray(Path(model["skeleton"]).read_bytes())
    with a_runner(litert()) as client:
        for attempt in range(25):
            mutant = bytearray(skeleton)
            for _ in range(int(generator.integers(1, 4))):
                mutant[int(generator.integers(8, 120))] = int(generator.integers(256))
            mutant = mutant[: int(generator.integers(20, len(mutant) + 1))]
            if len(mutant) >= 24:
                mutant[20:24] = zlib.crc32(mutant[24:]).to_bytes(4, "little")
            path = tmp_path / f"{attempt}"
            path.write_bytes(mutant)
            try:
                client.load(0, str(path))
            except DeviceError as error:
                refusals.append(error.field)
                if error.field == "crashed":  # a model that is none, in the library itself
                    break
            else:
                client.unload(0)
    assert "bad-skeleton" in refusals
    assert set(refusals) <= {"bad-skeleton", "unsupported", "no-memory", "crashed"}


def test_libraries_that_cannot_be_used_are_refused(tmp_path):
    text = tmp_path / "text.so"
    text.write_text("no library")
    with a_runner() as client:
        for path, match in [
            (str(tmp_path / "absent.so"), "absent.so"),
            (str(text), "text.so"),
            ("libm.so.6", "neither LiteRT"),
        ]:
            with pytest.raises(DeviceError, match=match) as error:
                client.open_library(path)
            assert error.value.field == "no-library"
        with pytest.raises(DeviceError, match="no library is open"):
            client.load(0, str(text))
        client.open_library(onnxruntime())  # it is still of use
        with pytest.raises(DeviceError, match="open already"):
            client.open_library(onnxruntime())


def test_values_outside_their_limits_are_refused(model):
    with a_runner(onnxruntime()) as client:
        client.load(0, model["onnx"])
        for bursts, match in [
            ([], "bursts"),
            ([(0, 0)], "bursts"),
            ([(64, 1)], "bursts"),
            ([(1, 1)], "no model 1"),
            ([(0, 65537)], "bursts"),
            ([(0, 60000), (0, 60000)], "65536 runs"),
            ([(0, 1)] * 4097, "4096 bursts"),
        ]:
            with pytest.raises(DeviceError, match=match):
                client.run_plan(bursts)
        with pytest.raises(DeviceError, match="loaded already"):
            client.load(0, model["onnx"])
        with pytest.raises(DeviceError, match="up to 63"):
            client.load(64, model["onnx"])
        with pytest.raises(DeviceError, match="has not run"):
            client.output(0)
        with pytest.raises(DeviceError, match="with a profile"):
            client.kernels(0, 1)
        with pytest.raises(DeviceError) as error:
            client.set_affinity([1000])
        assert error.value.field == "affinity"
        assert client.run_plan([(0, 2)]).bursts


def test_a_plan_ends_at_its_deadline_between_runs(model):
    quick = RunnerTimeouts(start_s=120, open_s=120, load_s=240, plan_s=0.05)
    with a_runner(onnxruntime(), quick) as client:
        client.load(0, model["onnx"])
        with pytest.raises(MeasurementTimeoutError, match="of 65536 runs"):
            client.run_plan([(0, 65536)])


GARBAGE = [
    b"",
    b"hello",
    b"1 conditions",
    b"1 conditions #00000000",
    b"x" * 70_000,
    b"1 conditions  #" + b"%08x" % zlib.crc32(b"1 conditions "),
    b"\x00\xff\x80 #\x00",
    b"-1 conditions #%08x" % zlib.crc32(b"-1 conditions"),
    b"1 load path=%zz #" + b"%08x" % zlib.crc32(b"1 load path=%zz"),
    b"1 load a=1 a=2 #" + b"%08x" % zlib.crc32(b"1 load a=1 a=2"),
]


def test_garbage_is_refused_in_a_line_and_the_next_request_answered():
    with a_process() as child:
        assert read_answer(child.read_line(LONGEST_S, 1 << 16)).kind == "hello"
        for number, garbage in enumerate(GARBAGE, start=1):
            child.write(garbage + b"\n", LONGEST_S)
            answer = read_answer(child.read_line(LONGEST_S, 1 << 16))
            assert (answer.number, answer.kind, answer.text("code")) == (0, "err", "garbled")
            child.write(request_line(number, "conditions", {}), LONGEST_S)
            answer = read_answer(child.read_line(LONGEST_S, 1 << 16))
            assert (answer.number, answer.kind) == (number, "ok")


@pytest.mark.parametrize("seed", range(4))
def test_random_requests_are_each_answered_in_one_line(seed):
    generator = np.random.default_rng(seed)
    verbs = ["open", "load", "unload", "input", "plan", "kernels", "output", "affinity", "x" * 90]
    names = ["path", "model", "bursts", "runs", "index", "bytes", "cores", "deadline_ms", "threads"]
    values = ["0", "1", "99999999999999999999", "-1", "", "%", "a b", "0x1", "0x1,", "é" * 50, "/"]
    with a_process() as child:
        child.read_line(LONGEST_S, 1 << 16)
        for number in range(1, 101):
            fields = {str(generator.choice(names)): str(generator.choice(values)) for _ in range(4)}
            verb = str(generator.choice(verbs))
            child.write(request_line(number, verb, fields), LONGEST_S)
            answer = read_answer(child.read_line(LONGEST_S, 1 << 16))
            assert answer.number == number
            assert answer.kind == "err" or (verb == "affinity" and answer.raw("cores"))


def test_requests_may_come_in_pieces_and_several_at_once():
    with a_process() as child:
        child.read_line(LONGEST_S, 1 << 16)
        lines = b"".join(request_line(number, "conditions", {}) for number in range(1, 4))
        for start in range(0, 20, 7):
            child.write(lines[start : start + 7], LONGEST_S)
        child.write(lines[21:], LONGEST_S)
        answers = [read_answer(child.read_line(LONGEST_S, 1 << 16)) for _ in range(3)]
        child.end_input()
        assert [answer.number for answer in answers] == [1, 2, 3]
        assert child.wait(LONGEST_S) == ENDED_WELL


def test_it_ends_when_its_host_goes_also_in_a_plan(model):
    with a_process() as child:
        child.read_line(LONGEST_S, 1 << 16)
        for number, (verb, fields) in enumerate(
            [
                ("open", {"path": onnxruntime()}),
                ("load", {"model": 0, "path": model["onnx"]}),
                ("plan", {"bursts": ",".join(["0x100"] * 600), "deadline_ms": 3_600_000}),
            ],
            start=1,
        ):
            child.write(request_line(number, verb, fields), LONGEST_S)
            if verb != "plan":
                assert read_answer(child.read_line(LONGEST_S, 1 << 16)).kind == "ok"
        child.end_input()
        assert child.wait(LONGEST_S) == ENDED_WELL
        assert child.read_all(LONGEST_S, 1 << 16) == b""  # it did not finish the plan


def test_a_runner_that_is_killed_is_gone_in_a_line(model):
    with a_process() as child:
        client = RunnerClient(child)
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(RuntimeFailedError, match="gone") as error:
            client.conditions()
        assert error.value.field == "gone"
        with pytest.raises(RuntimeFailedError, match="any more"):
            client.conditions()


def test_a_runner_that_hears_nothing_for_long_ends():
    with a_process(runner_program("x86_64-linux"), "50") as child:
        assert child.wait(LONGEST_S) == "ended with status 4"


def test_the_committed_programs_are_small_and_for_what_they_say():
    sizes = [runner_program(abi).stat().st_size for abi in ABIS]
    assert sum(sizes) < 100_000
    android = read_elf(runner_program("arm64-android"))
    assert android.interpreter == "/system/bin/linker64"
    assert set(android.needed) == {"libc.so", "libdl.so"}
    assert min(android.alignments) >= 16384
    assert read_elf(runner_program("arm64-linux")).machine == android.machine == 183


def test_a_cut_model_is_refused_in_a_sentence_that_ends(model, tmp_path):
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(Path(model["tflite"]).read_bytes()[:2000])
    with a_runner(litert()) as client, pytest.raises(UnsupportedModelError) as error:
        client.load(0, str(cut))
    assert not error.value.problem.endswith((":", " ")), error.value.problem


def test_the_models_loaded_first_lie_in_memory_as_all_later_ones(tmp_path):
    """Else the references, which are, would be faster or slower than a network for that alone."""
    path = tmp_path / "model"
    path.write_bytes(tflite_skeleton(reference_network()[1].model(1)))
    content_mb = 16
    with a_runner(litert()) as client:
        found = []
        for _ in range(3):
            before = mapped_mb(client.greeting.pid)
            client.load(0, str(path))
            client.run_plan([(0, 1)])
            found.append(mapped_mb(client.greeting.pid) - before)
            client.unload(0)
    assert found[0] == pytest.approx(found[1], abs=3)
    assert max(found) < content_mb + 3, "weights and activations lie in the heap"


def mapped_mb(pid):
    """Megabytes of a process's own memory outside of its heap."""
    total = 0
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        words = line.split()
        if words[1].startswith("rw") and len(words) < 6:
            first, end = (int(each, 16) for each in words[0].split("-"))
            total += end - first
    return total / 2**20
