"""HELP's files become latencies with their choices, batch size, usable rows and flags."""

import numpy as np
import pytest
from formats import cell, public, torch_bytes, write_help, write_latency, write_torch

from latprof.datasets.importers.base import split_device
from latprof.datasets.importers.collections.help import help_devices, load_help
from latprof.datasets.importers.flags import detect_flags, held_out_residuals
from latprof.errors import DataSetError, UnknownNameError

SPACES = {"fbnet": 22, "nasbench201": 6, "ofa": 46}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("help")
    made = write_help(root)
    generator = np.random.default_rng(1)
    for space in SPACES:
        write_latency(root, space, "v100_32", generator.uniform(5, 50, 600).tolist())
    return root, made


@pytest.mark.parametrize("space", SPACES)
def test_every_row_keeps_its_latency_and_its_choices(written, space):
    root, made = written
    found = load_help(root, space, "v100_32")
    assert found.choices.shape == (600, SPACES[space])
    assert found.choices.dtype == np.uint8
    assert found.latency_ms.shape == found.usable.shape == (600,)
    assert (found.device, found.batch_size) == ("v100", 32)
    assert found.licence == "MIT"
    if space != "ofa":
        assert (found.choices == made[space]).all()
    assert load_help(root, space, "v100_32").latency_ms.tolist() == found.latency_ms.tolist()


