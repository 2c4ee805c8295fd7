"""TVM on this processor: the contract, the same results as ONNX Runtime, kernels, exports."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tvm_networks import assert_same_scores, onnx_bytes, scores, small_network, tiny_network

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import DeviceError, DynamicShapeError, UnsupportedModelError
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.tvm.cpu_tvm import CpuTVM
from latprof.profilers.runtimes.tvm.tvm_build import (
    PROCESSORS,
    export_module,
    hidden_features,
    linker,
)
from latprof.profilers.runtimes.tvm.tvm_profile import match_operators, parts
from latprof.testing.profiler_contract import ProfilerContract

pytest.importorskip("tvm", reason="Apache TVM is not installed")


class TestCpuTVM(ProfilerContract):
    @pytest.fixture
    def make_profiler(self):
        return CpuTVM

    @pytest.fixture
    def model(self):
        return tiny_network()

    @pytest.fixture
    def larger_model(self):
        return tiny_network(resolution=32, channels=32)


def test_a_search_spaces_network_computes_what_onnx_runtime_does():
    space = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
    onnx_model = space.onnx_bytes(space.sample(1)[0])
    model = CpuTVM(RunOptions()).load(onnx_model)
    inputs = [np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype("float32")]
    assert_same_scores(scores(model), onnx_model, inputs)


def test_every_kernel_is_mapped_to_the_graphs_operators():
    profiled = CpuTVM(RunOptions()).load_profiled(small_network())
    profiled.run(4)
    kernels = profiled.kernel_times([1, 2, 3])
    assert [kernel.operators for kernel in kernels] == [
        ("stem", "stem.clip"),
        ("depthwise", "depthwise.clip"),
        ("project", "residual"),
        ("pool",),  # the flattening after it is a view, no kernel
        ("classifier",),
    ]
    assert [kernel.kind for kernel in kernels[:3]] == ["conv3x3", "depthwise3x3", "conv1x1"]
    assert kernels[0].output_shapes == ((1, 8, 8, 8),)


def test_names_of_fused_kernels_are_taken_apart():
    assert parts("fused_conv2d12_add8_maximum1_minimum1") == ["conv2d", "add", "maximum", "minimum"]
    assert parts("max_pool2d1") == ["max_pool2d"]
    assert parts("fused_strange3_add") == ["strange", "add"]


def test_a_kernel_of_nobodys_parts_is_left_without_operators():
    assert match_operators(["fused_strange_add", "conv2d"], [(), ()], []) == [(), ()]


def test_integers_are_given_where_the_model_takes_integers():
    table = numpy_helper.from_array(np.random.default_rng(0).normal(size=(9, 5)).astype("f"), "t")
    nodes = [helper.make_node("Gather", ["t", "image"], ["scores"])]
    model = onnx_bytes(nodes, [1, 4], [1, 4, 5], [table], dtype=TensorProto.INT64)
    assert len(CpuTVM(RunOptions()).load(model).run(2)) == 2


@pytest.mark.parametrize(
    ("domain", "name"), [("foreign", "Strange"), ("", "StringNormalizer"), ("", "Strange")]
)
def test_operators_that_tvm_does_not_import_are_refused(domain, name):
    nodes = [helper.make_node(name, ["image"], ["scores"], domain=domain)]
    with pytest.raises(UnsupportedModelError, match=name):
        CpuTVM(RunOptions()).load(onnx_bytes(nodes, [1, 4], [1, 4]))


def test_dynamic_shapes_are_refused_as_such():
    nodes = [helper.make_node("Relu", ["image"], ["scores"])]
    with pytest.raises(DynamicShapeError):
        CpuTVM(RunOptions()).load(onnx_bytes(nodes, ["batch", 4], [1, 4]))


def test_stdout_stays_empty(capfd):
    CpuTVM(RunOptions()).load(tiny_network()).run(1)
    assert not capfd.readouterr().out


def test_an_untuned_target_says_how_slow_it_is():
    assert "tens of times" in CpuTVM(RunOptions()).caution
    assert "tens of times" in CpuTVM.availability().detail
    assert "tens of times" not in CpuTVM(RunOptions(mode=("tuned=8",))).caution


@pytest.mark.parametrize("name", sorted(PROCESSORS))
def test_exports_are_for_the_processor_asked_for(tmp_path, name):
    machines = {"aarch64": (183, 2), "armv7": (40, 1), "x86-64": (62, 2)}
    path = export_module(tiny_network(), tmp_path / "network.tar", PROCESSORS[name])
    with tarfile.open(path) as archive:
        objects = [archive.extractfile(member).read() for member in archive if member.isfile()]
    assert objects
    assert {elf_machine(content) for content in objects} == {machines[name]}


def test_a_model_to_export_is_a_path_or_its_bytes(tmp_path):
    model = tmp_path / "network.onnx"
    model.write_bytes(tiny_network())
    for kind in (str, Path):
        path = tmp_path / f"{kind.__name__}.tar"
        assert export_module(kind(model), path, PROCESSORS["aarch64"]).stat().st_size > 0
    with pytest.raises(UnsupportedModelError, match="No such file"):
        export_module(str(tmp_path / "absent.onnx"), path, PROCESSORS["aarch64"])


def test_a_shared_library_needs_a_linker_for_its_processor(tmp_path):
    path = tmp_path / "network.so"
    if linker(PROCESSORS["aarch64"]["mtriple"]) is None:
        with pytest.raises(DeviceError, match="linker"):
            export_module(tiny_network(), path, PROCESSORS["aarch64"])
        assert not path.exists()
        return
    export_module(tiny_network(), path, PROCESSORS["aarch64"])
    assert elf_machine(path.read_bytes()) == (183, 2)


def elf_machine(content):
    """Machine and class (1: 32 bits, 2: 64 bits) in the head of an ELF file."""
    file = io.BytesIO(content)
    assert file.read(4) == b"\x7fELF"
    bits = file.read(1)[0]
    file.seek(18)
    return int.from_bytes(file.read(2), "little"), bits


def test_instructions_that_a_hypervisor_hides_are_not_compiled_for():
    assumed = ["avx", "avx2", "avx512f", "avx512vbmi2", "avxvnni", "sse4.2", "fma"]
    cpuinfo = "processor\t: 0\nflags\t\t: fpu sse4_2 avx avx2 avx512f fma\nbugs\t\t: none\n"

    assert hidden_features(assumed, cpuinfo) == ["avx512vbmi2", "avxvnni"]
    assert hidden_features(assumed, cpuinfo.replace("avx2 ", "avx2 avx512_vbmi2 avx_vnni ")) == []
    assert hidden_features(assumed, "Features : asimd") == []
