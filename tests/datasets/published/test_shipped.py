"""The data sets and packs that come with latprof: sound, small, and of one piece."""

import json
import platform
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

import latprof
from latprof import datasets
from latprof.datasets.published.loading import kernel_dataset_names
from latprof.datasets.spaces.named import space_from_description
from latprof.measurement.process_effects import process_effects
from latprof.measurement.records import PairedProtocol, Target
from latprof.measurement.statistics import combine_visits
from latprof.predictors.fitting.evaluation import evaluate
from latprof.predictors.pack.saving import load_pack
from latprof.predictors.pack.shipped import (
    DEFAULT_PACK,
    kernel_pack_names,
    pack_names,
    resolve,
)

PROXYLESS = ["proxyless-cpu-ort1", "proxyless-cpu-ort1-b8", "proxyless-cpu-ort2"]
MACRO = "nasbench-macro-cpu-ort1-b4"
ON_A_GPU = {"ofa-h100-torch-b8": "ofa-mobilenetv3", "proxyless-h100-torch-b8": "proxyless"}
NAMES = sorted([MACRO, *PROXYLESS, *ON_A_GPU])
FILES = Path(datasets.__file__).parent / "published" / "files"


def test_the_data_sets_are_there_and_small():
    assert datasets.dataset_names() == NAMES
    for name in NAMES:
        assert sum(path.stat().st_size for path in FILES.glob(f"{name}.*")) < 1_100_000


@pytest.mark.parametrize(
    ("name", "rows", "batch_size", "threads"),
    [
        ("proxyless-cpu-ort1", 5000, 1, 1),
        ("proxyless-cpu-ort1-b8", 150, 8, 1),
        ("proxyless-cpu-ort2", 600, 1, 2),
    ],
)
def test_each_holds_the_first_architectures_of_its_seed(name, rows, batch_size, threads):
    frame = datasets.load(name)
    space = space_from_description(frame.attrs["space"])
    assert space.description == latprof.get_space("proxyless").description
    wanted = {str(a) for a in space.sample(rows, seed=0)}
    assert {str(space.parse(text)) for text in frame["architecture"]} == wanted
    assert len(frame) == rows
    target = Target.from_dict(frame.attrs["target"])
    assert (target.batch_size, target.threads) == (batch_size, threads)
    assert target.input_shape == (batch_size, 3, 224, 224)


def test_the_one_of_nasbench_macro_holds_every_network():
    frame = datasets.load(MACRO)
    space = space_from_description(frame.attrs["space"])
    assert space.description == latprof.get_space("nasbench-macro").description
    assert len(frame) == len({space.parse(text) for text in frame["architecture"]})
    assert len(frame) == space.num_architectures == 6561
    target = Target.from_dict(frame.attrs["target"])
    assert target.input_shape == (target.batch_size, 3, 32, 32) == (4, 3, 32, 32)


@pytest.mark.parametrize(
    ("name", "rows"), [("ofa-h100-torch-b8", 1000), ("proxyless-h100-torch-b8", 2000)]
)
def test_those_of_a_gpu_hold_the_first_architectures_and_its_state(name, rows):
    frame, visits = datasets.load(name), datasets.load_visits(name)
    space = latprof.get_space(ON_A_GPU[name])
    assert space_from_description(frame.attrs["space"]).description == space.description
    wanted = {str(a) for a in space.sample(rows, seed=0)}
    assert {str(space.parse(text)) for text in frame["architecture"]} == wanted
    target = Target.from_dict(frame.attrs["target"])
    assert (target.spelling, target.mode, target.batch_size) == ("cuda:0:torch", "graph", 8)
    assert (visits["gpu_clock_mhz"] == visits["gpu_clock_mhz"].iloc[0]).all()
    assert visits["gpu_temperature_c"].between(20, 80).all()
    assert frame.attrs["noise_floor"]["percent"] <= 0.5


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_what_the_visits_say(name):
    frame, visits = datasets.load(name), datasets.load_visits(name)
    within = frame["latency_ms"].between(frame["low_ms"], frame["high_ms"])
    assert within[frame["visits"] > 1].all()
    counted = visits[(visits["label"] == 0) & ~visits["disturbed"]]
    apart = counted["ratio"].astype(float) / counted["process_effect"]
    ratios = apart.groupby(counted["architecture"])
    combined = ratios.agg(combine_visits).reindex(frame["architecture"]).to_numpy()
    known = np.isfinite(combined)  # the rest had disturbed visits only
    assert known.mean() > 0.99
    np.testing.assert_allclose(frame["ratio"][known], combined[known], rtol=1e-6)
    assert (
        ratios.size().reindex(frame["architecture"]).to_numpy() == frame["visits"]
    ).mean() > 0.99
    assert (counted["drift"] <= PairedProtocol.from_dict(frame.attrs["protocol"]).max_drift).all()
    np.testing.assert_allclose(frame["ratio"] * frame.attrs["reference_ms"], frame["latency_ms"])


