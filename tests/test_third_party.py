"""A package that adds one of each kind of thing, used as its user does."""

import json

import pytest
from command_line import run_latprof

from latprof.errors import PackError
from latprof.predictors.pack.saving import load_pack

MODULE = """
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.measurement.records import Target
from latprof.predictors.models.linear import LinearPredictor
from latprof.searchers.evaluating.random_search import RandomSearch
from latprof.testing.fakes import FakeProfiler


class AcmeSpace(ProxylessSpace):
    name = "acme-space"

    def __init__(self, resolution: int = 32) -> None:
        super().__init__(widths=(8,) * 9, resolution=resolution, num_classes=10)

    @property
    def options(self):
        return {"resolution": self.resolution}


class AcmeProfiler(FakeProfiler):
    spelling = "acme:clock"

    def target(self, input_shape):
        return self.identity("acme", "no device", "clock", "1", input_shape)


class AcmePredictor(LinearPredictor):
    name = "acme-predictor"


class AcmeSearch(RandomSearch):
    name = "acme-search"


def accuracy(architectures):
    return [float(sum(a.choices)) for a in architectures]
"""
POINTS = {
    "latprof.spaces": {"acme-space": "acme:AcmeSpace"},
    "latprof.profilers": {"acme:clock": "acme:AcmeProfiler"},
    "latprof.predictors": {"acme-predictor": "acme:AcmePredictor"},
    "latprof.searchers": {"acme-search": "acme:AcmeSearch"},
}


@pytest.fixture
def acme(latprof_distribution):
    return latprof_distribution("acme-latprof", {"acme": MODULE}, POINTS)


def latprof(*words):
    done = run_latprof(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_a_package_adds_is_measured_learned_and_searched(acme, tmp_path, monkeypatch):
    store, pack = tmp_path / "lat.db", tmp_path / "acme.pack"

    collecting = ["--space", "acme-space", "--target", "acme:clock", "-n", 24, "--visits", 1]
    latprof("collect", *collecting, "--store", store, "-q")
    trained = latprof("train", store, "--predictor", "acme-predictor", "-o", pack, "--json")
    assert json.loads(trained)["predictor"] == "acme-predictor"
    assert {"acme-predictor", "hybrid"} <= json.loads(trained)["comparison"].keys()
    searching = ["--accuracy", "acme:accuracy", "--budget", 20, "--store", tmp_path / "s.db"]
    found = latprof("search", "--pack", pack, "--method", "acme-search", *searching, "--json")
    assert "acme-space" in found

    loaded = load_pack(pack)
    assert type(loaded.predictor).__module__ == "acme"
    monkeypatch.undo()  # the package is uninstalled
    with pytest.raises(PackError, match="the package acme-latprof brings it"):
        load_pack(pack)
    with pytest.raises(PackError, match="the package acme-latprof brings it"):
        load_pack(pack, space=loaded.space)  # whose predictor is not known either


def test_help_lists_what_a_package_adds(acme, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "acme-space" in latprof("collect", "--help")
    assert "acme:clock" in latprof("collect", "--help")
    assert "acme-predictor" in latprof("train", "--help")
    assert "acme-search" in latprof("search", "--help")
    assert "acme:clock" in latprof("devices")


@pytest.mark.parametrize("failing", ["raise OSError('no licence')", "def __init__(self): pass"])
def test_a_predictor_that_fails_leaves_training_the_others_alone(
    latprof_distribution, tmp_path, failing
):
    source = f"""
from latprof.predictors.models.linear import LinearPredictor

class Failing(LinearPredictor):
    name = "failing"
    {failing}
"""
    points = {"latprof.predictors": {"failing": "failing:Failing"}}
    latprof_distribution("failing-latprof", {"failing": source}, points)
    from latprof.datasets.spaces.named import get_space
    from latprof.predictors.training.split_training import train
    from latprof.testing.problems import made_up_measurements

    space = get_space("nasbench-macro")
    with pytest.warns(UserWarning, match="failing of failing-latprof is not compared"):
        pack = train(space, *made_up_measurements(space, 40), predictor="linear")
    assert {"linear", "hybrid"} <= set(pack.comparison)
    assert "failing" not in pack.comparison


FAULTY = """
from latprof.predictors.models.linear import LinearPredictor
from latprof.searchers.evaluating.random_search import RandomSearch
from latprof.testing.fakes import FakeProfiler


class Predictor(LinearPredictor):
    name = "faulty"

    def _fit(self, choices, latency_ms):
        raise OSError("no licence")


class Search(RandomSearch):
    name = "faulty-search"

    def propose(self, problem, generator):
        yield {}["batch"]


class Profiler(FakeProfiler):
    spelling = "faulty:clock"

    @classmethod
    def availability(cls):
        raise SystemExit("no driver")
"""


def test_what_it_raises_ends_in_a_line_that_names_the_function(
    latprof_distribution, collected, tmp_path
):
    points = {
        "latprof.predictors": {"faulty": "faulty:Predictor"},
        "latprof.searchers": {"faulty-search": "faulty:Search"},
        "latprof.profilers": {"faulty:clock": "faulty:Profiler"},
    }
    latprof_distribution("faulty-latprof", {"faulty": FAULTY}, points)
    (tmp_path / "mine.py").write_text("def accuracy(rows):\n    return 1 / 0\n")
    pack = ("search", "--pack", "proxyless-cpu-ort1", "--store", "s.db", "--accuracy")
    for words, function, reason in (
        (("train", collected, "--predictor", "faulty", "-o", "p"), "_fit", "OSError: no licence"),
        ((*pack, "mine:accuracy", "--method", "faulty-search"), "propose", "KeyError: 'batch'"),
        ((*pack, "mine:accuracy", "--budget", "3"), "accuracy", "ZeroDivisionError"),
    ):
        done = run_latprof(*words, cwd=tmp_path)
        lines = [each for each in done.stderr.splitlines() if "[own-code]" in each]
        assert len(lines) == 1, done.stderr + done.stdout
        assert done.returncode == 2, done.stderr
        assert reason in lines[0]
        assert f"{function})" in lines[0]
        assert "Traceback" not in done.stderr
    listed = run_latprof("devices", "--json")
    rows = {row["target"]: row for row in json.loads(listed.stdout)}
    assert rows["faulty:clock"]["state"] == "missing"
    assert "SystemExit: no driver" in rows["faulty:clock"]["detail"]
    assert len(rows) > 5
