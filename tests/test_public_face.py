"""The public face: small, sorted and light to import."""

import subprocess
import sys

import pytest

import latprof

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
