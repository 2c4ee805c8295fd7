"""GPUs and NPUs by the official benchmark_model, here a script that prints what they print."""

import pytest
from fake_benchmark import (
    COMPLETELY,
    LITERT,
    NOT_AT_ALL,
    PARTIALLY,
    TFLITE,
    fake_benchmark,
    microseconds,
)
from local_phone import FACTS, LocalPhone
from tvm_networks import small_network

from latprof.errors import (
    DeviceError,
    InputFileError,
    InvalidValueError,
    MeasurementTimeoutError,
    RuntimeFailedError,
    UnsupportedModelError,
    UsageError,
)
from latprof.measurement.budgets import Budget
from latprof.measurement.records import PairedProtocol
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.android.libraries.program_file import read_program
from latprof.profilers.runtimes.android.library import remember_library
from latprof.profilers.runtimes.android.measuring import (
    adb_benchmark_model,
    phone_session,
    work_folder,
)
from latprof.profilers.runtimes.android.measuring.adb_benchmark_model import AdbBenchmarkModel
from latprof.profilers.runtimes.android.measuring.benchmark_output import (
    flags_not_taken,
    read_averages,
)
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource
from latprof.workflows.android import android
from latprof.workflows.budget_checks import profile_verdict

# What they print ----------------------------------------------------------------------------------

CLASSIC = """INFO: Initialized session in 5664.36ms.
INFO: Though NNAPI delegate is explicitly applied, the model graph will not be executed by the \
delegate.
INFO: count=2 first=328140 curr=309932 min=309932 max=328140 avg=319036 std=9104 p5=309932

INFO: count=50 first=307215 curr=309783 min=305938 max=333030 avg=309350 std=4411 p5=306372 \
median=307968 p95=315711

INFO: Inference timings in us: Init: 5664363, First inference: 328140, Warmup (avg): 319036, \
Inference (avg): 309350
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only"""


def test_averages_of_both_generations():
    found = read_averages(CLASSIC, "nnapi")
    assert (found.average_ms, found.runs, found.delegated) == (309.35, 50, "none")
    assert (found.min_ms, found.max_ms, found.std_ms, found.init_ms) == pytest.approx(
        (305.938, 333.03, 4.411, 5664.363)
    )
    assert read_averages(CLASSIC, "gpu").delegated == ""
    found = read_averages("Warmup (avg): 99 ms (1 runs)\nInference (avg): 12.34 ms (50 runs)\n")
    assert (found.average_ms, found.runs, found.init_ms) == (12.34, 50, None)
    assert read_averages("Inference (avg): 1.23457e+06").average_ms == pytest.approx(1234.57)
    assert read_averages("Inference (avg): 850 us").average_ms == pytest.approx(0.85)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Inference (avg): nan ms",
        "Inference (avg): 0",
        "Inference (avg): -3 ms (50 runs)",
        "Inference (avg): 1e999",
        "Inference (avg): 3 ns (50 runs)",
        "Inference (avg): " + "9" * 400 + " ms",
        "Inference (avg):" * 100_000,
        "count=" * 100_000,
        "Segmentation fault",
    ],
)
def test_what_holds_no_average_is_refused(text):
    with pytest.raises(RuntimeFailedError, match="no average"):
        read_averages(text, "gpu")


def test_options_that_a_program_does_not_know():
    assert flags_not_taken("WARN: Unconsumed cmdline flags: --a=1 --b\nINFO: x") == "--a=1 --b"
    assert flags_not_taken(CLASSIC) == ""


