"""A space of a user's own in every workflow, by its object and by its name."""

import json
import sys

import pytest

import latprof
from latprof.errors import PackError, PackSpaceError, UnknownNameError, UsageError
from latprof.measurement.store.store import Store

MODULE = """
import os
from pathlib import Path

import latprof
from latprof.datasets import Place, mobile_inverted_block, pool_and_classifier

with Path(__file__).with_suffix(".pids").open("a") as file:
    file.write(f"{os.getpid()}\\n")
EXPANSIONS = (1, 2, 3)


def block(place, expansion):
    return mobile_inverted_block(place, f"e{expansion}", kernel=3, expansion=expansion)


class Space(latprof.SearchSpace):
    name = "tiny-of-mine"
    input_shape = (8, 16, 16)

    @property
    def candidates(self):
        return (tuple(f"e{e}" for e in EXPANSIONS),) * 3

    def blocks(self, architecture):
        return tuple(
            block(Place(f"block{i}", i, 8, 8, 16), EXPANSIONS[choice])
            for i, choice in enumerate(architecture.choices)
        )

    def head(self, architecture, batch_size=1):
        return pool_and_classifier(8, 16, 10, batch_size)


class Deep(Space):
    name = "deep-of-mine"

    def __init__(self, depth=3):
        self.depth = depth

    @property
    def candidates(self):
        return super().candidates[: self.depth]


class Broken(Space):
    name = "broken-of-mine"

    def blocks(self, architecture):
        if architecture.choices[0]:
            raise RuntimeError("not this one")
        return super().blocks(architecture)


class Nameless(Space):
    name = ""


class Numbered(Space):
    name = 5


class Coloured(Space):
    name = "\\x1b[31m"


class Taken(Space):
    name = "proxyless"


def broken():
    raise type("Broken", (Exception,), {"__str__": lambda self: 1 / 0})


def made():
    return Space()


def with_arguments(width):
    return Space()


SPACE = Space()
NUMBER = 3
"""
QUICK = {"visits": 1, "rounds": 2, "burst_ms": 1.0, "repeat_fraction": 0.0}


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "mine_of_mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the module changes within a second
    sys.modules.pop("mine_of_mine", None)
    yield tmp_path
    sys.modules.pop("mine_of_mine", None)


def changed(place, before="EXPANSIONS = (1, 2, 3)", after="EXPANSIONS = (1, 2, 4)"):
    path = place / "mine_of_mine.py"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    sys.modules.pop("mine_of_mine", None)
    return latprof.get_space("mine_of_mine:Space")


def test_a_space_is_found_by_class_object_and_function(place):
    spaces = [latprof.get_space(f"mine_of_mine:{name}") for name in ("Space", "SPACE", "made")]
    assert len({space.description for space in spaces}) == 1
    assert str(place) not in sys.path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mine_of_mine:Nowhere", "cannot be imported"),
        ("nowhere_of_mine:Space", "cannot be imported"),
        ("nowhere_of_mine.py:Space", "no such file"),
        ("../mine_of_mine:Space", "ends in .py"),
        ("random.py:Random", "another module is called random"),
        ("mine_of_mine:NUMBER", "is no search space"),
        ("mine_of_mine:with_arguments", "needs the option 'width'"),
        ("mine_of_mine:Nameless", "has no name"),
        ("mine_of_mine:Numbered", "has no name"),
        ("mine_of_mine:Coloured", "has no name"),
        ("mine_of_mine:broken", "broken raised Broken .line .* of mine_of_mine.py, in broken"),
        (".mine_of_mine:Space", "cannot be imported"),
        ("mine_of_mine:Taken", "the name of mine_of_mine:Taken is taken"),
        ("mine_of_mine:", "module:name"),
    ],
)
def test_what_is_no_space_is_said(place, name, words):
    (place / "random.py").write_text("Random = 3\n")
    with pytest.raises(UsageError, match=words):
        latprof.get_space(name)


def test_a_space_is_found_by_the_path_of_its_file_in_a_package_too(place, monkeypatch):
    folder = place / "spaces_of_mine"
    (folder / "inner").mkdir(parents=True)
    for package in (folder, folder / "inner"):
        (package / "__init__.py").touch()
    relative = "from ..sizes import EXPANSIONS\n" + MODULE.replace("EXPANSIONS = (1, 2, 3)\n", "")
    late = "    def blocks(self, architecture):\n        import beside_of_mine\n"
    (folder / "sizes.py").write_text("EXPANSIONS = (1, 2, 3)\n")
    (folder / "inner" / "tiny.py").write_text(relative)
    alone = place / "alone"
    alone.mkdir()
    (alone / "beside_of_mine.py").touch()
    (alone / "late_of_mine.py").write_text(
        MODULE.replace("    def blocks(self, architecture):\n", late, 1)
    )
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    before = [*sys.path]
    space = latprof.get_space("../spaces_of_mine/inner/tiny.py:Space")
    assert type(space).__module__ == "spaces_of_mine.inner.tiny"
    assert space.source_digest == latprof.get_space("spaces_of_mine.inner.tiny:Space").source_digest
    other = latprof.get_space(f"{alone / 'late_of_mine.py'}:Space")
    assert other.macs(other.sample(1)[0]) > 0
    assert sys.path == before
    for name in [name for name in sys.modules if name.partition(".")[0].endswith("_of_mine")]:
        del sys.modules[name]


