"""The zoo by name: listed, written to a file, and measured into a store."""

import json

import onnx
import pytest

import latprof
from latprof.errors import EXIT_OK, UsageError
from latprof.measurement.labels import labels

SMALL = (
    "tinynet-e",
    "shufflenet-v2-0.5@128",
    "mobilenet-v3-small@96x0.5",
    "bert-tiny",
    "tinynet-d",
)


def test_the_list_has_each_network_with_its_counts():
    found = {each.network.name: each for each in latprof.zoo()}
    assert len(found) >= 80
    one = found["mobilenet-v2"]
    assert (one.parameters, one.macs, one.path) == (3_504_872, 300_774_272, None)
    values = one.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["source"] == "timm mobilenetv2_100"


def test_one_network_is_counted_at_its_size_and_written(tmp_path):
    (found,) = latprof.zoo(
        "mobilenet-v2", output=tmp_path / "m.onnx", resolution=96, width=0.5, batch_size=2
    )
    model = onnx.load(found.path)
    sizes = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert sizes == [2, 3, 96, 96]
    assert latprof.read_network(found.path).macs == found.macs
    (half,) = latprof.zoo("mobilenet-v2", resolution=96, width=0.5)
    assert (half.parameters, 2 * half.macs) == (found.parameters, found.macs)


def test_a_size_or_a_file_needs_a_name(tmp_path):
    with pytest.raises(UsageError, match="name it"):
        latprof.zoo(output=tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="name it"):
        latprof.zoo(width=0.5)


def test_networks_of_the_zoo_are_measured_by_name(tmp_path):
    """Masks and indices of a text are made as for model files; a second run knows them again."""
    store = tmp_path / "zoo.db"
    quick = {"visits": 1, "rounds": 1, "burst_ms": 1.0, "repeat_fraction": 0.0}
    done = latprof.collect(SMALL, zoo=True, store=store, **quick)
    assert done.exit_status == EXIT_OK
    assert set(done.costs) == set(SMALL)
    assert done.costs["tinynet-e"].macs == 24_356_848
    assert set(labels(store)["name"]) == set(SMALL)
    again = latprof.collect(SMALL, zoo=True, store=store, **quick)
    assert again.exit_status == EXIT_OK
    assert len(labels(store)) == len(SMALL)  # the same subjects, not five new ones


def test_the_zoo_stands_alone(tmp_path):
    with pytest.raises(UsageError, match="several things"):
        latprof.collect(zoo=True, space="proxyless", store=tmp_path / "x.db")
    assert not (tmp_path / "x.db").exists()
