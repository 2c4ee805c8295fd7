"""The page of a search: what it says, and what a reader without colours or scripts gets."""

import math
from dataclasses import replace

import numpy as np
import pytest
from html_outline import Outline
from onnx import helper

from latprof.datasets import space_from_function
from latprof.datasets.spaces.named import get_space
from latprof.measurement.records import Target
from latprof.reports.rendering.drawing import to_svg
from latprof.reports.rendering.page import render_report, write_pictures
from latprof.reports.rendering.theme import LIGHT
from latprof.reports.rendering.wording import score
from latprof.reports.search_data import SearchReportData
from latprof.reports.search_report import build_search_report
from latprof.reports.sections.found_network import draw_network
from latprof.searchers import CrossTarget, Evaluation, LatencyTable, SearchProblem
from latprof.searchers.base import Found
from latprof.searchers.verification import Verification

SPACE = get_space("nasbench-macro")
ROWS = SPACE.sample_choices(40, seed=0)
NETWORKS = SPACE.architectures(ROWS)
TABLE = LatencyTable(SPACE, ROWS, 2.0 + np.arange(40) / 10)
TARGET = Target(
    "cpu", "a processor", "onnxruntime", "1.31.1", batch_size=4, input_shape=(4, 3, 32, 32)
)


def step(index, accuracy):
    latency = float(TABLE([NETWORKS[index]])[0])
    return Evaluation(NETWORKS[index], accuracy, latency, 1.02 * latency)


TRAIL = tuple(step(index, 80.0 + (7 * index) % 13) for index in range(40))
BEST = max((s for s in TRAIL if s.bound_ms <= 4.0), key=lambda s: s.accuracy)


def data(**changes):
    made = SearchReportData(
        "evolution",
        SearchProblem(TABLE, lambda _: [], limit_ms=4.0, upper=0.95),
        Found(BEST, TRAIL),
        latency="a table",
        accuracy="mine:accuracy",
        target=TARGET,
    )
    return replace(made, **changes)


def verification(measured_ms, measured_on=TARGET):
    ends = measured_ms * 0.99, measured_ms * 1.01
    return Verification(
        str(BEST.architecture),
        measured_ms,
        *ends,
        BEST.latency_ms,
        BEST.bound_ms,
        4.0,
        TARGET,
        measured_on,
    )


def test_the_bound_beside_a_measurement_is_the_search_s_and_left_out_where_there_is_none():
    for upper, names in ((0.9, ["p90 upper bound"]), (None, [])):
        found = replace(verification(3.0), upper=upper)
        shown = section(build_search_report(data(verification=found)), "verification")
        rows = dict(shown.tables[0].rows)
        assert [name for name in rows if "bound" in name] == names
        assert list(shown.figures[0].y.categories) == ["Measured", "Predicted", *names]


def section(report, slug):
    (found,) = [s for s in report.sections if s.slug == slug]
    return found


def test_a_score_is_called_one_and_keeps_its_figures():
    trail = tuple(replace(s, accuracy=0.9 + 0.0001 * i) for i, s in enumerate(TRAIL))
    best = max((s for s in trail if s.bound_ms <= 4.0), key=lambda s: s.accuracy)
    report = build_search_report(data(accuracy="mine:fitness", found=Found(best, trail)))
    table = next(t for t in section(report, "front").tables if t.folded)
    assert table.columns[1].header == "Score"
    assert float(table.rows[-1][1]) == pytest.approx(0.9039)
    assert score(0.90312) == "0.9031"
    assert (score(77.0), score(0.0), score(1234.5)) == ("77.00", "0.00", "1,234.50")
    assert score(1e-5) == "1e-05"


def test_the_front_holds_what_nothing_beats():
    front = section(build_search_report(data()), "front")
    table = next(t for t in front.tables if t.folded)
    latency = [float(row[2]) for row in table.rows]
    accuracy = [float(row[1]) for row in table.rows]
    assert latency == sorted(latency)
    assert accuracy == sorted(accuracy)
    assert accuracy[-1] == max(s.accuracy for s in TRAIL)
    (figure,) = front.figures
    assert [rule.at for rule in figure.rules] == [4.0]


def test_the_best_within_the_limit_come_first_and_the_found_one_is_marked():
    table = section(build_search_report(data()), "front").tables[0]
    assert table.rows[0][0] == str(BEST.architecture)
    assert table.marks == {0}
    assert all(float(row[3]) <= 4.0 for row in table.rows)


def test_the_way_there_never_falls():
    figures = section(build_search_report(data()), "trajectory").figures
    best = figures[0].series[1].y
    assert list(best) == sorted(best)
    assert best[-1] == BEST.accuracy