# The program --------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [TFLITE, LITERT])
def test_the_generation_is_told_by_the_program(tmp_path, generation, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = tmp_path / "benchmark_model"
    path.write_text(fake_benchmark(generation))
    kept = android("setup", path, runtime="benchmark-model", abi="x86_64").library
    assert (kept.runtime, kept.api) == ("benchmark-model", f"{generation}-benchmark")
    assert kept.path.read_bytes() == path.read_bytes()
    elf = b"\x7fELF\x02" + bytes(13) + b"\xb7\x00" + bytes(60) + path.read_bytes()
    assert read_program(elf, "b").abi == "arm64-v8a"
    with pytest.raises(DeviceError, match="ABI"):
        read_program(elf, "b", abi="x86_64")
    with pytest.raises(DeviceError, match="ABI"):
        read_program(elf.replace(b"\xb7\x00", b"\x28\x00"), "b")


@pytest.mark.parametrize("content", [b"", b"<html>", b"#!/bin/sh\nexit", b"\x7fELF" + bytes(80)])
def test_another_file_is_no_program(content):
    with pytest.raises(InputFileError, match=r"not a program|not benchmark_model"):
        read_program(content, "b")


# Measuring ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    network = small_network(resolution=32)
    return network if isinstance(network, bytes) else network.SerializeToString()


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A profiler with a program; its phone is this computer."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(work_folder, "WORK_FOLDER", str(tmp_path / "phone"))
    monkeypatch.setattr(phone_session, "open_phone", lambda *_: LocalPhone(tmp_path / "phone"))
    monkeypatch.setattr(phone_session, "prepare_again", lambda *_: None)
    monkeypatch.setattr(AdbBenchmarkModel, "facts", FACTS)

    def make(script, *mode, precision="float32"):
        program = read_program(script.encode(), "benchmark_model", abi="x86_64")
        remember_library(program, "benchmark_model")
        options = RunOptions(cores=(0,), mode=mode, precision=precision)
        made.append(AdbBenchmarkModel.at("local")(options))
        return made[-1]

    made = []
    yield make
    for profiler in made:
        profiler.close()


def asked(tmp_path):
    return (tmp_path / "phone/asked").read_text().splitlines()


@pytest.mark.parametrize("generation", [TFLITE, LITERT])
def test_a_visit_is_the_networks_average_over_the_references(make, tmp_path, model, generation):
    profiler = make(fake_benchmark(generation), "gpu")
    network = tmp_path / "network.onnx"
    network.write_bytes(model)
    reference = tmp_path / "reference.onnx"
    larger = small_network(resolution=32, channels=48)
    reference.write_bytes(larger if isinstance(larger, bytes) else larger.SerializeToString())
    sources = [NetworkSource.of_model(path) for path in (network, reference)]
    measurer = InProcessMeasurer(profiler, sources[1], PairedProtocol(), "here")
    visit = measurer.visit(sources[0])
    assert visit.failure is None, visit.failure
    sizes = [
        microseconds(len(profiler.content(s.path)), on_accelerator=True) / 1e3 for s in sources
    ]
    assert {ms for burst in visit.samples.target for ms in burst} == {sizes[0]}
    assert {ms for burst in visit.samples.reference for ms in burst} == {sizes[1]}
    said = visit.conditions["averages"]
    assert [each["of"] for each in said] == ["reference", "reference", "network"]
    assert all(each["runs"] >= adb_benchmark_model.LEAST_RUNS for each in said)
    assert ("delegated" in said[0]) == (generation == TFLITE)
    # calibration of each, and three starts; nobody runs the phone's big runner
    assert len(asked(tmp_path)) == 5
    words = asked(tmp_path)[-1].split()
    assert "--use_gpu=true" in words
    assert "--require_full_delegation=true" in words
    half = "allow_fp16" if generation == LITERT else "gpu_precision_loss_allowed"
    assert f"--{half}=false" in words
    assert ("--use_cpu=false" in words) == (generation == LITERT)


def test_its_targets_are_those_of_averages_and_of_nothing_else(make):
    target = make(fake_benchmark(TFLITE), "gpu").target((1, 3, 32, 32))
    assert target.tells_averages
    assert target.mode == "averages,gpu"
    assert target.runtime == "benchmark-model"
    assert "averages" in target.describe()
    again = RunOptions.of_target(target)
    assert make(fake_benchmark(TFLITE), *again.mode).target((1, 3, 32, 32)) == target
    assert "averages" in make(fake_benchmark(TFLITE)).caution
    assert make(fake_benchmark(LITERT), "gpu").target((1, 3, 32, 32)) != target


def test_a_percentile_of_averages_is_no_budget(make):
    class Found:
        target = make(fake_benchmark(TFLITE)).target(None)

    with pytest.raises(UsageError, match="no percentiles"):
        profile_verdict(Found, Budget.parse("p95 > 8 ms"))


@pytest.mark.parametrize(
    ("generation", "mode", "expected"),
    [(TFLITE, "npu", "gpu or nnapi"), (LITERT, "nnapi", "gpu or npu")],
)
def test_what_the_other_generation_has_is_said(make, generation, mode, expected):
    with pytest.raises(InvalidValueError, match=expected):
        make(fake_benchmark(generation), mode).target(None)


@pytest.mark.parametrize("mode", [("gpu", "npu"), ("tpu",)])
def test_modes_that_are_none(make, mode):
    with pytest.raises(InvalidValueError, match="mode"):
        make(fake_benchmark(TFLITE), *mode)


def test_float16_is_for_accelerators(make):
    for mode in ((), ("npu",)):
        with pytest.raises(InvalidValueError, match="float16"):
            make(fake_benchmark(LITERT), *mode, precision="float16")


def test_float16_is_allowed_where_it_is_asked_for(make, tmp_path, model):
    make(fake_benchmark(TFLITE), "nnapi", precision="float16").load(model).run(3)
    assert "--nnapi_allow_fp16=true" in asked(tmp_path)[0]


def test_an_npu_has_its_makers_libraries(make, tmp_path, model):
    make(fake_benchmark(LITERT), "npu").load(model).run(3)
    assert f"--dispatch_library_path={adb_benchmark_model.NPU_FOLDER}" in asked(tmp_path)[0]


def test_a_model_that_the_processor_ran_instead_has_no_number(make, model):
    loaded = make(fake_benchmark(TFLITE, NOT_AT_ALL), "gpu", "partial").load(model)
    with pytest.raises(UnsupportedModelError, match="runs nothing of the model"):
        loaded.run(1)


def test_a_part_on_the_processor_has_to_be_allowed(make, model, tmp_path):
    script = fake_benchmark(TFLITE, PARTIALLY)
    with pytest.raises(UnsupportedModelError, match=r"only a part .*gpu,partial"):
        make(script, "gpu").load(model).run(1)
    assert make(script, "gpu", "partial").load(model).run(2)
    assert "require_full_delegation" not in asked(tmp_path)[-1]


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ("echo 'ERROR: Failed to apply GPU delegate.' >&2; exit 1", UnsupportedModelError, "GPU"),
        ("exit 139", RuntimeFailedError, "status 139: INFO: STARTING!"),
        ("kill -9 $$", RuntimeFailedError, "was killed"),
        ("echo 'WARN: Unconsumed cmdline flags: --use_gpu=true'", DeviceError, "does not know"),
        ("echo Inference; exit 0", RuntimeFailedError, "no average"),
    ],
)
def test_a_program_that_fails_says_why(make, model, more, error, words):
    loaded = make(fake_benchmark(TFLITE, COMPLETELY, more), "gpu").load(model)
    with pytest.raises(error, match=words):
        loaded.run(1)


def test_a_program_that_hangs_is_ended_on_the_phone(make, model, monkeypatch):
    monkeypatch.setattr(adb_benchmark_model, "PROGRAM_S", 1)
    loaded = make(fake_benchmark(TFLITE, COMPLETELY, "exec sleep 1000")).load(model)
    with pytest.raises(MeasurementTimeoutError, match="longer than 1 s"):
        loaded.run(1)


def test_nothing_says_what_a_kernel_takes(make, model):
    with pytest.raises(DeviceError, match="per-kernel"):
        make(fake_benchmark(TFLITE)).load_profiled(model)


def test_what_the_phone_tells_comes_from_its_shell(make):
    found = make(fake_benchmark(TFLITE)).conditions()
    assert found["phone_available_bytes"] > 0
    assert found["phone_load1"] >= 0


def test_a_network_of_a_space_travels_whole(make, model, tmp_path):
    profiler = make(fake_benchmark(TFLITE))
    profiler.random_weights = True
    assert profiler.content(model)[4:8] == b"TFL3"
    profiler.load(model)
    (pushed,) = (tmp_path / "phone").glob("model-*")
    assert pushed.read_bytes() == profiler.content(model)