def test_networks_are_measured_without_the_code_in_measuring_processes(place):
    space = latprof.get_space("mine_of_mine:Space")
    found = latprof.collect(space=space, n=4, store="s.db", **QUICK)
    assert found.outcome.made == 4
    assert not found.outcome.failures
    assert len((place / "mine_of_mine.pids").read_text().split()) == 1
    profiled = latprof.profile("1,2,0", space=space, visits=2, kernels=False)
    assert profiled.name == "tiny-of-mine:1,2,0"
    assert profiled.load.load_s > 0
    with Store.open("s.db") as store:
        assert store.spaces() == {space.description}


def test_a_network_that_cannot_be_built_is_a_failure_among_others(place):
    space = latprof.get_space("mine_of_mine:Broken")
    rows = space.sample(8, seed=3)
    rows.sort(key=lambda each: each.choices[0])
    good = [each for each in rows if not each.choices[0]]
    assert 0 < len(good) < 8
    found = latprof.collect(space=space, n=8, seed=_seed_that_begins_with(space), **QUICK)
    failures = dict(found.outcome.failures)
    assert found.outcome.made > 0
    assert all("RuntimeError: not this one" in each.message for each in failures.values())
    assert failures


def _seed_that_begins_with(space):
    """A seed whose first network can be built, which is tried before a store is made."""
    return next(seed for seed in range(99) if not space.sample(1, seed)[0].choices[0])


def test_a_space_that_builds_nothing_makes_no_store(place):
    space = latprof.get_space("mine_of_mine:Broken")
    seed = next(seed for seed in range(99) if space.sample(1, seed)[0].choices[0])
    with pytest.raises(latprof.LatprofError, match="not this one"):
        latprof.collect(space=space, n=1, seed=seed, store="none.db", **QUICK)
    assert not (place / "none.db").exists()


def test_a_changed_space_is_refused_with_the_reason(place):
    before = latprof.get_space("mine_of_mine:Space")
    latprof.collect(space=before, n=12, store="s.db", **QUICK)
    pack = latprof.train("s.db", "s.pack", space=before, compare=False)
    assert latprof.load_pack("s.pack", before).space.description == pack.space.description
    with pytest.raises(PackError, match="give the space itself"):
        latprof.load_pack("s.pack")
    with pytest.raises(UnknownNameError, match="one of your own"):
        latprof.train("s.db")

    same = changed(place, "class Nameless", "# a remark\nclass Nameless")
    assert latprof.load_pack("s.pack", same).space is same

    after = changed(place)
    reason = "its source was changed since"
    with pytest.raises(UsageError, match=reason):
        latprof.collect(space=after, n=12, store="s.db", **QUICK)
    with pytest.raises(UsageError, match=reason):
        latprof.train("s.db", space=after)
    with pytest.raises(UsageError, match=reason):
        latprof.report("s.db", space=after)
    for use in (
        lambda: latprof.load_pack("s.pack", after),
        lambda: latprof.predict("0,0,0", "s.pack", space=after),
        lambda: latprof.predict("0,0,0", pack, space=after),
        lambda: latprof.verify("s.pack", "0,0,0", space=after),
        lambda: latprof.lookup_table("s.pack", space=after),
        lambda: latprof.search(pack="s.pack", space=after, accuracy=lambda rows: [1.0] * len(rows)),
    ):
        with pytest.raises(PackSpaceError, match=reason):
            use()


def test_other_candidates_are_another_version_of_the_space(place):
    shallow, deep = map(
        sys.modules[latprof.get_space("mine_of_mine:Space").__module__].Deep, (2, 3)
    )
    latprof.collect(space=shallow, n=2, store="s.db", **QUICK)
    with pytest.raises(UsageError, match="its options differ: depth; keep each version"):
        latprof.collect(space=deep, n=2, store="s.db", **QUICK)


def test_a_pack_of_the_space_answers_in_its_table(place):
    space = latprof.get_space("mine_of_mine:Space")
    latprof.collect(space=space, n=20, store="s.db", **QUICK)
    pack = latprof.train("s.db", space=space, predictor="lookup-table", compare=False)
    table = json.loads(latprof.lookup_table(pack, "json").text)
    for architecture in space.sample(5, seed=9):
        total = table["fixed_ms"]
        for part in table["parts"]:
            mine = [architecture.choices[decision] for decision in part["decisions"]]
            total += next(e["latency_ms"] for e in part["entries"] if e["choices"] == mine)
        answer = latprof.predict(architecture, pack)
        assert total == pytest.approx(answer.latency_ms, abs=1e-6)
