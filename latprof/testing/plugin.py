"""The pytest plugin of latprof: budgets of latency, and fixtures for the tests of what extends it.

It is loaded wherever latprof is installed, and imports nothing of latprof before a fixture is asked
for; ``-p no:latprof.testing.plugin`` leaves it out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.predictors.base import Predictor
    from latprof.searchers.base import SearchProblem
    from latprof.testing.latency_fixture import LatencyFixture

# Asserts of the suites show the values that they compare.
_SUITES = [
    f"latprof.testing.{suite}_contract"
    for suite in ("space", "profiler", "predictor", "searcher", "store")
]
pytest.register_assert_rewrite(*(suite for suite in _SUITES if suite not in sys.modules))

_LATENCY = "latprof.testing.latency_fixture"
#: What the reason of a test begins with that a busy host left out, after pytest's own words.
_BUSY = "latency not measured: "
_LATENCIES = pytest.StashKey["LatencyFixture"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--latency-busy`` and ``--latency-json``."""
    parser.getgroup("latprof").addoption(
        "--latency-busy",
        choices=("wait", "skip", "fail"),
        default="wait",
        help="what becomes of a test of latency to which a busy host gives no answer: wait up to "
        "5 minutes, all tests together, then skip it (default); skip it; or fail",
    )
    parser.getgroup("latprof").addoption(
        "--latency-json",
        metavar="PATH",
        help="write the runs of all networks that were measured in pytest-benchmark's format; each "
        "worker of pytest-xdist writes its own file",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and refuse a file that cannot be written before any test."""
    if path := config.getoption("--latency-json"):
        from latprof.common.files import check_output
        from latprof.errors import OutputPathError

        try:
            check_output(path)
        except OutputPathError as error:
            raise pytest.UsageError(f"--latency-json: {error}") from None
    config.addinivalue_line(
        "markers",
        "latency_budget(model, budget, **options): fail unless the model's latency is shown to be "
        "within the budget, such as '5 ms' or 'p95 8 ms'; options are those of latprof.profile, or "
        "with pack=... those of latprof.predict",
    )


def _latencies(config: pytest.Config) -> LatencyFixture:
    """The session's, made when it is first asked for."""
    if _LATENCIES not in config.stash:
        from latprof.testing.latency_fixture import LatencyFixture

        config.stash[_LATENCIES] = LatencyFixture(config.getoption("--latency-busy"))
    return config.stash[_LATENCIES]


@pytest.fixture(scope="session")
def latency(request: pytest.FixtureRequest) -> LatencyFixture:
    """Measure or predict latency: ``assert latency.measure("m.onnx") < ms(5)``."""
    return _latencies(request.config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Check the budgets that a test is marked with before it runs."""
    for marker in item.iter_markers("latency_budget"):
        from latprof.errors import LatprofError

        problem = ""
        try:
            _latencies(item.config).check(*marker.args, **marker.kwargs)
        except LatprofError as error:
            problem = f"{error} [{error.code}]"
        except TypeError as error:  # of the marker's arguments
            problem = f"latency_budget(model, budget, **options): {error}"
        if problem:  # outside of the handlers, whose exceptions would be shown beside it
            pytest.fail(problem, pytrace=False)
    return (yield)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Say of a failed comparison of a latency what its interval is, and how the host was."""
    module = sys.modules.get(_LATENCY)
    if module is None:
        return None
    if isinstance(left, module.Latency) and isinstance(right, module.Milliseconds):
        return [f"{left.name} {op} {right}", *left.explain(right)]
    if isinstance(right, module.Latency) and isinstance(left, module.Milliseconds):
        return [f"{left} {op} {right.name}", *right.explain(left)]
    return None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was measured, where a file is named for it."""
    config = session.config
    path = config.getoption("--latency-json")
    if path and _LATENCIES in config.stash:
        worker = getattr(config, "workerinput", {}).get("workerid", "")
        file = Path(path)
        config.stash[_LATENCIES].write(
            str(file.with_stem(f"{file.stem}-{worker}") if worker else file)
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the tests that a busy host left out."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", ())
        if isinstance(report.longrepr, tuple) and _BUSY in str(report.longrepr[2])
    ]
    if skipped:
        count = len(skipped)
        terminalreporter.write_line(
            f"latprof: {count} test{'s' * (count > 1)} of latency skipped, since the host was busy"
        )


@pytest.fixture(scope="session")
def latprof_space() -> SearchSpace:
    """A space whose networks are built and run in milliseconds: ProxylessNAS on small images."""
    from latprof.datasets.spaces.proxyless import ProxylessSpace

    return ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)


@pytest.fixture(scope="session")
def latprof_model(latprof_space: SearchSpace) -> bytes:
    """An ONNX model of that space."""
    return latprof_space.onnx_bytes(latprof_space.sample(1)[0])


@pytest.fixture(scope="session")
def latprof_predictor(latprof_space: SearchSpace) -> Predictor:
    """A linear predictor of that space, fitted to made-up measurements; not to be changed."""
    from latprof.predictors.models.by_name import make_predictor
    from latprof.testing.problems import made_up_measurements

    return make_predictor("linear", latprof_space).fit(*made_up_measurements(latprof_space, 150))


@pytest.fixture(scope="session")
def latprof_pack(latprof_predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a pack that holds that predictor, for the target ``fake:clock``; read only."""
    from latprof.predictors.pack.saving import save_pack
    from latprof.profilers.base import RunOptions
    from latprof.testing.fakes import FakeProfiler

    path = tmp_path_factory.mktemp("latprof") / "linear.pack"
    shape = (1, *latprof_predictor.space.input_shape)
    save_pack(latprof_predictor, path, target=FakeProfiler(RunOptions()).target(shape))
    return path


@pytest.fixture
def latprof_problem() -> SearchProblem:
    """A search problem whose optimum :func:`latprof.testing.problems.known_optimum` knows."""
    from latprof.testing.problems import known_problem

    return known_problem()


@pytest.fixture
def latprof_distribution(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Path]]:
    """Install a distribution for one test, here and in processes that the test starts.

    Call it with a name, modules (name to source) and entry points (group to name to
    ``"module:Class"``), as :func:`latprof.testing.distributions.write_distribution` takes them; it
    returns the folder.
    """
    from latprof.testing.distributions import forget_modules, write_distribution

    written: list[str] = []

    def install(
        name: str, modules: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]]
    ) -> Path:
        folder = tmp_path_factory.mktemp("distribution")
        write_distribution(folder, name, modules, entry_points)
        forget_modules(modules)  # another test may have imported one of the same name
        written.extend(modules)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        return folder

    yield install
    forget_modules(written)
