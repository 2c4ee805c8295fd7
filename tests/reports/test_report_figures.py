"""Renderers: specifications that plotly accepts, colours that can be told apart, safe JSON."""

import json
import math

import pytest
from plotly import graph_objects

from latprof.reports import build_report
from latprof.reports.rendering.interactive import specification, themed, to_json
from latprof.reports.rendering.static import to_svg
from latprof.reports.rendering.theme import DARK, LIGHT, SERIES
from latprof.reports.rendering.wording import duration, ms, ms_column, percent, short


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first, second):
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_plotly_accepts_every_specification(data, palette):
    for figure in build_report(data).figures:
        spec = themed(specification(figure), palette)
        drawn = graph_objects.Figure(spec)

        assert len(drawn.data) == len(figure.series)
        assert "@" not in json.dumps(spec["layout"])


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_marks_stand_out_from_their_ground(palette):
    for role in ("ink", "muted", "link", "ok", "warn", "fail"):
        assert contrast(palette[role], palette["card"]) >= 4.5, role
        assert contrast(palette[role], palette["page"]) >= 4.5, role
    for role in (*SERIES, "floor"):
        assert contrast(palette[role], palette["card"]) >= 3, role
    assert contrast(palette["ink"], palette["mark"]) >= 4.5


def test_both_themes_have_the_same_roles():
    assert LIGHT.keys() == DARK.keys()


def test_pictures_follow_the_readers_theme(data):
    svg = to_svg(build_report(data).figures[0])

    assert svg.startswith("<svg")
    assert "prefers-color-scheme:dark" in svg
    assert "var(--ink)" in svg
    assert LIGHT["series-1"] in svg.split("</style>")[0]


def test_json_cannot_leave_its_script_element():
    text = to_json({"name": "</script><!--&\u2028"})

    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"name": "</script><!--&\u2028"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(29.2178, "29.22"), (0.32331, "0.323"), (1234.5, "1,234"), (0.0, "0"), (math.nan, "—")],
)
def test_milliseconds_have_about_four_figures(value, text):
    assert ms(value) == text


def test_a_column_of_milliseconds_has_the_same_decimals():
    assert ms_column([9.5, 10.25, 31.0]) == ["9.50", "10.25", "31.00"]
    assert ms_column([math.nan, 0.0]) == ["—", "0.000"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.2, "4.2 s"), (42, "42 s"), (402, "6 min 42 s"), (7500, "2 h 5 min")]
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text


def test_percent_keeps_its_sign_on_the_line():
    assert percent(0.01234) == "1.2\u00a0%"
    assert percent(0.0074) == "0.74\u00a0%"


def test_long_names_are_cut_in_the_middle():
    assert short("a" * 60 + "b" * 60, 21) == "a" * 10 + "…" + "b" * 10
