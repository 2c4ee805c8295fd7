"""A text for a column: LatBench's pickles, and every collection by its name."""

import pickle

import numpy as np
import pytest
from formats import all_cells, write_help, write_latency

from latprof.datasets.importers.collections.brp_nas import load_brp_nas
from latprof.datasets.importers.columns import column_forms, load_column
from latprof.datasets.importers.twins import latencies_of_twins, noise_of_twins
from latprof.datasets.spaces.named import get_space
from latprof.datasets.spaces.nasbench201 import NASBench201Space
from latprof.errors import DataSetError, UnknownNameError, UsageError

CELLS = [(4, 0, 3, 1, 4, 3), (0, 0, 0, 0, 0, 0), (1, 2, 3, 4, 0, 1)]


def write_brp(folder, content):
    path = folder / "desktop-cpu-core-i7.pickle"
    path.write_bytes(pickle.dumps(content))
    return path


def test_latbench_is_read_with_its_tuples_and_in_milliseconds(tmp_path):
    seconds = {cell: np.float64(0.01 + 0.001 * i) for i, cell in enumerate(CELLS)}
    found = load_column(f"brp-nas:{write_brp(tmp_path, seconds)}")
    assert found.device == "desktop-cpu-core-i7"
    assert found.batch_size is None
    assert [tuple(row) for row in found.choices.tolist()] == sorted(CELLS)
    measured = dict(zip(map(tuple, found.choices.tolist()), found.latency_ms, strict=True))
    assert measured[CELLS[2]] == pytest.approx(12.0)
    space = NASBench201Space()
    assert space.architecture_string(space.architectures(found.choices[2:])[0]) == (
        "|avg_pool_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"
    )


@pytest.mark.parametrize(
    "content",
    [
        {(1, 2, 3): 0.1},
        {(1, 2, 3, 4, 5, 6): 0.1},
        {("a",) * 6: 0.1},
        {(0, 0, 0, 0, 0, True): 0.1},
        {((0, 0), 0, 0, 0, 0, 0): 0.1},
        {(0,) * 6: 0.1, "0,0,0,0,0,0": 0.2},
        {(0,) * 6: "fast"},
        {},
        [1, 2],
    ],
)
def test_what_is_not_latbench_is_refused(tmp_path, content):
    with pytest.raises(DataSetError):
        load_brp_nas(write_brp(tmp_path, content))


@pytest.mark.parametrize("kind", ["synthetic", "heavy-tailed", "measured"])
def test_a_whole_file_in_the_order_of_its_cells_shows_its_traps(tmp_path, kind):
    """Each fifth row has the same last operation: a model of the others knows nothing of it."""
    generator = np.random.default_rng(2)
    cells = all_cells()
    costs = generator.uniform(0.2e-3, 2e-3, (6, 5))
    seconds = 5e-3 + costs[np.arange(6), cells].sum(axis=1)
    if kind != "synthetic":
        seconds *= generator.normal(1, 0.01, len(cells))
    if kind == "heavy-tailed":
        seconds[generator.random(len(cells)) < 0.02] *= 1.5
    content = dict(zip(map(tuple, cells.tolist()), seconds.tolist(), strict=True))
    found = load_brp_nas(write_brp(tmp_path, content))
    assert found.flags == ({kind} if kind != "measured" else set())


def test_whole_milliseconds_are_whole_in_seconds_too(tmp_path):
    cells = all_cells()[::50]
    seconds = (900 + np.arange(len(cells)) % 200) / 1000
    content = dict(zip(map(tuple, cells.tolist()), seconds.tolist(), strict=True))
    found = load_brp_nas(write_brp(tmp_path, content))
    assert (found.latency_ms != np.round(found.latency_ms)).any()  # of 1.005 s, for one
    assert "integer-rounded" in found.flags


def test_a_column_of_help_is_named_by_its_folder_space_and_device(tmp_path):
    write_help(tmp_path, n=100)
    write_latency(tmp_path, "nasbench201", "pixel3", [5.0 + i % 7 for i in range(100)])
    found = load_column(f"help:{tmp_path}/nasbench201/pixel3")
    assert found.name == "help/nasbench201/pixel3"
    with pytest.raises(UnknownNameError, match="pixel3"):
        load_column(f"help:{tmp_path}/nasbench201/pixel4")


@pytest.mark.parametrize("text", ["", "help", "help:", "help:pixel3", "help:/nasbench201/", "hat:"])
def test_another_form_is_refused_with_the_forms(text):
    with pytest.raises(UsageError, match=r"FOLDER/SPACE/DEVICE|hat:FILE"):
        load_column(text)


def test_an_unknown_collection_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="help"):
        load_column("halp:x/y/z")
    assert "help:FOLDER/SPACE/DEVICE" in column_forms()


def test_the_noise_of_a_column_comes_from_networks_with_two_names(tmp_path):
    space = get_space("nasbench201")
    generator = np.random.default_rng(0)
    choices = write_help(tmp_path, n=5**6)["nasbench201"].astype(np.uint8)
    once = space.isomorphs(choices).astype(float) @ [1.0, 2.0, 3.0, 1.5, 2.5, 0.5]
    noisy = (20 + once) * (1 + 0.01 * generator.standard_normal(len(once)))
    write_latency(tmp_path, "nasbench201", "here", noisy.tolist())
    floor = noise_of_twins(load_column(f"help:{tmp_path}/nasbench201/here"))
    assert floor.relative == pytest.approx(0.01, rel=0.1)
    assert floor.method == "repeats"


def test_the_noise_of_a_column_with_tiny_networks_is_in_percent_of_the_mean(tmp_path):
    space = get_space("nasbench201")
    choices = write_help(tmp_path, n=5**6)["nasbench201"].astype(np.uint8)
    once = 1 + 0.2 * (space.isomorphs(choices) == 3).sum(axis=1) ** 3
    noisy = once + 0.2 * np.random.default_rng(0).standard_normal(len(once)).clip(-3, 3)
    write_latency(tmp_path, "nasbench201", "here", noisy.tolist())
    column = load_column(f"help:{tmp_path}/nasbench201/here")
    floor = noise_of_twins(column)
    assert floor.rmse_ms == pytest.approx(0.2, rel=0.1)
    # Most take 1 ms: of each network's own latency it would be 18 %.
    assert floor.relative == pytest.approx(0.2 / np.mean(latencies_of_twins(column)), rel=0.1)
    assert floor.relative < 0.12


def test_isomorphs_are_one_network_and_only_they():
    space = get_space("nasbench201")
    choices = np.array([[1, 2, 0, 3, 4, 1], [2, 1, 0, 3, 1, 4], [1, 2, 3, 3, 4, 1]], np.uint8)
    found = space.isomorphs(choices)
    assert found.tolist() == [[1, 2, 0, 3, 4, 1], [1, 2, 0, 3, 4, 1], [1, 2, 3, 3, 4, 1]]
