"""The public face: small, sorted, light, and never hidden by a module of the same name."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import latprof

HEAVY = (
    *("numpy", "onnx", "onnxruntime", "pandas", "pyarrow", "scipy", "sqlalchemy", "xgboost"),
    *("torch", "rich", "plotly", "matplotlib", "jinja2", "typer", "psutil"),
)
ROOMS = (
    "datasets",
    "farm",
    "graph",
    "measurement",
    "predictors",
    "profilers",
    "reports",
    "searchers",
)
FACES = ("latprof", *(f"latprof.{room}" for room in ROOMS))
#: A function a command, handed on under the command's name.
WORKFLOWS = (
    *("collect", "compare", "devices", "doctor", "export", "lookup_table", "predict", "profile"),
    *("report", "search", "sweep", "train", "transfer", "verify", "zoo"),
)


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_face_has_at_most_sixty_names():
    assert len(latprof.__all__) <= 60  # type: ignore[attr-defined]


@pytest.mark.parametrize("face", FACES)
def test_names_are_sorted_and_each_is_there(face):
    package = importlib.import_module(face)
    assert package.__all__ == sorted(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        package.nonsense  # noqa: B018


def test_nothing_else_leaks():
    names = run("import latprof; print(*(n for n in vars(latprof) if not n.startswith('_')))")
    assert set(names) <= {"common", "errors", "lazy_names"}


@pytest.mark.parametrize(
    "statement", [*(f"import {face}" for face in FACES), "import latprof.cli.main"]
)
def test_importing_loads_nothing_heavy(statement):
    allowed = {"typer", "rich"} if "cli" in statement else set()
    found = run(f"{statement}; import sys; print(*(set({HEAVY!r}) & sys.modules.keys()))")
    assert set(found) <= allowed


@pytest.mark.parametrize("face", FACES)
def test_no_name_is_that_of_a_module_beside_it(face):
    """Importing such a module would put it where the name is handed on."""
    package = importlib.import_module(face)
    modules = {found.name for found in pkgutil.iter_modules(package.__path__)}
    assert modules & set(package.__all__) == set()


@pytest.mark.parametrize(
    "order",
    [
        ["latprof.profilers.profiling", "latprof.workflows.profile"],
        ["latprof.workflows.search", "latprof.searchers", "latprof.cli.main"],
        ["latprof.cli.report", "latprof.cli.profile", "latprof.workflows.report"],
        [
            "latprof.workflows.compare",
            "latprof.predictors.models.transfer_predictor",
            "latprof.cli.transfer",
        ],
    ],
)
def test_functions_stay_functions_whatever_is_imported_and_when(order):
    """Also modules of the functions' names, before and after the names are asked for."""
    imports = "\n".join(f"import {module}" for module in order)
    kinds = f"print(*(type(getattr(latprof, name)).__name__ for name in {WORKFLOWS!r}))"
    for code in (
        f"{imports}\nimport latprof\n{kinds}",
        f"import latprof\n{kinds}\n{imports}\n{kinds}",
    ):
        assert set(run(code)) == {"function"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_command_and_its_function_share_their_name(name):
    """And the function documents each of its parameters."""
    import inspect

    import typer

    from latprof.cli.main import app

    group = typer.main.get_command(app)
    commands = {c.callback.__name__ for c in group.commands.values()}  # type: ignore[attr-defined]
    # Options of search, and of profile.
    assert name in commands | {"verify", "sweep"}
    function = getattr(latprof, name)
    documented = function.__doc__ or ""
    for parameter in inspect.signature(function).parameters:
        assert parameter in documented, parameter
    assert function.__module__ == f"latprof.workflows.{name}"


def test_the_citation_file_has_the_version_of_the_package():
    path = Path(latprof.__file__).parent.parent / "CITATION.cff"
    if not path.exists():
        pytest.skip("not a checkout")
    assert f"version: {latprof.__version__}\n" in path.read_text(encoding="utf-8")
