"""The page: whole HTML, nothing from outside, every figure and number in it, hostile text inert."""

import json
import re

import numpy as np
import pytest
from fake_campaign import HOSTILE, fake_pack, fake_report_data
from html_outline import Outline

from latprof.errors import DiskFullError, OutputPathError
from latprof.measurement import files
from latprof.reports import build_report, render_html, write_html

URL_ATTRIBUTES = {"src", "href", "action", "data", "poster", "srcset", "background", "formaction"}


@pytest.fixture(scope="module")
def outline(page):
    return Outline(page)


def test_every_element_is_closed_and_ids_are_unique(outline):
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]

    assert len(ids) == len(set(ids))
    assert [tag for tag, _ in outline.elements].count("main") == 1


def test_the_page_loads_nothing_from_anywhere(page, outline):
    urls = [
        value
        for _, attributes in outline.elements
        for name, value in attributes.items()
        if name in URL_ATTRIBUTES
    ]
    policy = next(a for _, a in outline.elements if a.get("http-equiv"))["content"]
    style = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))

    assert urls
    assert all(url.startswith(("#", "data:")) for url in urls)
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    assert "url(" not in style
    assert "@import" not in style


def test_no_button_sends_a_plot_to_a_web_site(outline):
    script = outline.scripts[-1]

    assert 'plotlyServerURL: ""' in script
    assert "Cloud" not in script
    assert "modeBarButtons: [" in script


def test_every_figure_has_its_specification_and_a_picture_without_javascript(data, page, outline):
    slugs = [figure.slug for figure in build_report(data).figures]
    specifications = json.loads(outline.scripts[0])
    pictures = [a for tag, a in outline.elements if tag == "img"]

    assert list(specifications) == slugs
    assert len(slugs) == 10
    assert all(a["src"].startswith("data:image/svg+xml;base64,") for a in pictures)
    assert [a["alt"] for a in pictures] == [f.alt for f in build_report(data).figures]
    assert page.count("<noscript><img") == len(slugs)


def test_tables_hold_the_numbers_of_the_campaign(data, outline):
    metrics = data.pack.comparison["xgboost"]
    rows = {r[0]: r for r in outline.tables["Every predictor on the same held-out networks"]}
    error = np.abs(data.pack.held_out.predicted_ms / data.pack.held_out.measured_ms - 1)
    worst = outline.tables["The 12 networks predicted worst"]

    assert rows["xgboost"][1:3] == [f"{metrics.rmse_ms:.3f}", f"{metrics.rmse_percent:.2f}"]
    assert worst[1][0] == data.pack.held_out.architectures[int(error.argmax())]
    assert float(worst[1][3]) == pytest.approx(100 * error.max(), abs=5.1e-3) or float(
        worst[1][3]
    ) == pytest.approx(-100 * error.max(), abs=5.1e-3)


def test_tables_have_row_and_column_headers_in_scope(outline):
    headers = [attributes for tag, attributes in outline.elements if tag == "th"]

    assert {a["scope"] for a in headers} == {"row", "col"}
    assert "number" in {a.get("class") for a in headers}


def test_the_page_follows_the_readers_theme_and_width(page, outline):
    assert "@media (prefers-color-scheme: dark)" in page
    assert ("meta", {"name": "color-scheme", "content": "light dark"}) in outline.elements
    assert any(a.get("name") == "viewport" for _, a in outline.elements)
    assert "prefers-color-scheme: dark" in outline.scripts[-1]


def test_failures_and_failed_checks_are_shown(outline):
    assert "3 visits of 1,360 failed" in outline.words
    assert outline.tables["Failures by kind"][1][:3] == ["timeout", "2", "2"]
    assert "Warning. swap: 1.2 GiB of swap in use; free memory" in outline.words


def test_the_protocol_is_told_with_its_settings(outline):
    settings = dict(row for row in outline.tables["Settings of the protocol"])

    assert settings["Visits to a network"] == "8"
    assert "take about 16 ms; 1 before them" in outline.words
    assert "A millisecond here is a ratio times a constant" in outline.words


def hostile_data():
    """Everything that comes from outside is hostile text."""
    data = fake_report_data(networks=40, visits=2, repeats=3)
    labels = data.labels.assign(name=HOSTILE)
    visits = data.visits.assign(failure_message=HOSTILE)
    kernels = data.kernels.assign(
        kind=data.kernels["kind"] + HOSTILE, block=HOSTILE + data.kernels["block"]
    )
    held_out = len(data.pack.held_out.architectures)
    return (
        fake_report_data(
            networks=40,
            visits=2,
            repeats=3,
            labels=labels,
            visits_=None,
            kernels=kernels,
            pack=fake_pack(data.labels, names=[HOSTILE] * held_out),
            block_costs=data.block_costs.assign(
                choice=HOSTILE + data.block_costs["choice"],
                block=HOSTILE + data.block_costs["block"],
            ),
            conditions=((HOSTILE, HOSTILE),),
            doctor=(("FAIL", HOSTILE, HOSTILE, HOSTILE),),
            reference=HOSTILE,
            title=HOSTILE,
        )
        if visits is None
        else _with(data, labels, visits, kernels, held_out)
    )


def _with(data, labels, visits, kernels, held_out):
    import dataclasses

    costs = data.block_costs
    return dataclasses.replace(
        data,
        labels=labels,
        visits=visits,
        kernels=kernels,
        pack=fake_pack(data.labels, names=[HOSTILE] * held_out),
        block_costs=costs.assign(choice=HOSTILE + costs["choice"], block=HOSTILE + costs["block"]),
        conditions=((HOSTILE, HOSTILE),),
        doctor=(("FAIL", HOSTILE, HOSTILE, HOSTILE),),
        reference=HOSTILE,
        title=HOSTILE,
    )
