"""Every command that reads a store finds the same milliseconds, in whatever order they come."""

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from computed_store import fill_store
from resealing import reseal

import latprof
from latprof.measurement.labels import TargetLabels, freeze_reference
from latprof.measurement.statistics import NoiseFloor
from latprof.measurement.store.store import Store

SPACE = latprof.get_space("proxyless", resolution=64)


def change(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def dump(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """A store whose campaign made every visit; its constant is frozen."""
    return fill_store(tmp_path_factory.mktemp("complete") / "lat.db", n=12, visits=3)


@pytest.fixture(scope="module")
def cut_off(complete, tmp_path_factory):
    """The same while its campaign was interrupted in the last pass; nothing is frozen."""
    path = tmp_path_factory.mktemp("cut") / "lat.db"
    shutil.copy(complete, path)
    change(
        path,
        "DELETE FROM measurements WHERE id > (SELECT max(id) - 7 FROM measurements)",
        "UPDATE campaigns SET ended_at = NULL",
        "UPDATE targets SET reference_ms = NULL",
        "DELETE FROM constants",
    )
    reseal(path)
    return path


def other_version(path):
    """A store of the same networks on another version of the runtime, beside ``path``."""
    other = path.with_name("other.db")
    shutil.copy(path, other)
    change(other, """UPDATE targets SET key = replace(key, '"runtime_version":"', '&9.')""")
    change(other, """UPDATE targets SET key = replace(key, '&9.', '"runtime_version":"9.')""")
    reseal(other)
    return other


def of_pack(pack):
    measured = dict(zip(pack.held_out.architectures, pack.held_out.measured_ms, strict=True))
    return {"constant": pack.reference_ms, "floor": pack.noise_floor, "latency": measured}


def by_architecture(table, column):
    """Latencies by the canonical spelling of their architectures."""
    names = [str(SPACE.parse(text)) for text in table[column]]
    return dict(zip(names, table["latency_ms"], strict=True))


def trained(path):
    pack = latprof.train(path, predictor="linear", compare=False)
    return of_pack(pack)


def transferred(path):
    pack = latprof.transfer([latprof.train(path, predictor="linear", compare=False)], path)
    return of_pack(pack)


def reported(path):
    sections = {section.slug: section for section in latprof.report(path).content.sections}
    return {"page": (sections["protocol"].lead, [repr(s.tables) for s in sections.values()])}


def exported(path):
    latprof.export(path, parquet=path.with_name("table.parquet"))
    table = pd.read_parquet(path.with_name("table.parquet"))
    table = table[table["label"] == 0]
    return {"latency": by_architecture(table, "subject")}


def published(path):
    latprof.export(path, dataset=path.with_name("data.parquet"))
    table = latprof.load_dataset(path.with_name("data.parquet"))
    floor = table.attrs["noise_floor"]
    return {
        "constant": table.attrs["reference_ms"],
        "floor": NoiseFloor(
            floor["percent"] / 100, floor["rmse_ms"], floor["pairs"], floor["method"]
        ),
        "latency": by_architecture(table, "architecture"),
    }


def compared(path):
    found = latprof.compare(path, other_version(path), ignore=["runtime_version"])
    return {"verdicts": [(c.name, c.effect, c.p_value) for c in found.comparisons]}


def labelled(path):
    table = latprof.labels(path)
    return {"latency": by_architecture(table, "subject")}


READERS = (trained, reported, exported, compared, published, labelled)


@pytest.mark.parametrize("kind", ["complete", "cut_off"])
def test_every_order_of_readers_finds_the_same_milliseconds(kind, request, tmp_path):
    store = request.getfixturevalue(kind)
    readers = READERS if kind == "complete" else (*READERS, transferred)
    before = dump(store)
    found = []
    for number, order in enumerate((readers, readers[::-1])):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "lat.db"
        shutil.copy(store, path)
        found.append({reader.__name__: reader(path) for reader in order})
        assert dump(path) == before, "a reader wrote into the store"
    assert found[0] == found[1]
    with Store.open(store) as opened:
        measured = TargetLabels.of(opened)
        labels = measured.labels
    assert measured.is_frozen == (kind == "complete")
    expected = by_architecture(labels[labels["label"] == 0], "subject")
    for name, answer in found[0].items():
        assert answer.get("constant", measured.reference_ms) == measured.reference_ms, name
        for network, latency_ms in answer.get("latency", {}).items():
            assert latency_ms == expected[network], (name, network)
        floor = answer.get("floor", measured.noise_floor)
        assert floor.rmse_ms == pytest.approx(measured.noise_floor.rmse_ms, rel=1e-12), name
    constant = f"{measured.reference_ms:.3g}"[:4]
    assert constant in found[0]["reported"]["page"][0]
    assert ("not complete" in found[0]["reported"]["page"][0]) == (kind == "cut_off")


def test_a_campaign_that_is_resumed_to_its_end_freezes_what_readers_then_find(cut_off, tmp_path):
    path = tmp_path / "lat.db"
    shutil.copy(cut_off, path)
    pack = latprof.train(path, predictor="linear", compare=False)
    with Store.open(path) as store:
        assert TargetLabels.of(store).reference_ms == pack.reference_ms
        frozen = freeze_reference(store, store.only_target().target)
        assert frozen == pack.reference_ms
    # Later visits, twice as slow, change neither the constant nor what the pack holds.
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT id, samples FROM measurements ORDER BY id").fetchall()
        for number, text in rows[-30:]:
            samples = json.loads(text)
            for side in ("target", "reference"):
                samples[side] = (2 * np.array(samples[side])).tolist()
            values = (json.dumps(samples), number)
            connection.execute("UPDATE measurements SET samples = ? WHERE id = ?", values)
        connection.commit()
    reseal(path)
    again = latprof.train(path, predictor="linear", compare=False)
    assert again.reference_ms == pack.reference_ms
    np.testing.assert_allclose(again.held_out.measured_ms, pack.held_out.measured_ms, rtol=1e-9)


#: Root writes whatever it likes by two capabilities, which it can put down.
READ = """
import ctypes, os, sys
if os.getuid() == 0:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    capabilities = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None)
    assert libc.capget(header, capabilities) == 0
    for kind in range(3):
        capabilities[kind] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, capabilities) == 0
import latprof
path, out = sys.argv[1:]
assert not os.access(path, os.W_OK)
latprof.train(path, out + "/p.pack", predictor="linear", compare=False)
latprof.report(path, out + "/page.html", pack=out + "/p.pack")
latprof.export(path, csv=out + "/table.csv", dataset=out + "/data.parquet")
latprof.transfer(out + "/p.pack", path)
assert latprof.compare(path, path).exit_status == 0
print(len(latprof.labels(path)))
"""


def test_a_store_that_cannot_be_written_is_read_by_all_who_only_read(cut_off, tmp_path):
    folder = tmp_path / "a store of 100 % others?"
    path = folder / "lat.db"
    folder.mkdir()
    shutil.copy(cut_off, path)
    path.chmod(0o444)
    folder.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", READ, path, tmp_path],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["12"]
    assert [each.name for each in folder.iterdir()] == ["lat.db"]
