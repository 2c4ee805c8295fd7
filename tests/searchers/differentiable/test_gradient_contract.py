"""Every registered method that searches by gradient passes the contract suite."""

import pytest
import torch
from known_problem import ALL, SPACE, latencies
from torch.utils.data import TensorDataset

from latprof.predictors.models.linear import LinearPredictor
from latprof.registry import SEARCHERS
from latprof.searchers import ImageTask, SearchProblem, get_searcher
from latprof.testing.searcher_contract import SearcherContract

PREDICTOR = LinearPredictor(SPACE).fit(ALL[:500], latencies(ALL[:500]))


def images(n, seed):
    """Two classes of images that differ in brightness."""
    labels = torch.arange(n) % 2
    noise = torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(noise + labels[:, None, None, None], labels)


TASK = ImageTask("brightness", images(8, 0), images(24, 1), images(4, 2), (3, 8, 8), 2)


class TestGradientMethods(SearcherContract):
    budget = 4

    @pytest.fixture(params=sorted(SEARCHERS.special))
    def searcher(self, request):
        return get_searcher(request.param, task=TASK, batch_size=4)

    @pytest.fixture
    def problem_under(self):
        return lambda limit_ms: SearchProblem(PREDICTOR, None, limit_ms=limit_ms)

    @pytest.fixture(autouse=True)
    @staticmethod
    def _one_thread():
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", sorted(SEARCHERS.special))
def test_they_say_that_they_follow_gradients(name):
    assert get_searcher(name, task=TASK).gradient
