"""Kernels measured inside networks, a pack of them, and a model predicted from it."""

from __future__ import annotations

import json

import onnx
import pytest
from command_line import run_latprof

import latprof
from latprof.datasets.published.loading import load_graphs
from latprof.datasets.published.publishing import publish
from latprof.datasets.zoo import write_model
from latprof.datasets.zoo.built_models import (
    built_bytes,
    built_family,
    built_model,
    quantized_key,
    random_keys,
    zoo_key,
)
from latprof.datasets.zoo.catalogue import facts, names
from latprof.errors import HostBusyError, InvalidValueError, UnknownNameError, UsageError
from latprof.graph.model_file import model_digest
from latprof.graph.reader import read_network
from latprof.measurement.across.revisions import SOURCE
from latprof.measurement.labels import TargetLabels
from latprof.measurement.store.store import Store
from latprof.predictors.pack.kernel_answers import predict_from_kernels
from latprof.predictors.pack.kernel_pack import load_any_pack
from latprof.predictors.pack.saving import read_facts
from latprof.predictors.pack.shipped import DEFAULT_KERNELS, KERNELS_OF_PROCESSOR
from latprof.predictors.training.kernel_training import published_kernels, stored_kernels
from latprof.profilers import watching
from latprof.workflows import predict_answers
from latprof.workflows.collect_kernels import families_in_turn
from latprof.workflows.predict_answers import AskedTarget, packs_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store with the kernels of one random network, a pack of them, and a small model."""
    folder = tmp_path_factory.mktemp("kernels")
    words = "collect --kernels --no-zoo -n 15 --visits 1 --store k.db -q".split()
    done = run_latprof(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "different ones" in done.stdout
    done = run_latprof("train", "k.db", "--output", "k.pack", cwd=folder)
    assert done.returncode == 0, done.stderr
    write_model(folder / "model.onnx", "mobilenet-v3-small", width=0.5, resolution=96)
    return folder


def test_a_model_is_predicted_from_measured_kernels(folder):
    done = run_latprof("predict", "model.onnx", "--pack", "k.pack", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    assert answer["how"] == "kernels"
    assert 0 < answer["low_ms"] < answer["latency_ms"] < answer["high_ms"]
    assert 0 <= answer["coverage"] <= 1


def test_a_guess_looks_like_a_guess_in_the_table(folder):
    words = ("predict", "model.onnx", "--pack", "k.pack", "--operators", "--upper", "0.95")
    done = run_latprof(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "at the best rate" in done.stdout
    assert "p95 upper bound" in done.stdout
    strict = run_latprof("predict", "model.onnx", "--pack", "k.pack", "--strict", cwd=folder)
    assert strict.returncode == 1
    assert "outside the training range" in strict.stderr


def test_the_same_command_resumes_and_finds_nothing_left(folder):
    words = "collect --kernels --no-zoo -n 15 --visits 1 --store k.db -q --json".split()
    done = run_latprof(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["networks"] == 1
    assert found["complete"]


def test_python_collects_kernels_and_nothing_beside_them(folder):
    how = {"kernels": True, "zoo": False, "visits": 1, "store": folder / "k.db"}
    found = latprof.collect(n=15, **how)
    assert found.kernels >= found.wanted == 15
    assert found.exit_status == 0
    stopped = latprof.collect(n=10_000, time_limit_s=1e-9, **how)
    assert (stopped.kernels, stopped.exit_status) == (found.kernels, 5)
    for more in (
        {"models": "m.onnx"},
        {"space": "proxyless"},
        {"host_label": "a"},
        {"shard": (1, 2)},
        {"half_width": 0.01},
        {"max_visits": 9},
        {"repeat_fraction": 0.0},
        {"resolution": 64},
        {"shapes": {"x": (1, 2)}},
        {"inputs": {"x": "x.npy"}},
        {"known_constant": True},
        {"sources": "a.pack"},
        {"pool": True},
    ):
        with pytest.raises(UsageError, match=f"`kernels` measures .*`{next(iter(more))}`"):
            latprof.collect(**how, **more)


def test_kernels_are_collected_with_the_tag_the_bursts_and_the_quiet_that_are_asked_for(
    folder, tmp_path, monkeypatch
):
    def looked(asked, _on_note, **_options):
        raise HostBusyError(f"{asked}")

    how = {"kernels": True, "zoo": False, "visits": 1, "store": tmp_path / "k.db"}
    with monkeypatch.context() as patched:
        patched.setattr(watching, "await_quiet", looked)
        with pytest.raises(HostBusyError, match=r"wait_s=5, required=True"):
            latprof.collect(n=15, wait_quiet_s=5, require_quiet=True, **how)
    with pytest.raises(InvalidValueError, match="burst_ms"):
        latprof.collect(n=15, burst_ms=-1, **how)
    found = latprof.collect(n=15, tag="nightly", rounds=1, burst_ms=1.0, **how)
    with Store.open(tmp_path / "k.db") as store:
        (campaign,) = store.campaigns(found.target)
        assert campaign["host"][SOURCE]["tag"] == "nightly"
        assert (campaign["protocol"]["rounds"], campaign["protocol"]["burst_ms"]) == (1, 1.0)


def test_python_fits_a_pack_of_kernels_to_the_file_of_a_store(folder):
    found = latprof.train(kernels=folder / "k.db")
    assert found.kernel_rows == load_any_pack(folder / "k.pack").kernel_rows
    with pytest.raises(UsageError, match="several things to fit to"):
        latprof.train(folder / "k.db", kernels=folder / "k.db")


def test_a_prior_is_for_kernels(folder, collected):
    done = run_latprof("train", collected, "--prior", "k.parquet", "-o", "x.pack", cwd=folder)
    assert done.returncode == 2
    assert "--prior is for kernels" in done.stderr
    with pytest.raises(UsageError, match="`prior` is for kernels"):
        latprof.train(published="help:x/nasbench201/pixel3", prior="kernels-epyc-ort1")


def test_a_pack_of_kernels_is_listed_and_refused_where_a_space_is_needed(folder):
    done = run_latprof("packs", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "k.pack" in done.stdout
    done = run_latprof("lookup-table", "k.pack", "--output", "t.yaml", cwd=folder)
    assert done.returncode == 3
    assert "pack of kernels" in done.stderr
    done = run_latprof("predict", "1,2,3", "--pack", "k.pack", cwd=folder)
    assert done.returncode == 2
    assert "knows no architectures" in done.stderr


def test_models_that_were_files_teach_kernels_and_go_along_without_their_weights(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path / f"tool-mobilenetv3_{width}.onnx" for width in (35, 50)]
    for path in paths:
        write_model(path, "mobilenet-v3-small", width=int(path.stem[-2:]) / 100, resolution=64)
        model = onnx.load(path)
        model.doc_string = model.graph.node[0].doc_string = "/home/somebody"
        onnx.save(model, path)
    words = ("collect", *map(str, paths), "--ops", "--visits", "1", "--store", "f.db", "-q")
    done = run_latprof(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Store.open(tmp_path / "f.db") as store:
        measured = TargetLabels.of(store)
        stored = stored_kernels(measured)
        publish(measured, tmp_path / "files.parquet")
        notes = _notes_of_an_absent_model(measured, paths[0])
    compared = ("--prior", "files.parquet", "-o", "f.pack")
    done = run_latprof("train", "--kernels", "f.db", *compared, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "compared with files.parquet" in done.stdout
    published = latprof.train(kernels="files.parquet", prior="files.parquet")
    for pack in (load_any_pack("f.pack"), published):
        assert pack.prior == ("files.parquet",)
        assert pack.model.kernels.prior is not None
    for said in (*notes, done.stderr):
        assert paths[0].name in said
        assert paths[1].name not in said
    paths[1].unlink()

    graphs = load_graphs(tmp_path / "files.parquet")
    table, target = published_kernels(tmp_path / "files.parquet")

    assert sorted(name for name, _ in graphs.values()) == sorted(path.stem for path in paths)
    assert max(len(model) for _, model in graphs.values()) < 60_000
    assert not any(b"somebody" in model for _, model in graphs.values())
    assert target == measured.target
    assert table.families == stored.families == ("mobilenet-v3",) * 2
    assert sorted(table.network_ms) == pytest.approx(sorted(stored.network_ms))
    assert table.timed.sum() == stored.timed.sum() > 60
    twice, _ = published_kernels(tmp_path / "files.parquet", tmp_path / "files.parquet")
    assert twice.network_ms.tolist() == [*table.network_ms, *table.network_ms]


def _notes_of_an_absent_model(measured, path):
    """What is said of a model whose file is gone by what needs it."""
    key = model_digest(path)
    path.unlink()
    notes = []
    stored_kernels(measured, notes.append)
    publish(measured, "less.parquet", on_note=notes.append)
    published_kernels("less.parquet", on_note=notes.append)
    *notes, of_dataset = notes  # which has no names of files
    assert key in of_dataset
    assert len(notes) == 2
    return notes


def test_networks_are_built_again_from_their_line():
    for key in random_keys(3):
        assert built_bytes(key) == built_bytes(key)
        assert built_family(key) == ""
    zoo = zoo_key("mobilenet-v1", resolution=64, width=0.25)
    assert built_family(zoo)
    network = read_network(built_bytes(zoo))
    assert network.inputs[0][1] == (1, 3, 64, 64)
    with pytest.raises(InvalidValueError):
        built_bytes("zoo:mobilenet-v1")
    with pytest.raises(UnknownNameError):
        zoo_key("nothing")


def test_a_quantised_network_is_built_again_with_the_family_and_the_work_of_its_own():
    plain = zoo_key("mobilenet-v1", resolution=64, width=0.25)
    for form in ("qdq", "dynamic"):
        key = quantized_key(plain, form)
        assert built_family(key) == built_family(plain)
        assert built_bytes(key) == built_bytes(key)
        assert read_network(built_bytes(key)).macs == read_network(built_bytes(plain)).macs


@pytest.mark.parametrize(
    ("processor", "name"), [*KERNELS_OF_PROCESSOR.items(), ("another", DEFAULT_KERNELS)]
)
def test_models_are_answered_by_the_bundled_kernels_of_this_processor(processor, name, monkeypatch):
    monkeypatch.setattr(predict_answers, "processor_name", lambda: processor)
    found = packs_for(["m.onnx"], None, AskedTarget()).kernels.target
    assert found == read_facts(name).target
    assert (found.device_name == processor) == (name != DEFAULT_KERNELS)
    assert (found.batch_size, found.threads, found.precision) == (1, 1, "float32")
    two = packs_for(["m.onnx"], None, AskedTarget(threads=2)).kernels.target
    assert two.threads == 2


def test_models_are_answered_by_the_bundled_kernels_of_their_format_and_batch(monkeypatch):
    monkeypatch.setattr(predict_answers, "processor_name", lambda: "another")
    packs = packs_for(["m.onnx"], None, AskedTarget())
    plain = zoo_key("mobilenet-v1", resolution=64, width=0.25)
    several = read_network(built_model(plain.replace("batch_size=1", "batch_size=4")))
    int8 = read_network(built_model(quantized_key(plain, "qoperator")))
    assert packs.name_for(read_network(built_model(plain))) == ""
    assert packs.name_for(several) == "kernels-epyc-ort1-b8"
    assert packs.name_for(int8) == "kernels-epyc-ort1-int8"
    found = packs.kernels_for(int8)
    assert found.target.precision == "int8"
    assert predict_from_kernels(found, int8, "m").coverage > 0.9
    given = packs_for(["m.onnx"], "kernels-epyc-ort1", AskedTarget())
    assert given.name_for(int8) == ""


def test_every_family_of_the_zoo_is_sampled_before_a_second_network_of_one():
    networks = {name: facts(name) for name in names()}
    first, *others, last = families_in_turn(networks)
    families = [networks[name].family for name in first]
    assert len(families) == len(set(families)) > 30
    assert sorted([*first, *(n for part in others for n in part), *last]) == sorted(networks)
    work = [networks[name].macs for name in first]
    assert work == sorted(work)
    assert work[-1] <= min(networks[name].macs for name in last)