def test_the_network_is_drawn_block_by_block():
    report = build_search_report(data())
    (drawing,) = report.drawings
    blocks = SPACE.blocks(BEST.architecture)
    assert len(drawing.boxes) == len(blocks)
    assert [box.skipped for box in drawing.boxes] == [not block.layers for block in blocks]
    labels = [box.label for box in drawing.boxes]
    for block, label in zip(blocks, labels, strict=True):
        if block.expansion:
            assert label == f"MB{block.expansion} {block.kernel}x{block.kernel}"


@pytest.mark.parametrize(
    "name", ["proxyless", "nasbench201", "ofa-mobilenetv3", "mnasnet", "fbnet"]
)
def test_networks_of_every_space_are_drawn(name):
    space = get_space(name)
    svg = to_svg(draw_network(space, space.sample(1, seed=1)[0]), LIGHT)
    assert svg.startswith("<svg")
    assert svg.count("<rect") > 10
    assert "nan" not in svg


def test_networks_that_a_function_builds_are_drawn_by_what_they_multiply():
    def model(choices):
        weights = [helper.make_tensor("w", 1, (choices[0], 4, 3), bytes(48 * choices[0]), raw=True)]
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["c"], "/a/Conv"),
            helper.make_node("Softmax", ["c"], ["y"], "/b/Softmax"),
        ]
        ends = [helper.make_tensor_value_info(name, 1, ["N", 4, 9]) for name in "x"]
        out = helper.make_tensor_value_info("y", 1, ["N", "C", "L"])
        graph = helper.make_graph(nodes, "g", ends, [out], weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    space = space_from_function(model, [(2, 8)], (4, 9), name="sound")
    architecture = space.sample(1)[0]
    drawing = draw_network(space, architecture)
    (box,) = drawing.boxes
    assert box.shape == ("2x7", "8x7")[architecture.choices[0]]
    assert not box.skipped
    assert box.label.startswith("conv")
    assert box.label.endswith(" +1")
    assert [name for name, _ in drawing.legend] == ["kernel 3"]


def test_what_was_measured_stands_beside_the_prediction():
    report = build_search_report(data(verification=verification(3.9)))
    found = section(report, "verification")
    assert "It keeps the limit" in found.lead
    assert not found.warnings
    broken = section(build_search_report(data(verification=verification(4.2))), "verification")
    assert "It breaks the limit" in broken.lead
    assert broken.warnings


def test_a_measurement_on_another_target_gives_no_verdict():
    other = replace(TARGET, device_name="another processor")
    report = build_search_report(data(verification=verification(9.0, other)))
    found = section(report, "verification")
    assert "limit" not in found.lead
    assert "another processor" in found.warnings[0]


def test_each_target_s_fastest_network_has_a_star():
    latency = np.array([[1.0, 5.0, 2.0], [2.0, 4.0, 3.0], [0.5, 6.0, 1.0]])
    table = CrossTarget(("a", "b", "c"), tuple(NETWORKS[:3]), np.array([90.0, 90.1, 90.2]), latency)
    found = section(build_search_report(data(cross_target=table)), "cross-target")
    (rows,) = [t.rows for t in found.tables]
    assert [row[2:5] for row in rows] == [
        ("1.000", "5.000", "2.000"),
        ("2.000", "4.000 *", "3.000"),
        ("0.500 *", "6.000", "1.000 *"),
    ]
    assert "On 2 of 3 targets" in found.lead


def test_nothing_found_is_said():
    report = build_search_report(data(found=Found(None, TRAIL)))
    assert any(tile.value == "nothing" for tile in report.tiles)
    assert not report.drawings
    assert 'class="drawing"' not in render_report(report)


def test_without_a_limit_there_is_no_rule():
    problem = SearchProblem(TABLE, lambda _: [], limit_ms=math.inf)
    report = build_search_report(data(problem=problem))
    assert not any(figure.rules for figure in report.figures)
    assert ("Limit", "none") in report.facts


def test_words_from_outside_cannot_leave_their_place(tmp_path):
    evil = "</script><script>alert(1)</script>"
    page = render_report(build_search_report(data(accuracy=evil, latency=evil, title=evil)))
    outline = Outline(page)
    assert len(outline.scripts) == 3
    assert evil in outline.text
    assert 'src="http' not in page
    assert "var(--series-" in page
    names = [path.name for path in write_pictures(build_search_report(data()), tmp_path)]
    assert names == [
        "accuracy-against-latency.png",
        "search-trajectory.png",
        "latency-trajectory.png",
        "architecture.svg",
    ]
    assert "var(" not in (tmp_path / "architecture.svg").read_text()
