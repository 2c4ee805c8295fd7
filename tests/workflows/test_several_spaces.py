"""One store with networks of two search spaces: each is trained and reported by its name."""

import pytest
from computed_store import fill_store, fill_store_of

import latprof
from latprof.errors import UsageError
from latprof.measurement.records import PairedProtocol
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.collection import Collection

PROXYLESS = latprof.ProxylessSpace(resolution=64)
FBNET = latprof.get_space("fbnet", resolution=64)

LINEAR = {"predictor": "linear", "compare": False}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    made = Collection.of_space(FBNET, 16, options=RunOptions(), protocol=PairedProtocol(visits=2))
    one = fill_store(folder / "one.db", 14, repeat_fraction=0)
    two = fill_store_of(folder / "two.db", made, FBNET, repeat_fraction=0)
    latprof.merge([one, two], folder / "both.db")
    return folder / "both.db"


@pytest.mark.parametrize(("space", "networks"), [(PROXYLESS, 14), (FBNET, 16)])
def test_a_space_is_trained_on_its_own_networks(store, space, networks):
    pack = latprof.train(store, space=space, **LINEAR)
    assert pack.space.description == space.description
    assert pack.training_rows + pack.metrics.rows == networks
    own = store.with_name("one.db" if space is PROXYLESS else "two.db")
    alone = latprof.train(own, **LINEAR)
    assert pack.held_out.architectures == alone.held_out.architectures
    page = latprof.report(store, pack=pack)
    assert "fixed part" in page.html


def test_which_one_has_to_be_said(store):
    with pytest.raises(UsageError, match=r"several spaces.*--space"):
        latprof.train(store)
    other = latprof.ProxylessSpace(resolution=96)
    with pytest.raises(UsageError, match="options differ: resolution; it is 'fbnet'"):
        latprof.train(store, space=other)