def test_layers_that_are_not_there_have_no_choices(written):
    root, made = written
    choices = load_help(root, "ofa", "v100_32").choices
    for row, arch in zip(choices, made["ofa"], strict=True):
        assert 128 + 4 * row[0] == arch["r"][0]
        assert (2 + row[1:6]).tolist() == arch["d"]
        for stage, depth in enumerate(arch["d"]):
            layers = slice(4 * stage, 4 * stage + 4)
            there = [True] * int(depth) + [False] * (4 - int(depth))
            kernels = [(k - 3) // 2 for k in arch["ks"][layers]]
            expansions = [(3, 4, 6).index(e) for e in arch["e"][layers]]
            assert row[6:26][layers].tolist() == [
                k * t for k, t in zip(kernels, there, strict=True)
            ]
            assert row[26:][layers].tolist() == [
                e * t for e, t in zip(expansions, there, strict=True)
            ]


def test_what_is_no_latency_is_not_usable(tmp_path):
    write_help(tmp_path)
    latency = np.random.default_rng(2).uniform(5, 50, 600)
    latency[:6] = [np.nan, np.inf, -1.0, 0.0, 1e300, 1e13]
    write_latency(tmp_path, "fbnet", "phone", latency.tolist())
    found = load_help(tmp_path, "fbnet", "phone")
    assert np.flatnonzero(~found.usable).tolist() == [0, 1, 2, 3, 4, 5]


def test_the_frame_is_like_that_of_a_data_set(written):
    frame = load_help(written[0], "fbnet", "v100_32").to_frame()
    assert {"architecture", "latency_ms", "usable"} <= set(frame.columns)
    assert frame["architecture"].is_unique
    assert frame.attrs["batch_size"] == 32
    assert frame.attrs["flags"] == []
    assert frame.attrs["usable_for_accuracy"] is True


@pytest.mark.parametrize(
    ("name", "device", "batch_size"),
    [
        ("v100_64", "v100", 64),
        ("1080ti_1", "1080ti", 1),
        ("2080ti_256", "2080ti", 256),
        ("titan_rtx_32", "titan_rtx", 32),
        ("titanxp_32", "titanxp", 32),
        ("titanx_1", "titanx", 1),
        ("a100_128", "a100", 128),
        # Names that end in a number of their own.
        ("gold_6226", "gold_6226", None),
        ("silver_4210r", "silver_4210r", None),
        ("silver_4114", "silver_4114", None),
        ("essential_ph_1", "essential_ph_1", None),
        ("samsung_a50", "samsung_a50", None),
        ("raspi4", "raspi4", None),
    ],
)
def test_the_batch_size_comes_from_an_accelerators_name_only(name, device, batch_size):
    assert split_device(name) == (device, batch_size)


def test_an_unknown_name_is_told_with_the_known_ones(written):
    with pytest.raises(UnknownNameError, match="v100_32"):
        load_help(written[0], "fbnet", "v100_33")
    with pytest.raises(UnknownNameError, match="v100_32"):
        load_help(written[0], "fbnet", "../../fbnet/latency/v100_32")
    with pytest.raises(UnknownNameError, match="nasbench201"):
        help_devices(written[0], "darts")
    with pytest.raises(DataSetError, match="cannot be listed"):
        help_devices(written[0] / "nothing", "fbnet")


# Flags -------------------------------------------------------------------------------------


def additive(choices, generator):
    table = generator.uniform(0.1, 2.0, (choices.shape[1], choices.max() + 1))
    return 5 + table[np.arange(choices.shape[1]), choices].sum(axis=1)


@pytest.fixture
def generator():
    return np.random.default_rng(3)


@pytest.fixture
def choices(generator):
    return generator.integers(0, 4, (800, 8))


def test_a_sum_of_a_table_is_synthetic_and_a_clock_is_not(choices, generator):
    exact = additive(choices, generator)
    assert detect_flags(exact, choices) == {"synthetic"}
    assert detect_flags(np.round(exact, 4), choices) == {"synthetic"}
    assert detect_flags(exact * generator.normal(1, 0.005, 800), choices) == set()


def test_a_table_that_blocks_act_on_each_other_in_is_not_additive(choices, generator):
    latency = additive(choices, generator) + 0.5 * (choices[:, 0] == choices[:, 1])
    assert "synthetic" not in detect_flags(latency, choices)


def test_whole_milliseconds(choices, generator):
    latency = additive(choices, generator) * generator.normal(1, 0.05, 800)
    assert "integer-rounded" in detect_flags(np.round(latency), choices)
    assert "integer-rounded" in detect_flags(np.round(latency), None)
    assert "integer-rounded" not in detect_flags(latency, choices)
    assert detect_flags(np.round(latency)[:10], None) == set()  # too few to tell


def test_heavy_tails_are_outliers_beyond_normal_noise(choices, generator):
    latency = additive(choices, generator) * generator.normal(1, 0.02, 800)
    assert detect_flags(latency, choices) == set()
    stalled = np.where(generator.random(800) < 0.03, 2 * latency, latency)
    assert detect_flags(stalled, choices) == {"heavy-tailed"}


def test_a_label_of_one_row_alone_is_left_out(choices, generator):
    choices[7, 0] = 9
    latency = additive(choices, generator)
    latency[7] *= 3
    told = held_out_residuals(latency, choices)
    assert told is not None
    rows, residuals = told
    assert rows.tolist() == [row for row in range(800) if row != 7]
    assert len(residuals) == 799
    assert detect_flags(latency, choices) == {"synthetic"}


def test_few_rows_tell_nothing(choices, generator):
    assert detect_flags(additive(choices, generator)[:40], choices[:40]) == set()


def test_disconnected_cells_are_not_usable(tmp_path):
    write_help(tmp_path)
    latency = np.linspace(10, 20, 600)
    latency[:7] = 0.1
    write_latency(tmp_path, "nasbench201", "phone", latency.tolist())
    write_latency(tmp_path, "fbnet", "phone", latency.tolist())
    assert (~load_help(tmp_path, "nasbench201", "phone").usable).sum() == 7
    assert load_help(tmp_path, "fbnet", "phone").usable.all()


def test_what_is_no_time_is_not_usable(tmp_path):
    write_help(tmp_path)
    latency = [1.0] * 597 + [0.0, float("nan"), -1.0]
    write_latency(tmp_path, "fbnet", "phone", latency)
    assert np.flatnonzero(~load_help(tmp_path, "fbnet", "phone").usable).tolist() == [597, 598, 599]
    write_latency(tmp_path, "fbnet", "broken", [0.0] * 600)
    with pytest.raises(DataSetError, match="holds no latency"):
        load_help(tmp_path, "fbnet", "broken")


# Malformed files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1.0] * 599, "wrong length|expected 600|got 599"),
        ([1.0] * 599 + ["fast"], "entry 599|'fast'"),
        ([1.0] * 599 + [True], "expected a number"),
        ([1.0] * 599 + [10**18], ""),
        ({"latency": [1.0]}, "no list"),
        ([[1.0]] * 600, "entry 0"),
        (None, "no list"),
    ],
)
def test_malformed_latencies(tmp_path, value, words):
    write_help(tmp_path)
    write_torch(tmp_path / "fbnet" / "latency" / "bad.pt", value)
    if not words:
        assert load_help(tmp_path, "fbnet", "bad").latency_ms[-1] == 1e18
        return
    with pytest.raises(DataSetError) as caught:
        load_help(tmp_path, "fbnet", "bad")
    assert "bad.pt" in str(caught.value)
    for word in words.split("|"):
        assert word in str(caught.value)


