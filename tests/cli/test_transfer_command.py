"""A new device from a few measurements: collect --plan transfer, transfer, predict."""

import json

import pytest
from computed_store import fill_store_of

from latprof.measurement.records import PairedProtocol
from latprof.predictors.models.transfer_predictor import choose_for_transfer
from latprof.predictors.pack.saving import load_pack
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.collection import Collection


@pytest.fixture(scope="module")
def measured(pack, tmp_path_factory):
    """Four networks chosen by a pack of "another device", two images a run; times computed."""
    loaded = load_pack(pack)
    chosen = choose_for_transfer(loaded.space, [loaded.predictor], 4)
    collection = Collection.of_architectures(
        loaded.space,
        loaded.space.architectures(chosen),
        {"plan": "transfer"},
        options=RunOptions(batch_size=2),
        protocol=PairedProtocol(visits=1),
    )
    store = tmp_path_factory.mktemp("transfer") / "new.db"
    return fill_store_of(store, collection, loaded.space, repeat_fraction=0)


def test_the_command_measures_the_networks_that_tell_most(latprof, measured, pack, tmp_path):
    options = "--plan transfer --visits 1 --repeat-fraction 0 --batch-size 2 --ops -q".split()
    done = latprof("collect", *options, "-n", 4, "--from", pack, "--store", measured, "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert (values["visits_made"], values["visits_resumed"]) == (0, 4), "the four are there"

    few = ("-n", 1, "--from", pack, "--store", tmp_path / "one.db", "--json")
    assert json.loads(latprof("collect", *options, *few).stdout)["networks"] == 1


def test_a_transferred_pack_answers_like_any_other(latprof, measured, pack, tmp_path):
    new = tmp_path / "new.pack"
    done = latprof("transfer", measured, "--from", pack, "-o", new, "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["training_rows"] == 4
    assert list(values["sources"]) == [str(pack)]
    assert values["kernels"] > 0
    assert values["target"]["batch_size"] == 2
    loaded = load_pack(new)
    assert loaded.predictor.name == "transfer"
    architecture = loaded.space.sample(1, seed=3)[0]
    answer = json.loads(latprof("predict", str(architecture), "--pack", new, "--json").stdout)[0]
    assert 0 < answer["low_ms"] <= answer["latency_ms"] <= answer["high_ms"]
    printed = latprof("transfer", "--from", pack, pack, measured)
    assert "rows         4" in printed.stdout
    assert printed.stdout.count(str(pack)) == 2
    assert "from the times in the store" in printed.stdout
    assert "not saved" in printed.stderr
    assert "each network predicted without itself" in printed.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["collect", "--plan", "transfer", "--store", "x.db"], "no pack to transfer from"),
        (["collect", "--plan", "best", "--space", "fbnet", "--store", "x.db"], "unknown plan"),
        (["collect", "--space", "fbnet", "--from", "a.pack", "--store", "x.db"], "--from is for"),
        (
            ["collect", "--space", "fbnet", "--plan", "transfer", "--store", "x.db"],
            "several things to measure",
        ),
        (
            ["collect", "--plan", "transfer", "--from", "missing.pack", "--store", "x.db"],
            "cannot read pack missing.pack",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused_before_a_store_is_made(
    latprof, tmp_path, arguments, message
):
    done = latprof(*arguments, cwd=tmp_path)
    assert done.returncode in (2, 3)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x.db").exists()


def test_packs_of_two_spaces_and_stores_of_another_are_refused(latprof, measured, pack, tmp_path):
    other = "proxyless-cpu-ort1"  # the same space at 224 pixels
    output = tmp_path / "new.pack"
    done = latprof("transfer", measured, "--from", pack, "--from", other, "-o", output)
    assert done.returncode == 3
    assert "another search space" in done.stderr
    done = latprof("transfer", measured, "--from", other, "-o", output)
    assert done.returncode == 2
    assert "architectures of another space" in done.stderr
    assert not output.exists()


def test_a_bound_is_printed_and_far_networks_are_marked(latprof):
    smallest = ",".join("0" if i in {0, 4, 8, 12, 16, 20} else "6" for i in range(21))
    done = latprof("predict", smallest, "--pack", "proxyless-cpu-ort1", "--upper", "0.95")
    assert done.returncode == 0, done.stderr
    assert "p95 upper bound" in done.stdout
    assert "lies outside the region" in done.stderr
    answer = json.loads(
        latprof(
            "predict", smallest, "--pack", "proxyless-cpu-ort1", "--upper", "0.95", "--json"
        ).stdout
    )[0]
    assert answer["distance"] > 1
    assert answer["latency_ms"] < answer["upper_ms"]
    wrong = latprof("predict", smallest, "--upper", "95")
    assert wrong.returncode == 2
    assert "--upper is not a share" in wrong.stderr
