"""The page about batch sizes, threads and streams."""

import math

import pytest

from latprof.measurement.records import Target
from latprof.measurement.visits import Failure, VisitCounts
from latprof.profilers.host.host_report import HostReport
from latprof.profilers.sessions.percentiles import RawPercentiles
from latprof.profilers.sessions.streams import StreamFigures
from latprof.profilers.sweeping import Sweep, SweepPoint
from latprof.reports.rendering.interactive import specification
from latprof.reports.rendering.page import render_report
from latprof.reports.rendering.static import to_png
from latprof.reports.sweep_report import build_sweep_report

TARGET = Target("cpu", "a processor", "onnxruntime", "1")


@pytest.fixture
def sweep():
    """Four settings, one failed and one with an endless interval; two numbers of streams."""
    points = [
        SweepPoint(1, 1, TARGET, 2.0, 1.9, 2.1, 8),
        SweepPoint(4, 1, TARGET, 6.0, 0.1, 900.0, 2),
        SweepPoint(1, 2, TARGET, 1.2, math.nan, math.nan, 1),
        SweepPoint(4, 2, TARGET, failure=Failure("runtime-failed", "no memory")),
    ]
    runs = RawPercentiles.of([2.0] * 20)
    streams = (
        StreamFigures(1, 1, 1, 480.0, 470.0, 490.0, 1.0, runs, 1),
        StreamFigures(2, 1, 1, 500.0, 480.0, 520.0, 1.04, runs, 1),
    )
    return Sweep("net.onnx", tuple(points), VisitCounts(made=11), HostReport(), 1, streams)


def test_every_setting_is_in_the_page_and_an_endless_interval_hides_no_curve(sweep):
    report = build_sweep_report(sweep)
    page = render_report(report)
    for text in ("net.onnx", "no memory", "2*", "threads 1, 2", "take turns"):
        assert text in page
    latency, throughput, streams = report.figures
    assert latency.y.limits[1] < 12
    assert throughput.y.limits[1] < 2000
    assert streams.y.limits[1] > 520
    assert specification(latency)["data"][0]["error_y"]["array"]


def test_pictures_are_drawn(sweep):
    for figure in build_sweep_report(sweep).figures:
        assert to_png(figure).startswith(b"\x89PNG")
