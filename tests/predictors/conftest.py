import pytest
from synthetic_latency import SPACE, measured

from latprof.predictors.models.by_name import make_predictor, predictor_names


@pytest.fixture(scope="session")
def rows():
    """150 architectures that show every candidate, and their latencies."""
    return measured(150, noise=0.002)


@pytest.fixture(scope="session", params=predictor_names())
def fitted(request, rows):
    """Each predictor, fitted on the rows; not to be changed."""
    return make_predictor(request.param, SPACE).fit(*rows)


@pytest.fixture(scope="session")
def with_trees():
    """A hybrid that keeps trees: the latency is a product of what two blocks do."""
    choices, latency = measured(400, seed=3)
    latency = latency + 8.0 * ((choices[:, 0] < 3) & (choices[:, 5] > 2))
    return make_predictor("hybrid", SPACE).fit(choices, latency)
