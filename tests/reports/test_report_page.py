"""The page: whole HTML, nothing from outside, every figure and number in it, hostile text inert."""

import dataclasses
import errno
import json
import os
import re

import numpy as np
import pytest
from fake_campaign import HOSTILE, fake_report_data
from html_outline import Outline

from latprof.errors import DiskFullError, OutputPathError
from latprof.reports import build_report, render_report, write_report

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


@pytest.fixture(scope="module")
def hostile_page():
    """A page about data in which every text from outside is hostile."""
    data = fake_report_data(networks=40, visits=2, repeats=3)
    kernels, costs, held_out = data.kernels, data.block_costs, data.pack.held_out
    hostile = dataclasses.replace(
        data,
        labels=data.labels.assign(name=HOSTILE),
        visits=data.visits.assign(failure_message=HOSTILE),
        kernels=kernels.assign(kind=kernels["kind"] + HOSTILE, block=HOSTILE + kernels["block"]),
        pack=dataclasses.replace(
            data.pack,
            held_out=dataclasses.replace(
                held_out, architectures=(HOSTILE,) * len(held_out.architectures)
            ),
        ),
        block_costs=costs.assign(choice=HOSTILE + costs["choice"], block=HOSTILE + costs["block"]),
        conditions=((HOSTILE, HOSTILE),),
        doctor=(("FAIL", HOSTILE, HOSTILE, HOSTILE),),
        reference=HOSTILE,
        title=HOSTILE,
    )
    return render_report(build_report(hostile))


def test_hostile_text_makes_no_element(hostile_page):
    outline = Outline(hostile_page)

    assert len(outline.scripts) == 3
    assert not [a for _, a in outline.elements if "onerror" in a]
    assert all(a["src"].startswith("data:") for tag, a in outline.elements if tag == "img")
    assert HOSTILE.split()[0] in outline.words


def test_hostile_text_is_inert_in_the_plots_json(hostile_page):
    block = re.search(r'id="figures">(.*?)</script>', hostile_page, re.DOTALL)[1]
    specification = json.loads(block)["predicted-against-measured"]

    assert not set("<>&\u2028") & set(block)
    assert specification["data"][0]["customdata"][0].startswith("&lt;/script&gt;&lt;script")


@pytest.fixture(scope="module")
def plain(data):
    """A report without plots, which is quick to write."""
    visits = data.visits.head(4).assign(failure_code="timeout")
    return dataclasses.replace(
        data,
        labels=data.labels.head(0),
        visits=visits,
        pack=None,
        kernels=data.kernels.head(0),
        block_costs=data.block_costs.head(0),
    )


def test_names_that_are_no_utf8_are_written(tmp_path, plain):
    path = write_report(
        build_report(dataclasses.replace(plain, title="model\udcff.onnx")), tmp_path / "r.html"
    )

    assert "model?.onnx" in path.read_text("utf-8")


def test_five_thousand_networks_stay_a_small_page():
    page = render_report(build_report(fake_report_data(networks=5000, visits=2, repeats=30)))

    assert len(page) < 8e6
    assert "5,000 networks take" in page


def test_an_unwritable_path_is_refused_and_leaves_nothing(tmp_path, plain):
    with pytest.raises(OutputPathError, match="cannot write"):
        write_report(build_report(plain), tmp_path / "missing" / "report.html")
    with pytest.raises(OutputPathError):
        write_report(build_report(plain), tmp_path)

    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named_and_the_old_page_kept(tmp_path, plain, monkeypatch):
    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(DiskFullError, match="no space left"):
        write_report(build_report(plain), path)

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
