"""Each optional library belongs to an extra, and what is missing is named before any work."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import latprof
from latprof.common.extras import (
    DISTRIBUTIONS,
    EXTRAS,
    is_installed,
    missing_extra,
    needs,
    require,
)
from latprof.errors import LatprofError, MissingDependencyError

PACKAGE = Path(latprof.__file__).parent
ROOT = PACKAGE.parent
OPTIONAL = sorted({module for modules in EXTRAS.values() for module in modules})
#: Extras that no command of a user needs, and the twin of another.
OTHERS = {"all", "dev", "docs", "train-cpu"}
#: Imported where they are found, for hosts that have them; no index has them for every host.
WHERE_FOUND = {"tensorrt", "triton"}


@pytest.fixture(scope="module")
def project():
    path = ROOT / "pyproject.toml"
    if not path.exists():
        pytest.skip("not a checkout")
    return tomllib.loads(path.read_text(encoding="utf-8"))["project"]


def names_of(requirements):
    """Distributions that requirements name, without latprof's own extras."""
    found = {re.match(r"[A-Za-z0-9_.-]+", text)[0].lower() for text in requirements}
    return found - {"latprof"}


def imported():
    """Top-level modules that latprof imports while it runs, each with a file that does."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for_types = {
            node
            for block in ast.walk(tree)
            if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
            for node in ast.walk(block)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import) and node not in for_types:
                found |= {alias.name.partition(".")[0]: path for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node not in for_types and not node.level:
                found[node.module.partition(".")[0]] = path
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names}


def test_the_table_of_extras_is_that_of_pyproject(project):
    declared = project["optional-dependencies"]
    assert declared.keys() - OTHERS == EXTRAS.keys()
    for extra, modules in EXTRAS.items():
        wanted = {DISTRIBUTIONS.get(module, module).lower() for module in modules}
        # A runtime's own pins are installed and not imported.
        assert wanted == names_of(declared[extra]) - {"apache-tvm-ffi"}, extra
    cpu = {name.replace("xgboost-cpu", "xgboost") for name in names_of(declared["train-cpu"])}
    assert cpu == names_of(declared["train"])


def test_whatever_is_imported_is_declared_and_whatever_is_declared_is_imported(project):
    base = names_of(project["dependencies"])
    modules = imported().keys() - {"latprof"}
    undeclared = modules - base - set(OPTIONAL) - WHERE_FOUND
    # pytest is there where its plugin is loaded.
    assert undeclared <= {"pytest"}
    # What a tuner of TVM and the database's library import by themselves.
    assert set(OPTIONAL) - modules <= {"cloudpickle", "tornado", "pynvml", "psycopg"}
    assert base <= modules


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert not is_installed("sklearn")
    with pytest.raises(MissingDependencyError, match="the digits needs scikit-learn") as caught:
        require("search", "the digits", "sklearn")
    assert caught.value.hint == "pip install 'latprof[search]'"
    require("search", "the digits", "pandas")


def test_a_decorated_function_keeps_its_name_and_asks_first(monkeypatch):
    calls = []

    @needs("report", "jinja2")
    def lookup_table(path: str) -> str:
        calls.append(path)
        return path

    assert lookup_table("a") == "a"
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingDependencyError, match="latprof lookup-table needs jinja2"):
        lookup_table("b")
    assert calls == ["a"]
    assert lookup_table.__name__ == "lookup_table"


def test_an_import_that_fails_is_turned_into_the_extra_that_brings_it():
    error = ModuleNotFoundError("no", name="scipy.special")
    assert "latprof[collect]" in str(missing_extra(error, "it"))
    assert missing_extra(ModuleNotFoundError("no", name="elsewhere"), "it") is None


def run_without(modules, *arguments, cwd):
    """``latprof ARGUMENTS`` where these modules cannot be imported."""
    code = (
        f"import sys\nsys.modules |= dict.fromkeys({list(modules)!r})\n"
        f"sys.argv = ['latprof', *{arguments!r}]\nfrom latprof.cli.main import main\nmain()"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )


#: Command lines that end early where nothing is missing, with the extra each needs. A file that
#: is not there is noticed after what is missing.
COMMANDS = {
    "collect --space proxyless --store no/where.db": "collect",
    "profile no.onnx": "collect",
    "compare a.onnx b.onnx": "collect",
    "export no.db --csv table.csv": "data",
    "datasets": "data",
    "train no.db -o a.pack": "train",
    "transfer --from a.pack no.db -o b.pack": "train",
    "lookup-table no.pack": "train",
    "search --pack no.pack --accuracy no.csv": "search",
    "report no.db": "report",
}


#: Runs each command line in one process without these modules, and prints what each left as JSON.
RUN_ALL = """
import contextlib, io, json, sys
modules, lines = map(json.loads, sys.argv[1:])
sys.modules |= dict.fromkeys(modules)
from latprof.cli.main import main
found = {}
for line in lines:
    sys.argv = ["latprof", *line.split()]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
            status = 0
        except SystemExit as leaving:
            status = leaving.code
    found[line] = [status, out.getvalue(), err.getvalue()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def without_extras(tmp_path_factory):
    folder = tmp_path_factory.mktemp("without")
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, json.dumps(OPTIONAL), json.dumps(list(COMMANDS))],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []
    return json.loads(done.stdout)


@pytest.mark.parametrize("line", COMMANDS)
def test_without_extras_a_command_names_the_one_it_needs(line, without_extras):
    status, out, err = without_extras[line]
    assert status == 2, err
    assert out == ""
    assert f"pip install 'latprof[{COMMANDS[line]}]'" in err
    assert f"latprof: latprof {line.split()[0]} needs" in err or line == "datasets"
    assert "Traceback" not in err


def test_the_help_of_a_command_needs_no_extra(tmp_path):
    code = (
        f"import sys\nsys.modules |= dict.fromkeys({OPTIONAL!r})\n"
        "from latprof.cli.main import app\n"
        "for name in sys.argv[1:]:\n"
        "    app([name, '--help'], prog_name='latprof', standalone_mode=False)"
    )
    commands = [line.split()[0] for line in COMMANDS]
    done = subprocess.run(
        [sys.executable, "-c", code, *commands], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for command in commands:
        assert f"latprof {command}" in done.stdout


@pytest.mark.parametrize("line", ["devices", "doctor", "datasets proxyless-cpu-ort1", "--version"])
def test_what_needs_no_extra_works_without(line, tmp_path):
    done = run_without(OPTIONAL, *line.split(), cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 1}  # doctor has findings
    assert done.stdout


def test_predict_needs_no_extra(tmp_path):
    for name in ("proxyless", "mnasnet"):
        space = latprof.get_space(name)
        (architecture,) = space.architectures(space.sample_choices(1, seed=0))
        (tmp_path / f"{name}.onnx").write_bytes(space.onnx_bytes(architecture))
    arguments = ("predict", "proxyless.onnx", "mnasnet.onnx", "--json")
    done = run_without(OPTIONAL, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    plain = run_without([], *arguments, cwd=tmp_path)
    assert done.stdout == plain.stdout


def test_every_error_of_a_missing_extra_is_one_of_latprof():
    assert issubclass(MissingDependencyError, LatprofError)