ARCH = {"ks": [3] * 20, "e": [4] * 20, "d": [2] * 5, "r": [224]}


@pytest.mark.parametrize(
    ("space", "file", "value"),
    [
        ("fbnet", "arch.pt", []),
        ("fbnet", "arch.pt", {"a": 1}),
        ("fbnet", "arch.pt", [[0] * 21]),
        ("fbnet", "arch.pt", [[0] * 21 + [9]]),
        ("fbnet", "arch.pt", [[0] * 21 + [-1]]),
        ("fbnet", "arch.pt", [[0] * 21 + [1.0]]),
        ("fbnet", "arch.pt", [[0] * 22, 5]),
        ("nasbench201", "str_arch2idx.pt", []),
        ("nasbench201", "str_arch2idx.pt", {cell([0] * 6): 1}),
        ("nasbench201", "str_arch2idx.pt", {cell([0] * 6): 0, cell([1] * 6): 0}),
        ("nasbench201", "str_arch2idx.pt", {cell([0] * 6): "0"}),
        ("nasbench201", "str_arch2idx.pt", {"|none~0|+|none~0|": 0}),
        ("nasbench201", "str_arch2idx.pt", {cell([0] * 6).replace("~2", "~1"): 0}),
        ("nasbench201", "str_arch2idx.pt", {cell([0] * 6).replace("none", "conv"): 0}),
        ("nasbench201", "str_arch2idx.pt", {5: 0}),
        ("ofa", "ofa_archs.pt", [ARCH]),
        ("ofa", "ofa_archs.pt", {"arch": []}),
        ("ofa", "ofa_archs.pt", {"arch": [ARCH | {"ks": [3] * 19}]}),
        ("ofa", "ofa_archs.pt", {"arch": [ARCH | {"ks": [4] * 20}]}),
        ("ofa", "ofa_archs.pt", {"arch": [ARCH | {"r": 225}]}),
        ("ofa", "ofa_archs.pt", {"arch": [ARCH | {"d": None}]}),
        ("ofa", "ofa_archs.pt", {"arch": [{"ks": [3] * 20}]}),
    ],
)
def test_malformed_architectures(tmp_path, space, file, value):
    write_latency(tmp_path, space, "phone", [1.0])
    write_torch(tmp_path / space / file, value)
    with pytest.raises(DataSetError, match=file.replace(".", r"\.")) as caught:
        load_help(tmp_path, space, "phone")
    assert caught.value.expected is not None


def test_lists_that_hold_themselves_are_refused(tmp_path):
    write_latency(tmp_path, "fbnet", "phone", [1.0])
    (tmp_path / "fbnet" / "arch.pt").write_bytes(
        torch_bytes(b"\x80\x02]q\x00(" + b"h\x00" * 22 + b"e.")
    )
    with pytest.raises(DataSetError, match="cannot be read"):
        load_help(tmp_path, "fbnet", "phone")


# The collection itself ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "rows"), [("fbnet", 5000), ("nasbench201", 15625), ("ofa", 5000)]
)
def test_the_real_files(space, rows):
    root = public("help")
    for device in help_devices(root, space):
        found = load_help(root, space, device)
        assert found.latency_ms.shape == (rows,)
        assert found.choices.shape == (rows, SPACES[space])
        assert ("integer-rounded" in found.flags) == (device in {"pixel2", "samsung_a50"})
        assert found.usable_for_accuracy == ((space, device) != ("fbnet", "pixel3"))
        disconnected = {"pixel3": 210, "raspi4": 235}.get(device, 0) * (space == "nasbench201")
        assert (~found.usable).sum() == disconnected
        if found.space is not None:
            assert (found.space.choices(found.choices) == found.choices).all()
            assert (found.space.canonical(found.choices) == found.choices).all()


def test_the_phones_of_the_real_files_have_heavy_tails():
    root = public("help")
    for space in ("fbnet", "nasbench201"):
        for device in ("pixel2", "samsung_a50"):
            assert "heavy-tailed" in load_help(root, space, device).flags
    assert load_help(root, "fbnet", "silver_4210r").flags == {"drift"}
