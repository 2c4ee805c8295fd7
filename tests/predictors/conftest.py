import pytest
from synthetic_latency import SPACE, measured

from latprof.predictors.models.by_name import make_predictor, predictor_class
from latprof.predictors.models.linear import LinearPredictor
from latprof.predictors.models.transfer_predictor import TransferPredictor
from latprof.registry import PREDICTORS


@pytest.fixture(scope="session")
def rows():
    """150 architectures that show every candidate, and their latencies."""
    return measured(150, noise=0.002)


@pytest.fixture(scope="session")
def sources(rows):
    """Predictors of two devices, as a transfer takes them; not to be changed."""
    choices, latency = rows
    slower = measured(150, noise=0.01, seed=4)
    return [LinearPredictor(SPACE).fit(choices, latency), LinearPredictor(SPACE).fit(*slower)]


def of_kind(name, sources):
    """A predictor of any kind, made as its constructor wants it, not fitted."""
    kind = predictor_class(name, special=True)
    return kind(SPACE, sources) if kind is TransferPredictor else kind(SPACE)


@pytest.fixture(scope="session")
def _fits():
    return {}


@pytest.fixture(scope="session", params=PREDICTORS.names(special=True))
def fitted(request, rows, sources, _fits):
    """Each predictor, fitted on the rows once for all modules; not to be changed."""
    if request.param not in _fits:
        _fits[request.param] = of_kind(request.param, sources).fit(*rows)
    return _fits[request.param]


@pytest.fixture(params=PREDICTORS.names(special=True))
def unfitted(request, sources):
    """Each predictor before it is fitted."""
    return of_kind(request.param, sources)


@pytest.fixture(scope="session")
def with_trees():
    """A hybrid that keeps trees: the latency is a product of what two blocks do."""
    choices, latency = measured(400, seed=3)
    latency = latency + 8.0 * ((choices[:, 0] < 3) & (choices[:, 5] > 2))
    return make_predictor("hybrid", SPACE).fit(choices, latency)
