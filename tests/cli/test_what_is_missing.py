"""What is missing is found before any work: a runtime, a library, a version."""

import importlib.metadata
import json

import onnx
import pytest
from onnx import TensorProto, helper

from latprof.common import extras
from latprof.registry import PROFILERS, SEARCHERS

#: Distributions of each kind of target.
RUNTIMES = {
    "cpu:litert": "ai-edge-litert",
    "cpu:onnxruntime": "onnxruntime",
    "cpu:openvino": "openvino",
    "cpu:torch": "torch",
    "cpu:tvm": "apache-tvm",
    "cuda:0:onnxruntime": "onnxruntime-gpu",
    "cuda:0:tensorrt": "tensorrt",
    "cuda:0:torch": "torch",
    "tvm-rpc:127.0.0.1:9/k": "apache-tvm",
}
NETWORK = "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"


def write_model(path, ir_version=8, opset=17):
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 8, 8]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", infos[:1], infos[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir_version
    onnx.save(model, path)
    return path


@pytest.fixture
def without(monkeypatch):
    """Distributions and modules of these names are not installed."""

    def hide(*names):
        version, installed = importlib.metadata.version, extras.is_installed

        def no_version(name):
            if name in names:
                raise importlib.metadata.PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(importlib.metadata, "version", no_version)
        monkeypatch.setattr(extras, "is_installed", lambda n: n not in names and installed(n))

    return hide


def test_every_target_is_here():
    kinds = {name.replace(":0:", ":N:").partition(":127")[0] for name in RUNTIMES}
    here = {name for name in PROFILERS.built_in if not name.startswith(("adb:", "ssh:"))}
    assert kinds == {name.partition(":HOST")[0] for name in here}


@pytest.mark.parametrize("target", RUNTIMES)
def test_a_missing_runtime_is_said_first(latprof, without, tmp_path, target):
    without(RUNTIMES[target])
    model = write_model(tmp_path / "m.onnx")
    for words in (
        ("collect", "--space", "proxyless", "--store", tmp_path / "s.db"),
        ("collect", tmp_path / "none.onnx", "--store", tmp_path / "s.db"),
        ("profile", model),
        ("compare", model, model),
    ):
        done = latprof(*words, "--target", target, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
        assert "is not installed; pip install" in done.stderr
    done = latprof("predict", "--target", target, NETWORK)
    if target not in {"cpu:onnxruntime", "cuda:0:torch"}:  # packs of these need no runtime
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "is not installed: pip install" in done.stderr
    done = latprof("doctor", target, "--json")
    first = json.loads(done.stdout)[0]
    assert (done.returncode, first["name"], first["status"]) == (1, target, "FAIL")
    assert "pip install" in first["remedy"]
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_doctor_runs_a_small_network_on_a_target(latprof):
    done = latprof("doctor", "cpu:onnxruntime", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    version = importlib.metadata.version("onnxruntime")
    assert checks["cpu:onnxruntime"]["finding"] == f"onnxruntime {version}"
    assert checks["a run"]["status"] == "OK"
    assert "load now" in checks


def test_doctor_takes_no_unknown_target_for_a_store(latprof):
    done = latprof("doctor", "cpu:onnxrun")
    assert (done.returncode, "did you mean 'cpu:onnxruntime'" in done.stderr) == (2, True)
    assert latprof("doctor", "none.db").returncode == 3


@pytest.mark.parametrize(("what", "version"), [("IR version", (99, 17)), ("opset", (8, 99))])
@pytest.mark.parametrize("command", ["predict", "profile", "collect", "compare"])
def test_a_model_of_a_newer_format_is_explained(latprof, tmp_path, command, what, version):
    model = write_model(tmp_path / "m.onnx", *version)
    rest = {"collect": ("--store", tmp_path / "s.db"), "compare": (model,)}.get(command, ())
    done = latprof(command, model, *rest, cwd=tmp_path)
    (line,) = [line for line in done.stderr.splitlines() if what in line]
    assert done.returncode == (3 if command == "predict" else 4)
    assert f"of {what} 99, newer than" in line
    assert "at most" in line
    assert "or lower, or update" in line


#: For each method, modules that it cannot do without, and what its command needs besides.
METHODS = {
    "evolution": (),
    "random": (),
    "netadapt": (),
    "nsga2": (),
    "mnas": ("torch",),
    "fbnet": ("torch", "sklearn"),
    "lightnas": ("torch", "sklearn"),
    "proxyless-g": ("torch", "sklearn"),
    "proxyless-r": ("torch", "sklearn"),
}
EACH = [(method, module) for method, modules in METHODS.items() for module in modules]
EACH += [("random", module) for module in ("pandas", "scipy", "sqlalchemy")]


def test_every_method_is_here():
    assert set(METHODS) == {*SEARCHERS.built_in, *SEARCHERS.special}


def search(latprof, tmp_path, *words):
    words = ("--pack", "proxyless-cpu-ort1", "--limit-ms", "5", *words)
    done = latprof("search", *words, "--store", tmp_path / "s.db", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "pip install 'latprof[" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("method", "module"), EACH)
def test_search_finds_a_missing_library_before_it_begins(
    latprof, without, tmp_path, method, module
):
    without(module)
    source = ("--data", "digits") if "sklearn" in METHODS[method][1:] else ()
    search(latprof, tmp_path, "--method", method, *(source or ("--accuracy", "math:fsum")))


@pytest.mark.parametrize(
    ("words", "module"),
    [
        (("--accuracy", "math:fsum", "-o", "page.html"), "plotly"),
        (("--accuracy", "math:fsum", "--png", "plots"), "matplotlib"),
        (("--accuracy", "table.parquet"), "pyarrow"),
        (("--data", "digits", "--method", "evolution"), "sklearn"),
        (("--data", "images", "--method", "evolution"), "PIL"),
        (("--accuracy", "math:fsum", "--method", "nsga2", "--option", "model=false"), "pymoo"),
    ],
)
def test_so_does_what_follows_the_search(latprof, without, tmp_path, words, module):
    without(module)
    table, folder = tmp_path / "table.parquet", tmp_path / "empty"
    table.write_bytes(b"PAR1")
    folder.mkdir()
    search(latprof, folder, *(str(table) if word == table.name else word for word in words))


def test_verify_finds_a_missing_runtime_before_the_search(latprof, without, tmp_path):
    without("onnxruntime")
    words = ("--pack", "proxyless-cpu-ort1", "--accuracy", "math:fsum", "--verify")
    done = latprof("search", *words, "--store", tmp_path / "s.db", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
    assert "ONNX Runtime is not installed; pip install" in done.stderr
    assert not list(tmp_path.iterdir())
