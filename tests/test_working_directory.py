"""What lies beside a downloaded model is not run, however latprof is started."""

import os
import subprocess
import sys

import pytest

#: Modules that latprof and its libraries import, of which none is loaded when Python starts.
NAMES = ("dataclasses", "functools", "json", "numpy", "onnx", "subprocess", "typer", "typing")
SCRIPT = "import sys; del sys.path[0]; from latprof.cli.main import main; main()"


@pytest.fixture
def place(tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("print('run from the working directory')\n")
    return tmp_path


@pytest.mark.parametrize("start", [["-m", "latprof"], ["-c", SCRIPT]], ids=["-m", "script"])
def test_the_command_imports_nothing_from_there(place, start):
    done = subprocess.run(
        [sys.executable, *start, "datasets"], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "working directory" not in done.stdout + done.stderr


def test_another_program_that_is_run_as_a_module_keeps_its_path(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("import latprof\n")
    (tmp_path / "mine" / "__main__.py").write_text("import beside\n")
    (tmp_path / "beside.py").write_text("print('found')\n")
    done = subprocess.run(
        [sys.executable, "-m", "mine"],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "found\n", done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "latprof.profilers.runtimes.cpu.cpu_onnxruntime",
        "latprof.profilers.runtimes.cuda.cuda_onnxruntime",
        "latprof.graph.convert.quantization",
        "latprof.testing.space_contract",
    ],
)
@pytest.mark.parametrize("set_before", ["", "0"])
def test_telemetry_is_off_before_onnx_runtime_is_imported(module, set_before):
    """In a library user's process, unless the user has set the variable."""
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    if set_before:
        environment["ORT_DISABLE_TELEMETRY"] = set_before
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == (set_before or "1"), done.stderr
