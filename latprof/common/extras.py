"""Optional libraries: the extra that installs each, and the check that names it.

``pip install latprof`` gives what ``predict`` needs. Everything else asks here first, before any
work is done, so that a missing library is one sentence and not an hour lost.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from latprof.errors import MissingDependencyError

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: What each extra of pyproject.toml brings, by the names that are imported. ``train-cpu`` brings
#: what ``train`` does: XGBoost without its library for GPUs is imported by the same name.
EXTRAS: dict[str, tuple[str, ...]] = {
    "collect": ("onnxruntime", "pandas", "scipy", "sqlalchemy"),
    "train": ("pandas", "scipy", "sqlalchemy", "xgboost"),
    "report": ("jinja2", "matplotlib", "pandas", "plotly", "scipy", "sqlalchemy"),
    "data": ("pandas", "pyarrow", "scipy", "sqlalchemy"),
    "torch": ("torch",),
    "search": ("pandas", "PIL", "pymoo", "scipy", "sklearn", "sqlalchemy", "torch"),
    "farm": ("dask", "distributed", "cryptography", "psycopg"),
    "android": ("adb_shell", "flatbuffers"),
    "cuda": ("pynvml", "torch"),
    "openvino": ("openvino",),
    "tvm": ("tvm", "cloudpickle", "tornado"),
    "litert": ("ai_edge_litert", "flatbuffers"),
    "litert-torch": ("litert_torch", "torch"),
}

#: Distributions that are called otherwise than the module they install.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "adb_shell": "adb-shell",
    "ai_edge_litert": "ai-edge-litert",
    "litert_torch": "litert-torch",
    "pynvml": "nvidia-ml-py",
    "sklearn": "scikit-learn",
    "tvm": "apache-tvm",
}


def require(extra: str, needed_for: str, *libraries: str) -> None:
    """Raise MissingDependencyError unless the libraries of an extra are installed.

    Nothing is imported, so the check costs nothing where it passes.

    Parameters
    ----------
    extra : str
        One of :data:`EXTRAS`.
    needed_for : str
        What needs them, as the message's subject: "latprof train", "a differentiable latency".
    *libraries : str
        Which of the extra's modules; all of them without any.
    """
    missing = [name for name in libraries or EXTRAS[extra] if not is_installed(name)]
    if missing:
        names = ", ".join(DISTRIBUTIONS.get(name, name) for name in missing)
        raise MissingDependencyError(names, extra, needed_for)


def needs(extra: str, *libraries: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Decorate the function of a command: :func:`require` is asked before it does anything."""

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        name = f"latprof {function.__name__.replace('_', '-')}"

        @functools.wraps(function)
        def checked(*arguments: _P.args, **options: _P.kwargs) -> _R:
            require(extra, name, *libraries)
            return function(*arguments, **options)

        return checked

    return decorate


def is_installed(module: str) -> bool:
    """Whether a module can be found; it is not imported."""
    if module in sys.modules:
        return sys.modules[module] is not None
    return importlib.util.find_spec(module) is not None


def missing_extra(error: ModuleNotFoundError, needed_for: str) -> MissingDependencyError | None:
    """Name the extra that brings the module an import did not find; None where none does."""
    module = (error.name or "").partition(".")[0]
    for extra, modules in EXTRAS.items():
        if module in modules:
            return MissingDependencyError(DISTRIBUTIONS.get(module, module), extra, needed_for)
    return None
