"""Two networks' kernels side by side, and an ONNX copy that says what each node took."""

import math
from dataclasses import replace
from types import SimpleNamespace

import onnx
import pytest

import latprof
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import HostBusyError, UsageError
from latprof.measurement.records import KernelTime
from latprof.reports.annotated_model import write_annotated
from latprof.workflows import kernel_pairs
from latprof.workflows.kernel_pairs import align_kernels, profiled_pairs

SMALL = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)


def kernels(*words):
    """Kernels spelled as kind and size: ``conv8``."""
    return [
        KernelTime(row, word.rstrip("0123456789"), f"{word}.{row}", (f"{word}.{row}",), 1.0 + row)
        if word.isalpha()
        else KernelTime(
            row, word.rstrip("0123456789"), f"{word}.{row}", (), 1.0 + row, ((int(word[-1]),),)
        )
        for row, word in enumerate(words)
    ]


def aligned(a, b):
    pairs = align_kernels(kernels(*a), kernels(*b))
    return [tuple(k and k.name.partition(".")[0] for k in (pair.a, pair.b)) for pair in pairs]


def test_equal_kernels_stand_opposite_and_what_one_lacks_stands_alone():
    a, b = ["conv8", "relu8", "pool8", "gemm8"], ["conv8", "relu8", "conv4", "pool8", "gemm8"]
    assert aligned(a, b) == [
        ("conv8", "conv8"),
        ("relu8", "relu8"),
        (None, "conv4"),
        ("pool8", "pool8"),
        ("gemm8", "gemm8"),
    ]


def test_kernels_of_another_shape_stand_opposite_by_their_kind():
    a, b = ["conv8", "add8", "conv8", "gemm8"], ["conv8", "conv4", "gemm8"]
    assert aligned(a, b) == [
        ("conv8", "conv8"),
        ("add8", None),
        ("conv8", "conv4"),
        ("gemm8", "gemm8"),
    ]
    pairs = align_kernels(kernels(*a), kernels(*b))
    assert [pair.is_alike for pair in pairs] == [True, False, False, True]
    assert pairs[1].difference_ms == -2.0
    assert pairs[2].to_dict()["difference_ms"] == pytest.approx(2.0 - 3.0)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    found = []
    for name, architecture in zip("ab", SMALL.sample(2), strict=True):
        found.append(folder / f"{name}.onnx")
        found[-1].write_bytes(SMALL.onnx_bytes(architecture))
    return found


def test_an_annotated_copy_runs_as_the_model_and_says_what_its_nodes_took(models, tmp_path):
    copy = tmp_path / "copy.onnx"
    found = latprof.profile(models[0], visits=2, annotated=copy)
    model, original = onnx.load(copy), onnx.load(models[0])
    onnx.checker.check_model(model)
    assert [n.op_type for n in model.graph.node] == [n.op_type for n in original.graph.node]
    said = [{each.key: each.value for each in node.metadata_props} for node in model.graph.node]
    times = [float(each["latprof.latency_ms"]) for each in said if "latprof.latency_ms" in each]
    added = {each.key: each.value for each in model.metadata_props}["latprof.added_kernels_ms"]
    assert sum(times) + float(added) == pytest.approx(found.kernel_sum_ms, rel=1e-3)
    named = {each.name for each in model.graph.node}
    assert {each["latprof.in_kernel"] for each in said if "latprof.in_kernel" in each} <= named
    frame = found.to_frame()
    assert frame["latency_ms"].sum() == pytest.approx(found.kernel_sum_ms)
    assert found.kernels is found.kernels, "worked out once, though every row's share asks for all"


