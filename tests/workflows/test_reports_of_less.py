"""Reports of stores that hold little, and warnings of too little."""

import dataclasses

import pytest
from command_line import run_latprof
from small_space import SmallSpace
from stored_visits import TARGET, measurement

import latprof
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import NotEnoughDataError, UnknownNameError, UsageError
from latprof.measurement.records import Subject
from latprof.measurement.store.store import Store
from latprof.measurement.store.trails import Trails, TrailStep
from latprof.workflows.arguments import run_options

SPACE = ProxylessSpace()


@pytest.fixture
def searched(tmp_path):
    return keep_searches(tmp_path / "searches.db", SPACE, SPACE)


def keep_searches(path, *spaces, method="evolution", accuracies=(60, 61, 62, 63, 64, 65)):
    """A store with a search in each of the spaces, in turn."""
    with Store.open(path, create=True) as store:
        trails = Trails(store)
        for seed, space in enumerate(spaces):
            plan = {
                "method": method,
                "space": space.description,
                "limit_ms": 5.0,
                "upper": 0.95,
                "seed": seed,
                "sources": {"latency": "cpu.pack 0123", "accuracy": "mine:robustness 4567"},
                "options": {},
            }
            number = trails.begin(plan)
            for row, architecture in enumerate(space.sample(len(accuracies), seed)):
                score = float(accuracies[row])
                step = TrailStep(str(architecture), score, 3.0 + row / 2, 3.2 + row / 2)
                trails.add(number, row, step)
            trails.end(number)
    return path


def test_a_store_of_searches_shows_the_last_one_and_lists_all(searched, tmp_path):
    found = latprof.report(searched, tmp_path / "r.html")
    assert found.content.title.startswith("Search 2 of")
    tiles = {tile.label: tile.value for tile in found.content.tiles}
    assert tiles["Score"] == "63.00"  # the fourth is the last whose bound keeps the limit
    assert "Accuracy" not in found.page.read_text(encoding="utf-8").split("<script")[0]
    tables = [table for section in found.content.sections for table in section.tables]
    assert [row[0] for row in tables[-1].rows] == ["1", "2"]
    assert run_latprof("report", searched, "-o", tmp_path / "s.html").returncode == 0


@pytest.mark.parametrize(
    ("method", "accuracies", "shown_ms"),
    [
        ("evolution", (60, 62, 62, 61, 70, 70), "3.500"),  # the faster one of two that are as good
        ("evolution", (63, 62, 62, 61, 70, 70), "3.000"),
        ("proxyless-g", (63, 62, 62, 61), "4.500"),  # what was derived last
        ("proxyless-g", (60, 60, 60, 60, 60, 60), None),  # the last one is above the limit
    ],
)
def test_a_report_names_the_network_that_the_search_named(tmp_path, method, accuracies, shown_ms):
    path = keep_searches(tmp_path / "s.db", SPACE, method=method, accuracies=accuracies)
    tiles = {tile.label: tile.value for tile in latprof.report(path).content.tiles}
    assert tiles.get("Predicted latency") == shown_ms


def test_a_search_in_a_space_of_ones_own_is_shown_where_the_space_is_told(tmp_path):
    own = SmallSpace()
    path = keep_searches(tmp_path / "s.db", own, SPACE, own, SPACE)
    found = latprof.report(path, space=own)
    assert found.content.title.startswith("Search 3 of")
    keep_searches(tmp_path / "own.db", own)
    with pytest.raises(UnknownNameError, match="give it as `space`"):
        latprof.report(tmp_path / "own.db")
    words = ("--space", "small_space:SmallSpace", "-o", tmp_path / "r.html")
    assert run_latprof("report", tmp_path / "own.db", *words).returncode == 0
    keep_searches(tmp_path / "other.db", SPACE)
    with pytest.raises(UsageError, match="no search in this space: it is 'proxyless'"):
        latprof.report(tmp_path / "other.db", space=own)


def test_an_empty_store_says_what_it_lacks(tmp_path):
    Store.open(tmp_path / "empty.db", create=True).close()
    with pytest.raises(NotEnoughDataError, match="no measurements"):
        latprof.report(tmp_path / "empty.db")


def test_a_report_of_model_files_gives_no_advice_that_fails(tmp_path):
    path = tmp_path / "models.db"
    with Store.open(path, create=True) as store:
        store.add_target(TARGET, "reference")
        for visit in range(4):
            made = measurement(visit=visit, process=f"p{visit}", ratio=2.0 + visit / 1000)
            model = Subject("model", "0" * 64, "m.onnx")
            store.add(dataclasses.replace(made, subject=model))
    content = latprof.report(path).content
    advice = " ".join(text for section in content.sections for text in section.missing)
    assert "latprof train" not in advice
    assert "--ops" in advice


def test_few_held_out_networks_are_warned_of(collected, tmp_path):
    notes = []
    latprof.train(collected, tmp_path / "p.pack", compare=False, on_note=notes.append)
    assert any("held out" in note for note in notes)


@pytest.mark.parametrize(("threads", "warned"), [(99, True), (1, False)])
def test_threads_that_take_turns_are_warned_of(threads, warned):
    notes = []
    run_options("cpu:onnxruntime", {"threads": threads}, notes.append)
    assert any("take turns" in note for note in notes) == warned


def test_a_static_page_is_small_and_has_no_script(collected, pack, tmp_path):
    done = run_latprof("report", collected, "--pack", pack, "--static", "-o", tmp_path / "r.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 300_000
    assert "<script" not in page
    assert page.count("data:image/webp") >= 5
