"""A store becomes a data set that anybody can load, and the shipped ones are sound."""

import json
import os
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from kept_networks import networks_of
from pyarrow import parquet

from latprof import datasets
from latprof.datasets.published.publishing import publish
from latprof.datasets.spaces.named import space_from_description
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import DataSetError, NotEnoughDataError, UnknownNameError, UsageError
from latprof.measurement.labels import TargetLabels, labels
from latprof.measurement.records import PairedProtocol
from latprof.measurement.store.store import Store
from latprof.predictors.training.stored_training import train_on_labels
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.campaign import collect
from latprof.profilers.campaign.plan import Plan
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource
from latprof.testing.fakes import FakeProfiler

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
NETWORKS = networks_of(SPACE, 30)
PROTOCOL = PairedProtocol(visits=3)


def fill(store, networks=NETWORKS, **plan):
    def make_measurer(_reference_runs):
        profiler = FakeProfiler(RunOptions(), load_noise=0.01)
        return InProcessMeasurer(profiler, NETWORKS[0], PROTOCOL, "secret-host/1")

    target = FakeProfiler(RunOptions()).target((1, 3, 32, 32))
    host = {
        "facts": {"processor": "a made-up one"},
        "checks": [{"name": "turbo", "status": "WARN", "finding": "on", "remedy": ""}],
    }
    collect(Plan(networks, PROTOCOL, **plan), store, target, "r", make_measurer, host=host)
    return TargetLabels.of(store)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What a store with kernels and repeats says of its target, and the data set made of it."""
    folder = tmp_path_factory.mktemp("published")
    with Store.open(folder / "lat.db", create=True) as store:
        measured = fill(store, ops=True)
        publish(measured, folder / "mine.parquet", licence="CC0-1.0", notes="It is made up.")
        yield measured, folder / "mine.parquet"


def test_a_data_set_has_the_labels_of_its_store(made):
    measured, path = made
    frame = datasets.load(path)
    expected = labels(measured.store).set_index("subject")
    assert sorted(frame["architecture"]) == sorted(expected.index)
    for name in ("latency_ms", "low_ms", "high_ms", "ratio", "visits", "stopped_by"):
        assert (frame[name].to_numpy() == expected.loc[frame["architecture"], name]).all(), name
    assert set(frame["stopped_by"]) == {"visits"}
    assert frame.attrs["target"] == measured.target.to_dict()
    assert space_from_description(frame.attrs["space"]).description == SPACE.description
    np.testing.assert_allclose(frame["ratio"] * frame.attrs["reference_ms"], frame["latency_ms"])


def test_repeats_give_the_noise_floor_that_is_stated(made):
    frame = datasets.load(made[1])
    again = frame[frame["again_visits"] > 0]
    assert len(again) == frame.attrs["noise_floor"]["pairs"] == 20
    relative = np.sqrt(np.mean((again["again_ms"] / again["latency_ms"] - 1) ** 2) / 2)
    assert 100 * relative == pytest.approx(frame.attrs["noise_floor"]["percent"])
    assert frame.loc[frame["again_visits"] == 0, "again_ms"].isna().all()


def test_the_split_is_the_one_of_training(made):
    measured, path = made
    pack = train_on_labels(measured, predictor="linear", compare=False)
    test = datasets.load(path, split="test")
    assert {str(SPACE.parse(text)) for text in test["architecture"]} == set(
        pack.held_out.architectures
    )
    train = datasets.load(path, split="train")
    assert (len(train), len(test)) == (24, 6)
    assert test.attrs["reference_ms"] == datasets.load(path).attrs["reference_ms"]


def test_visits_and_kernels_are_beside_it_and_name_no_host(made):
    visits, kernels = datasets.load_visits(made[1]), datasets.load_kernels(made[1])
    assert len(visits[~visits["disturbed"]]) == (30 + 20) * 3
    assert visits["process"].dtype.kind == "i"
    first = kernels[kernels["architecture"] == NETWORKS[0].subject.key]
    assert first["position"].tolist() == list(range(len(first)))
    assert (kernels["latency_ms"] > 0).all()
    for file in made[1].parent.glob("mine*"):
        assert b"secret-host" not in file.read_bytes()


def test_the_datasheet_says_how_on_what_and_how_good(made, monkeypatch):
    text = datasets.datasheet(made[1])
    floor = datasets.load(made[1]).attrs["noise_floor"]["percent"]
    for words in ("a made-up one", "turbo: on", f"{floor:.2f} %", "CC0-1.0", "It is made up."):
        assert words in text
    assert "nan" not in text
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(made[1].parent)
    exec(code, found := {})
    assert len(found["train"]) + len(found["test"]) == len(datasets.load(made[1]))


def test_a_store_without_repeats_or_kernels_makes_a_data_set_too(tmp_path):
    with Store.open(tmp_path / "lat.db", create=True) as store:
        measured = fill(store, NETWORKS[:5], repeat_fraction=0.0)
        written = publish(measured, tmp_path / "few.parquet")
    assert [path.name for path in written] == ["few.parquet", "few.visits.parquet", "few.md"]
    assert datasets.load(tmp_path / "few.parquet")["again_ms"].isna().all()
    assert "nan" not in datasets.datasheet(tmp_path / "few.parquet")
    with pytest.raises(DataSetError, match="kernels"):
        datasets.load_kernels(tmp_path / "few.parquet")


def test_kernels_of_an_earlier_export_do_not_stay(tmp_path):
    for ops in (True, False):
        with Store.open(tmp_path / f"{ops}.db", create=True) as store:
            publish(fill(store, NETWORKS[:3], ops=ops), tmp_path / "x.parquet")
            assert (tmp_path / "x.kernels.parquet").exists() == ops
            assert (
                store.only_target().reference_ms
                == datasets.load(tmp_path / "x.parquet").attrs["reference_ms"]
            ), "the data set is in the milliseconds of its store"


def test_what_cannot_be_published_is_refused(tmp_path, made):
    measured, _ = made
    for name in ("mine.csv", "mine", "a.b.parquet"):
        with pytest.raises(UsageError, match=r"NAME\.parquet"):
            publish(measured, tmp_path / name)
    other = ProxylessSpace(widths=(8,) * 9, resolution=64, num_classes=10)
    with Store.open(tmp_path / "two.db", create=True) as two:
        fill(two, [*NETWORKS[:3], NetworkSource.of_architecture(other, other.sample(1)[0])])
        with pytest.raises(UsageError, match="several spaces"):
            publish(TargetLabels.of(two), tmp_path / "two.parquet")
    model = tmp_path / "m.onnx"
    model.write_bytes(SPACE.build_onnx(SPACE.sample(1)[0]).SerializeToString())
    with Store.open(tmp_path / "models.db", create=True) as models:
        fill(models, [NetworkSource.of_model(model)])
        model.write_bytes(model.read_bytes() + b"\x12\x01x")  # another model by now
        with pytest.raises(NotEnoughDataError, match="where it was measured"):
            publish(TargetLabels.of(models), tmp_path / "models.parquet")
    assert not list(tmp_path.glob("*.parquet"))


def _foreign(path):
    pd.DataFrame({"x": [1]}).to_parquet(path)


def _newer(path):
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"x": [1]}).replace_schema_metadata({"latprof": '{"format_version": 99}'})
    parquet.write_table(table, path)


def _odd(path):
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"x": [1]}).replace_schema_metadata({"latprof": '["format_version"]'})
    parquet.write_table(table, path)


def _visits_in_place_of_labels(path):
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"x": [1]}).replace_schema_metadata({"latprof": '{"format_version": 1}'})
    parquet.write_table(table, path)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PAR1 and nothing else PAR1"),
        lambda path: path.mkdir(),
        _foreign,
        _newer,
        _odd,
        _visits_in_place_of_labels,
    ],
)
def test_a_file_that_is_no_data_set_is_refused(tmp_path, make):
    make(tmp_path / "x.parquet")
    with pytest.raises(DataSetError):
        datasets.load(tmp_path / "x.parquet")


def test_damage_anywhere_is_refused_or_changes_nothing_unseen(made, tmp_path):
    content = made[1].read_bytes()
    generator = np.random.default_rng(0)
    for number in range(200):
        damaged = bytearray(content)
        if number % 2:
            damaged = damaged[: generator.integers(len(damaged))]
        else:
            for place in generator.integers(0, len(damaged), 8):
                damaged[place] ^= int(generator.integers(1, 256))
        (tmp_path / "d.parquet").write_bytes(damaged)
        try:
            frame = datasets.load(tmp_path / "d.parquet")
        except DataSetError:
            continue
        pd.testing.assert_frame_equal(frame, datasets.load(made[1]))


def test_a_small_file_of_many_rows_is_refused(tmp_path):
    """Equal rows take no place on the disk."""
    path = tmp_path / "rows.parquet"
    rows = pa.nulls(4_000_000, pa.string())
    table = pa.table(dict.fromkeys("abcdefgh", rows))
    parquet.write_table(table.replace_schema_metadata({b"latprof": b"{}"}), path)
    assert path.stat().st_size < 100_000
    with pytest.raises(DataSetError, match="too large"):
        datasets.load(path)


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.parquet")
    (tmp_path / "folder.parquet").mkdir()
    for name in ("pipe", "folder", "none", "a\0b", "x" * 5000):
        with pytest.raises(DataSetError, match="there is no file"):
            datasets.load(tmp_path / f"{name}.parquet")


def test_an_unknown_name_lists_what_exists():
    with pytest.raises(UnknownNameError, match="data set"):
        datasets.load("proxyless-gpu-ort1")
    with pytest.raises(UsageError, match="split"):
        datasets.load("proxyless-cpu-ort1", split="validation")


def test_attributes_are_plain_json(made):
    attributes = datasets.load(made[1]).attrs
    assert json.loads(json.dumps(attributes)) == attributes
