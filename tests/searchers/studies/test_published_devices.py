"""One search a device with the packs of devices that one does not have, judged by measurements."""

import numpy as np
import pytest
from formats import public

from latprof.datasets.importers.accuracies import load_nasbench201_accuracies
from latprof.datasets.importers.collections.help import load_help
from latprof.predictors.pack.saving import load_pack
from latprof.searchers import ArchitectureTable, LatencyTable, SearchProblem, get_searcher
from latprof.searchers.studies.cross_target import cross_target, search_targets

#: Packs, and the columns of HELP that they were fitted to four fifths of.
DEVICES = {
    "pixel3-nasbench201": "pixel3",
    "xeon-gold-6226-nasbench201": "gold_6226",
    "gtx-1080ti-nasbench201": "1080ti_1",
}
BUDGET = 400


@pytest.fixture(scope="module")
def trained():
    """Accuracies on CIFAR-10 of all networks of NAS-Bench-201."""
    found = load_nasbench201_accuracies(public("nasbench201-accuracy", "accuracy.csv"))
    return ArchitectureTable(found.space, found.choices, found.accuracy_percent["cifar10-test"])


@pytest.fixture(scope="module")
def measured(trained):
    """Real latencies of all networks on the three devices."""
    root = public("help", "nasbench201").parent
    columns = {pack: load_help(root, "nasbench201", column) for pack, column in DEVICES.items()}
    return {
        pack: LatencyTable(trained.space, column.choices, column.latency_ms)
        for pack, column in columns.items()
    }


@pytest.mark.parametrize("below_best", [1.0, 2.0])
def test_no_other_devices_network_is_faster_than_its_own_by_more_than_the_packs_error(
    trained, measured, below_best
):
    packs = {name: load_pack(name) for name in DEVICES}
    problems = {name: SearchProblem(pack.predictor, trained) for name, pack in packs.items()}
    wanted = float(trained.values.max()) - below_best
    searched = search_targets(get_searcher("evolution"), problems, wanted, BUDGET)
    table = cross_target(searched, measured, [found.accuracy for found in searched.values()])

    assert table.accuracy.min() >= wanted
    errors = np.array([packs[name].metrics.rmse_percent for name in table.targets]) / 100
    own = np.diagonal(table.latency_ms)
    assert (own <= table.latency_ms.min(axis=0) * (1 + errors)).all(), table.to_dict()
    # As in the papers, what was searched for another device costs something on this one.
    others = (table.latency_ms / own)[~np.eye(len(own), dtype=bool)]
    assert np.exp(np.log(others).mean()) > 1.02, table.to_dict()
