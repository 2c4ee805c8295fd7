"""Results as DataFrames and on matplotlib's axes."""

import matplotlib as mpl
import pytest
from command_line import run_latprof

import latprof

MEMBER = "1,0,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"
OTHER = "0,6,6,6,2,0,1,1,5,1,1,1,4,1,1,1,5,5,2,2,5"


@pytest.fixture(autouse=True)
def _no_screen():
    before = mpl.get_backend()
    mpl.use("agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
    mpl.use(before)


@pytest.fixture
def axes():
    from matplotlib.figure import Figure

    return Figure().subplots()


def test_answers_are_a_list_and_a_frame(axes):
    found = latprof.predict([MEMBER, OTHER], "proxyless-cpu-ort1", upper=0.95)
    assert isinstance(found, list)
    frame = found.to_frame()
    assert frame["latency_ms"].tolist() == [answer.latency_ms for answer in found]
    assert (frame["low_ms"] < frame["latency_ms"]).all()
    assert (frame["latency_ms"] < frame["upper_ms"]).all()
    assert found.plot(axes) is axes
    assert len(axes.get_yticklabels()) == 2
    one = latprof.predict(MEMBER, "proxyless-cpu-ort1")
    assert one.to_frame().to_dict("records") == one.frame_rows()
    assert one.plot().get_xlabel() == "latency, ms"


def test_comparison_of_stores(collected, axes):
    found = latprof.compare(collected, collected)
    frame = found.to_frame()
    assert len(frame) == len(found.comparisons) > 1
    assert frame["effect"].tolist() == [0.0] * len(frame)
    assert found.plot(axes) is axes


def test_a_pack_shows_its_held_out_networks(pack, axes):
    loaded = latprof.load_pack(pack)
    frame = loaded.to_frame()
    assert list(frame.columns) == ["architecture", "measured_ms", "predicted_ms"]
    assert len(frame) == loaded.metrics.rows
    assert loaded.plot(axes) is axes
    assert axes.get_xlabel() == "measured, ms"


def test_a_collection_shows_what_the_store_holds(collect_options, collected, tmp_path, axes):
    import shutil

    store = shutil.copy(collected, tmp_path / "lat.db")
    done = run_latprof(*collect_options, "--store", store)
    assert done.returncode == 0, done.stderr
    options = {"space": "proxyless", "resolution": 64, "visits": 2, "n": 14, "ops": True}
    found = latprof.collect(store=store, **options)
    frame = found.to_frame()
    assert len(frame) == 14
    assert frame["latency_ms"].tolist() == latprof.labels(store)["latency_ms"].tolist()
    assert found.plot(axes) is axes