def test_a_copy_away_from_its_files_of_weights_is_cautioned_of(models, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "large.onnx"
    onnx.save_model(onnx.load(models[0]), path, save_as_external_data=True, size_threshold=0)
    nothing = SimpleNamespace(
        kernels=(),
        kernel_sum_ms=0.0,
        interval_ms=(1.0, 2.0),
        latency_ms=1.5,
        target=SimpleNamespace(describe=lambda: "a target"),
    )
    assert write_annotated(nothing, path, tmp_path / "copy.onnx") == ""
    assert write_annotated(nothing, models[0], tmp_path / "elsewhere" / "b.onnx") == ""
    said = write_annotated(nothing, path, tmp_path / "elsewhere" / "copy.onnx")
    assert f"names files of weights in {tmp_path}" in said


def test_compare_prints_the_kernels_of_both(latprof_command, models, monkeypatch):
    def profile(*given, **options):  # its milliseconds are not looked at
        return latprof.profile(*given, **options | {"visits": 1})

    monkeypatch.setattr(kernel_pairs, "profile", profile)
    words = ("compare", *models, "--operators", "--processes", "2", "--visits", "1", "-q")
    done = latprof_command(*words)
    assert done.returncode in {0, 5}, done.stderr
    assert "kernel of A" in done.stdout
    assert "all kernels: A " in done.stdout


def test_kernels_have_the_milliseconds_of_the_comparison(monkeypatch):
    def measured(network, _target, **_options):
        # each profile has a constant of its own: B's is twice the one that the comparison had
        scale = {"a": 1.0, "b": 2.0}[network]
        found = [replace(each, latency_ms=each.latency_ms * scale) for each in kernels("c8", "d8")]
        return SimpleNamespace(kernels=found, latency_ms=4.0 * scale)

    monkeypatch.setattr(kernel_pairs, "profile", measured)
    pairs = profiled_pairs(("a", "b"), (4.0, 4.4), "cpu:onnxruntime")
    assert math.fsum(pair.a.latency_ms for pair in pairs) == pytest.approx(3.0)
    assert math.fsum(pair.b.latency_ms for pair in pairs) == pytest.approx(3.3)


def test_kernels_of_architectures_of_a_space_that_is_given_are_compared(monkeypatch):
    asked = []

    def measured(network, _target, **options):
        asked.append((network, options["space"]))
        return SimpleNamespace(kernels=kernels("c8"), latency_ms=1.0)

    monkeypatch.setattr(kernel_pairs, "profile", measured)
    networks = [",".join(map(str, each.choices)) for each in SMALL.sample(2)]
    how = {"space": SMALL, "operators": True, "processes": 2, "visits": 1}
    assert latprof.compare(*networks, **how).kernels
    assert asked == [(network, SMALL) for network in networks]


def test_a_verdict_stays_where_the_kernels_cannot_be_timed(latprof_command, models, monkeypatch):
    def busy(*_given, **_options):
        raise HostBusyError("host too busy: told to")

    monkeypatch.setattr(kernel_pairs, "profile", busy)
    words = ("compare", *models, "--operators", "--processes", "2", "--visits", "1", "-q")
    done = latprof_command(*words)
    assert done.returncode == 5, done.stderr
    assert "kernels are not known: host too busy: told to" in done.stdout
    assert "effect" in done.stdout


def test_top_lists_the_slowest_and_sums_the_rest(latprof_command, models):
    done = latprof_command("profile", models[0], "--top", "3", "--visits", "1", "-q")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    start = next(row for row, line in enumerate(lines) if line.startswith("kernel  "))
    times = [float(line.split()[-2]) for line in lines[start + 1 : start + 4]]
    assert times == sorted(times, reverse=True)
    number = int(lines[start + 4].split()[1])
    assert lines[start + 4].startswith(f"and {number} more kernels: ")
    words = ("--top", str(3 + number - 1), "--visits", "1", "-q")
    done = latprof_command("profile", models[0], *words)
    assert "and 1 more kernel: " in done.stdout, done.stderr


def test_what_has_no_kernels_is_refused(collected, tmp_path):
    with pytest.raises(UsageError, match="two networks"):
        latprof.compare(collected, collected, operators=True)
    with pytest.raises(UsageError, match="ONNX file"):
        latprof.profile("proxyless:" + ",".join("1" * 21), annotated=tmp_path / "m.onnx")


@pytest.fixture(scope="module", name="latprof_command")
def _latprof_command(request):
    return request.getfixturevalue("latprof")
