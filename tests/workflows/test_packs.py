"""The list of packs: shipped ones, files, and one device's."""

import pytest
from synthetic_latency import SPACE, measured

from latprof.errors import PackError, UsageError
from latprof.predictors.models.linear import LinearPredictor
from latprof.predictors.pack.saving import save_pack
from latprof.predictors.pack.shipped import pack_names, published_pack_names
from latprof.workflows.formatting import short_device, short_devices
from latprof.workflows.packs import packs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    save_pack(LinearPredictor(SPACE).fit(*measured(40)), tmp_path / "mine.pack")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_shipped_packs_and_those_of_the_folder_are_listed_once(folder):
    found, failed = packs([folder, "mine.pack"])
    assert [each.path for each in found] == [*pack_names(), *published_pack_names(), "mine.pack"]
    assert failed == ()
    assert found[-1].target is None
    assert found[0].noise_percent > 0
    assert all(each.to_dict()["space"] for each in found)


def test_one_devices_packs(folder):
    found, _ = packs(on="xeon")
    assert found
    assert all("Xeon" in each.target.device_name for each in found)
    with pytest.raises(UsageError, match=r"there is no pack of pdp-11.*Raspberry Pi 4"):
        packs(on="pdp-11")


@pytest.mark.parametrize("name", ["EPYC (avx512)", "EPYC (25/17)", "Xeon (6/167)"])
def test_a_device_is_found_by_the_name_that_tables_show(name):
    found, _ = packs(on=name)
    names = {each.target.device_name for each in found}
    assert all(name.partition(" ")[0] in each for each in names)
    assert {"avx512" in each for each in names} == ({True, False} if "25" in name else {True})


def test_two_devices_of_the_packs_are_never_shown_by_one_name():
    devices = {each.target.device_name for each in packs()[0] if each.target}
    short = short_devices(devices)
    assert set(short) == devices
    assert len(set(short.values())) == len(devices)
    assert max(map(len, short.values())) <= 22


def test_what_is_no_pack_is_named_and_takes_nothing_along(folder):
    (folder / "bad.pack").write_bytes(b"no pack")
    found, failed = packs()
    assert [each.path for each in found][-1] == "mine.pack"
    assert "bad.pack" in str(failed[0])
    with pytest.raises(PackError, match="there is no"):
        packs(["nowhere"])


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("Intel(R) Xeon(R) Processor (family 6 model 167 stepping 1, L2 2M)", "Xeon (6/167)"),
        ("AMD EPYC (family 25 model 17 stepping 1)", "EPYC (25/17)"),
        ("Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz (family 6 model 158)", "Core i7-9750H (6/158)"),
        ("NVIDIA H100 80GB HBM3 (80 GiB, 700 W)", "H100 80GB HBM3"),
        ("Pixel 1", "Pixel 1"),
        ("Snapdragon 8 Gen 3 for Galaxy (x)", "Snapdragon 8 Gen 3..."),
        ("CPU", "CPU"),
    ],
)
def test_a_short_name_tells_devices_apart(name, short):
    assert short_device(name) == short
    assert len(short) <= 22


EPYC = "AMD EPYC (family 25 model 17 stepping 1, L2 1024K, {})"


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (
            [EPYC.format(each) for each in ("avx2 fma", "avx512", "avx512 amx")] + ["Pixel 1"],
            ["EPYC (avx2)", "EPYC (avx512)", "EPYC (amx)", "Pixel 1"],
        ),
        ([EPYC.format("avx2")], ["EPYC (25/17)"]),
        (["AMD EPYC", "EPYC"], ["EPYC (AMD)", "EPYC"]),
        (
            [f"Snapdragon 8 Gen 3 for Galaxy {'x' * 40}", "Snapdragon 8 Gen 3 for Pixel"],
            ["Snapdragon... (Galaxy)", "Snapdragon... (Pixel)"],
        ),
    ],
)
def test_devices_of_one_table_that_would_be_alike_say_how_they_differ(names, short):
    assert [*short_devices(names).values()] == short
    assert all(len(each) <= 22 for each in short)
