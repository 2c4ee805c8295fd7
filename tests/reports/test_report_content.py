"""What a report says: the figures of each part, and what to run where a part is missing."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from fake_campaign import REFERENCE_MS, TARGET

from latprof.errors import InvalidValueError, NotEnoughDataError
from latprof.measurement.statistics import noise_floor_of_repeats
from latprof.reports import (
    BLOCK_COST_COLUMNS,
    ReportData,
    build_report,
    render_report,
    write_pictures,
)
from latprof.reports.sections.stability import visit_spreads


def sections_of(data):
    return {section.slug: section for section in build_report(data).sections}


def figures_of(data):
    return {figure.slug: figure for figure in build_report(data).figures}


def only_measurements(data, rows, **changes):
    labels = data.labels.head(rows)
    visits = data.visits[data.visits["subject"].isin(labels["subject"])]
    return ReportData(TARGET, "reference", REFERENCE_MS, labels, visits, **changes)


def test_headline_figures_are_those_of_the_pack_and_the_store(data):
    tiles = {tile.label: tile for tile in build_report(data).tiles}

    assert tiles["Networks measured"].value == "150"
    assert tiles["Networks measured"].detail == "20 of them again"
    assert tiles["Noise floor"].value == f"{data.noise_floor.percent:.2f}"
    assert tiles["RMSE, lookup-table"].value == f"{data.pack.metrics.rmse_percent:.2f}"
    assert tiles["Spearman's rho"].value == f"{data.pack.metrics.spearman:.4f}"


def test_the_scatter_shows_every_held_out_network_on_equal_axes(data):
    figure = figures_of(data)["predicted-against-measured"]
    (points,) = figure.series

    assert figure.square
    assert figure.x.limits == figure.y.limits
    np.testing.assert_allclose(points.x, data.pack.held_out.measured_ms)
    np.testing.assert_allclose(points.y, data.pack.held_out.predicted_ms)
    assert points.hover[0].startswith(data.pack.held_out.architectures[0])
    assert f"RMSE {data.pack.metrics.rmse_ms:.3f} ms" in figure.note


def test_the_error_histogram_counts_every_network_and_draws_the_floor(data):
    figure = figures_of(data)["error-distribution"]
    bars, noise = figure.series

    assert sum(bars.y) == len(data.pack.held_out.architectures)
    assert figure.bands[0].high == -figure.bands[0].low == data.noise_floor.percent
    step = noise.x[1] - noise.x[0]
    assert sum(noise.y) * step / bars.width == pytest.approx(sum(bars.y), rel=1e-3)


def test_without_kernels_the_blocks_come_from_the_fitted_table(data):
    changed = dataclasses.replace(data, kernels=data.kernels.head(0))
    figure = figures_of(changed)["time-by-block"]
    costs = data.block_costs
    expected = costs.groupby("position")["latency_ms"].mean().sum()

    assert sum(y for series in figure.series for y in series.y) == pytest.approx(expected)
    assert len(figure.x.categories) == 21


@pytest.mark.parametrize("table", [True, False])
def test_measured_kernels_say_where_the_time_goes_before_a_fitted_table(data, table):
    kept = data.block_costs if table else data.block_costs.head(0)
    figures = figures_of(dataclasses.replace(data, block_costs=kept))
    figure = figures["time-by-block"]
    assert ("candidate-costs" in figures) == table
    mean = data.kernels.groupby("subject")["latency_ms"].sum().mean()

    assert figure.x.categories[0] == "stem"
    assert sum(y for series in figure.series for y in series.y) == pytest.approx(mean)


def test_kernel_kinds_share_the_whole_time(data):
    section = sections_of(data)["kernels"]
    (bars,) = section.figures[0].series

    assert sum(bars.x) == pytest.approx(100)
    assert list(bars.x) == sorted(bars.x, reverse=True)
    assert section.lead.startswith("conv1x1 kernels take")


def test_pairing_removes_the_hosts_steps(data):
    spreads = visit_spreads(data)

    assert len(spreads) == 170
    assert spreads["raw"].median() > 4 * spreads["paired"].median()


def test_disturbed_visits_do_not_count_in_the_spread(data):
    disturbed = data.visits["visit"] > 0
    changed = dataclasses.replace(data, visits=data.visits.assign(disturbed=disturbed))

    assert visit_spreads(changed).empty
    assert "twice" in sections_of(changed)["pairing"].lead


def test_repeats_give_the_noise_floor_of_the_statistics_module(data):
    pairs = data.repeated
    floor = noise_floor_of_repeats(pairs["first_ms"], pairs["second_ms"])

    assert f"a noise floor of {floor.percent:.2f} %" in sections_of(data)["repeats"].lead
    assert len(figures_of(data)["second-against-first"].series[0].x) == 20


def test_repeats_with_fewer_visits_count_in_their_share(data):
    labels = data.labels.copy()
    again = labels.index[labels["label"] == 1]
    labels.loc[again[:5], "visits"] = 2
    changed = dataclasses.replace(data, labels=labels)
    pairs = changed.repeated
    visits = pairs["visits"].to_numpy(float), pairs["visits_again"].to_numpy(float)
    floor = noise_floor_of_repeats(pairs["first_ms"], pairs["second_ms"], visits)

    assert len(pairs) == len(data.repeated)
    assert set(pairs["visits_again"]) == {2, 8}
    assert f"a noise floor of {floor.percent:.2f} %" in sections_of(changed)["repeats"].lead


def test_missing_parts_say_what_to_run(data):
    sections = sections_of(only_measurements(data, 3))
    wanted = {
        "prediction": "latprof train",
        "blocks": "--ops",
        "kernels": "latprof collect --ops",
        "repeats": "latprof collect",
        "conditions": "latprof doctor",
    }

    for slug, command in wanted.items():
        assert not sections[slug].figures
        assert command in " ".join(sections[slug].missing)


def test_one_network_visited_once_is_a_report(data):
    changed = dataclasses.replace(only_measurements(data, 1), visits=data.visits.head(1))

    assert "The only network measured takes" in render_report(build_report(changed))
    assert list(figures_of(changed)) == ["latency-by-network"]


def test_models_alone_are_drawn_one_by_one_and_listed(data):
    labels = data.labels.head(3).assign(kind="model", name=["a.onnx", "a.onnx", "b.onnx"], space="")
    labels.loc[labels.index[0], ["low_ms", "high_ms"]] = np.nan
    changed = dataclasses.replace(only_measurements(data, 3), labels=labels)
    section = sections_of(changed)["latency"]

    assert section.figures[0].slug == "latency-by-network"
    assert len(set(section.figures[0].y.categories)) == 3
    assert section.tables[0].caption == "3 models, fastest first"
    assert {row[0] for row in section.tables[0].rows} == {*section.figures[0].y.categories}
    assert "—" in {row[2] for row in section.tables[0].rows}


def test_a_campaign_in_which_all_failed_says_so(data):
    visits = data.visits.head(4).assign(failure_code="timeout")
    changed = ReportData(TARGET, "reference", REFERENCE_MS, data.labels.head(0), visits)
    sections = sections_of(changed)

    assert "every visit failed" in sections["latency"].lead
    assert sections["failures"].lead.startswith("4 visits of 4 failed, in 4 networks: timeout (4)")
    assert "<script" not in render_report(build_report(changed))


def test_a_pack_without_held_out_rows_or_metrics_still_reports(data):
    pack = dataclasses.replace(data.pack, held_out=None, metrics=None, comparison={})
    sections = sections_of(dataclasses.replace(data, pack=pack))

    assert "latprof train" in sections["prediction"].missing[0]
    assert "latprof train" in sections["predictors"].missing[0]
    assert "errors" not in sections


def test_a_pack_of_another_target_is_warned_about(data):
    other = dataclasses.replace(TARGET, threads=2)
    changed = dataclasses.replace(data, pack=dataclasses.replace(data.pack, target=other))

    assert "threads 1 against 2" in sections_of(changed)["prediction"].warnings[0]


def test_a_table_without_its_columns_is_refused(data):
    with pytest.raises(InvalidValueError, match="labels lacks columns"):
        dataclasses.replace(data, labels=data.labels.drop(columns=["ratio"]))


def test_nothing_measured_is_refused(data):
    with pytest.raises(NotEnoughDataError, match="latprof collect"):
        ReportData(TARGET, "r", 1.0, data.labels.head(0), data.visits.head(0))


def test_every_axis_and_numeric_header_names_what_it_counts(data):
    axes = [axis for f in build_report(data).figures for axis in (f.x, f.y)]
    counts = {"Networks", "Block"}

    for axis in axes:
        if axis.scale != "category":
            assert axis.label in counts or "(" in axis.label


def test_pngs_are_pictures_named_for_what_they_show(data, tmp_path):
    paths = write_pictures(build_report(data), tmp_path / "new" / "plots")

    assert "predicted-against-measured.png" in {path.name for path in paths}
    assert len(paths) == len(build_report(data).figures)
    for path in paths:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(content) > 10_000


def test_empty_tables_default_to_their_columns(data):
    changed = only_measurements(data, 2)

    assert isinstance(changed.kernels, pd.DataFrame)
    assert list(changed.block_costs.columns) == list(BLOCK_COST_COLUMNS)


def test_blocks_stand_in_an_order_that_holds_in_every_network(data):
    rows = [
        (name, position, block, block, "conv", 1.0)
        for name, blocks in (("a", "stem b1 b3 head"), ("b", "stem b2 b3 b4 head"), ("c", "b1 b2"))
        for position, block in enumerate(blocks.split())
    ]
    columns = ["subject", "position", "name", "block", "kind", "latency_ms"]
    kernels = pd.DataFrame(rows, columns=columns)

    (table,) = sections_of(only_measurements(data, 2, kernels=kernels))["blocks"].tables

    assert [row[0] for row in table.rows] == ["stem", "b1", "b2", "b3", "b4", "head"]


def test_a_phones_heat_and_clock_are_shown_over_its_campaign(data):
    assert "phone" not in sections_of(data)
    visits = data.visits.copy()
    warm = np.linspace(30.0, 38.5, len(visits))
    visits = visits.assign(
        phone_skin_c=warm, phone_clock_mhz=2800.0, phone_limit_mhz=2850.0, unusable=warm > 38.4
    )
    section = sections_of(dataclasses.replace(data, visits=visits))["phone"]
    temperature, clock = section.figures
    assert {series.name for series in clock.series} == {"Clock", "Limit of the clock"}
    assert max(temperature.series[0].y) == pytest.approx(38.5, abs=0.2)
    throttled = int((warm[visits["failure_code"].isna()] > 38.4).sum())
    assert f"throttled during {throttled} visit" in section.lead
    assert "38.5" in str(section.tables[0].rows)