@pytest.mark.parametrize("name", NAMES)
def test_process_effects_are_those_of_the_visits(name):
    visits = datasets.load_visits(name)
    counted = visits[~visits["disturbed"]]
    again = process_effects(
        counted["architecture"].to_numpy(str), counted["process"], counted["ratio"]
    )
    np.testing.assert_allclose(again, counted["process_effect"], rtol=1e-5)
    assert (visits.groupby("process")["process_effect"].nunique() == 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_stated_floor_is_that_of_the_repeats(name):
    frame = datasets.load(name)
    again = frame[frame["again_visits"] > 0]
    share = again["again_visits"] / (again["visits"] + again["again_visits"])
    squares = share * (again["again_ms"] / again["latency_ms"] - 1) ** 2
    floor = frame.attrs["noise_floor"]
    assert floor["percent"] == pytest.approx(100 * np.sqrt(squares.mean()))
    if name == DEFAULT_PACK:
        assert floor["percent"] <= 0.8
    assert floor["pairs"] == len(again) >= 20


def test_kernels_of_at_least_300_architectures_add_up():
    frame = datasets.load("proxyless-cpu-ort1").set_index("architecture")
    sums = datasets.load_kernels("proxyless-cpu-ort1").groupby("architecture")["latency_ms"].sum()
    assert len(sums) >= 300
    assert np.abs(sums / frame["latency_ms"].reindex(sums.index) - 1).median() < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_the_datasheet_names_target_floor_licence_and_defects(name):
    frame, text = datasets.load(name), datasets.datasheet(name)
    floor = frame.attrs["noise_floor"]["percent"]
    target = Target.from_dict(frame.attrs["target"]).describe()
    for words in (f"{floor:.2f} %", target, "## Known defects", "Apache-2.0"):
        assert words in text
    assert re.search(r"\bnan\b", text) is None


def test_every_data_set_has_a_pack_trained_on_it():
    assert pack_names() == sorted([*NAMES, *kernel_pack_names()])
    assert set(kernel_pack_names()) <= set(kernel_dataset_names())
    assert DEFAULT_PACK in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_pack_states_the_errors_that_it_has_on_the_held_out_rows(name):
    pack, test = load_pack(name), datasets.load(name, split="test")
    assert pack.target == Target.from_dict(test.attrs["target"])
    assert pack.reference_ms == test.attrs["reference_ms"]
    predicted = pack.predict([pack.space.parse(text) for text in test["architecture"]])
    metrics = evaluate(predicted.latency_ms, test["latency_ms"])
    assert metrics.rmse_percent == pytest.approx(pack.metrics.rmse_percent, rel=1e-3)
    inside = test["latency_ms"].between(predicted.low_ms, predicted.high_ms).mean()
    assert inside > 0.8


def test_no_file_names_a_host_or_a_path():
    words = ("/tmp/", "/home/", "/root/", "/work/", f"{platform.node()}/")
    texts = [datasets.datasheet(name) for name in NAMES]
    for name in NAMES:
        frames = [datasets.load(name), datasets.load_visits(name)]
        if name in ("proxyless-cpu-ort1", "proxyless-h100-torch-b8"):
            frames.append(datasets.load_kernels(name))
        texts += [json.dumps(frame.attrs) for frame in frames]
        for frame in frames:
            texts += ["\n".join(frame[c].unique()) for c in frame.select_dtypes("str")]
        with zipfile.ZipFile(resolve(name)) as pack:
            texts += [pack.read(member).decode("utf-8", "replace") for member in pack.namelist()]
    for text in texts:
        for word in words:
            assert word not in text
