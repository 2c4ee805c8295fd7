"""Converted models are made once, kept within limits, and done without where they cannot be."""

import os

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latprof.common.files import cache_folder
from latprof.errors import ModelFileError
from latprof.profilers.runtimes import converted_models as kept_models
from latprof.profilers.runtimes.converted_models import kept_model


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "latprof" / "kind"


@pytest.fixture
def made():
    return []


@pytest.fixture
def keep(made):
    def convert(content):
        made.append(content)
        return b"made of " + content[:10]

    def keep(model, version="1"):
        return kept_model(model, "kind", version, convert)

    return keep


def test_a_model_is_converted_once(keep, made, folder):
    assert keep(b"one") == keep(b"one") == b"made of one"
    assert made == [b"one"]
    (kept,) = folder.iterdir()
    assert kept.read_bytes() == b"made of one"


def test_another_model_or_version_is_converted_anew(keep, made):
    keep(b"one")
    keep(b"two")
    keep(b"one", version="2")
    assert made == [b"one", b"two", b"one"]


def test_weights_beside_the_file_are_part_of_its_content(keep, made, tmp_path):
    path = tmp_path / "model.onnx"
    for value in (1.0, 2.0):
        weight = helper.make_tensor("w", TensorProto.FLOAT, [64], [value] * 64)
        values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [64]) for n in "xy"]
        nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
        model = helper.make_model(
            helper.make_graph(nodes, "g", values[:1], values[1:], [weight]), ir_version=8
        )
        (tmp_path / "weights.bin").unlink(missing_ok=True)
        onnx.save_model(
            model, path, save_as_external_data=True, location="weights.bin", size_threshold=0
        )
        keep(path)

    assert [
        numpy_helper.to_array(onnx.load_model_from_string(c).graph.initializer[0])[0] for c in made
    ] == [1.0, 2.0]
    path.write_bytes(b"this is no model")
    with pytest.raises(ModelFileError):
        keep(path)


def test_the_longest_unused_models_make_room(keep, made, folder, monkeypatch):
    monkeypatch.setattr(kept_models, "MOST_BYTES", 25)
    for age, content in enumerate((b"one", b"two")):
        before = set(folder.glob("*"))
        keep(content)
        (new,) = set(folder.glob("*")) - before
        os.utime(new, (age, age))
    keep(b"one")  # used again

    keep(b"six")

    assert len(list(folder.iterdir())) == 2
    keep(b"one")
    assert made == [b"one", b"two", b"six"]


def test_a_folder_that_cannot_be_written_is_done_without(keep, made, tmp_path):
    (tmp_path / "latprof").write_text("in the way")

    assert keep(b"one") == keep(b"one") == b"made of one"
    assert len(made) == 2


def test_the_folder_is_the_users(folder, monkeypatch):
    assert cache_folder("kind") == folder
    for given in ("", "not/absolute"):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        monkeypatch.setenv("HOME", "/home/someone")
        assert str(cache_folder("kind")) == "/home/someone/.cache/latprof/kind"
