"""A fit that takes long says so on stderr, and which one it is."""

import threading

from latprof.cli import progress
from latprof.cli.progress import fit_display
from latprof.predictors.training.split_training import FitProgress


def test_a_long_fit_is_named_with_its_rows_and_a_short_one_is_not(monkeypatch):
    said, heard = [], threading.Event()

    def note(words):
        said.append(words)
        heard.set()

    monkeypatch.setattr(progress, "note", note)
    monkeypatch.setattr(progress, "FIRST_LINE_S", 3600.0)
    with fit_display() as show:
        show(FitProgress("hybrid", 1, 4, 4000))
    assert not said
    monkeypatch.setattr(progress, "FIRST_LINE_S", 0.01)
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.01)
    with fit_display() as show:
        show(FitProgress("hybrid", 1, 4, 4000))
        assert heard.wait(60)
    assert said[0].startswith("fitting hybrid to 4,000 rows, predictor 1 of 4: ")
    assert not any(thread.name == "fit progress" for thread in threading.enumerate())
