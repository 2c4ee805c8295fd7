"""The public face: small, sorted, light to import, and one way of imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import latprof

PACKAGE = Path(latprof.__file__).parent
HEAVY = (
    *("numpy", "onnx", "onnxruntime", "pandas", "pyarrow", "scipy", "sqlalchemy", "xgboost"),
    *("torch", "rich", "plotly", "matplotlib", "jinja2", "typer", "psutil"),
)


def test_all_is_sorted_and_at_most_sixty_names():
    assert latprof.__all__ == sorted(latprof.__all__, key=str)
    assert len(latprof.__all__) <= 60


def test_every_name_of_all_is_there_and_nothing_else_leaks():
    for name in latprof.__all__:
        assert getattr(latprof, name) is not None
    code = "import latprof; print(*(n for n in vars(latprof) if not n.startswith('_')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"annotations", "TYPE_CHECKING", "common", "lazy_names"}
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        latprof.nonsense  # noqa: B018


@pytest.mark.parametrize("statement", ["import latprof", "import latprof.cli.main"])
def test_importing_loads_nothing_heavy(statement):
    allowed = {"typer", "rich"} if "cli" in statement else set()
    code = f"{statement}; import sys; print(*{HEAVY!r} & sys.modules.keys())".replace(
        f"*{HEAVY!r}", f"*set({HEAVY!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= allowed


def layer_of(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports_of(path):
    """Every latprof module that a file imports, at run time or for types."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("latprof."):
            yield node.module


#: Below each layer: what it may import.
BELOW = {
    "errors": set(),
    "graph": {"errors"},
    "measurement": {"errors"},
    "datasets": {"errors", "graph", "measurement"},
    "profilers": {"errors", "graph", "measurement", "datasets"},
    "predictors": {"errors", "graph", "measurement", "datasets"},
    "searchers": {"errors", "graph", "measurement", "datasets", "predictors", "profilers"},
    "reports": {
        *("errors", "graph", "measurement", "datasets", "predictors", "profilers"),
        "searchers",  # what a search found is shown as measurements and predictions are
    },
    "testing": {"errors", "graph", "measurement", "datasets", "predictors", "profilers"},
}


@pytest.mark.parametrize("layer", sorted(BELOW))
def test_imports_run_one_way(layer):
    place = PACKAGE / layer
    files = place.rglob("*.py") if place.is_dir() else [PACKAGE / f"{layer}.py"]
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in files
        for module in imports_of(path)
        if layer_of(module) not in BELOW[layer] | {layer}
    ]
    assert wrong == []


def test_the_top_level_links_lead_into_the_package():
    root = PACKAGE.parent
    if not (root / "pyproject.toml").exists():
        pytest.skip("not a checkout")
    for name in ("profilers", "predictors", "searchers", "datasets"):
        link = root / name
        assert link.is_symlink()
        assert link.resolve() == PACKAGE / name
