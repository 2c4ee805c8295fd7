"""A short run of each fuzzer, and the runner: it keeps what is done, and its status tells."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz import __main__ as runner

ROOT = Path(__file__).parents[2]


def outcomes(name, count, folder):
    """How many inputs of a fuzzer came to which end."""
    found = Counter()
    for ends in runner.fuzz(runner.FUZZERS[name], count, 0, folder / "state.json").values():
        found.update(ends)
    return found


@pytest.mark.parametrize(
    ("name", "count", "refused", "read"),
    [("pickles", 45, 30, 0), ("torch-files", 40, 25, 0), ("text-files", 400, 250, 10)],
)
def test_files_of_collections_are_read_or_refused_by_name(tmp_path, name, count, refused, read):
    found = outcomes(name, count, tmp_path)
    assert set(found) == {"read", "refused"}
    assert found["refused"] > refused
    assert found["read"] > read


def test_packs_with_errors_are_refused_or_change_nothing(tmp_path):
    found = outcomes("packs", 60, tmp_path)
    assert found["bad"] == 0
    assert found["refused"] > 30
    assert found["the same"] + found["another valid pack"] > 0


def test_damaged_stores_are_refused_or_change_no_number(tmp_path):
    found = outcomes("stores", 17, tmp_path)  # one of each kind of damage
    assert found["bad"] == 0
    assert found["refused"] > 7
    assert found["the same"] > 0


def test_odd_words_and_places_are_used_or_refused_in_one_line(tmp_path):
    for name, count in (("words", 40), ("paths", 20)):
        (tmp_path / name).mkdir()
        found = outcomes(name, count, tmp_path / name)
        assert found["bad"] == 0
        assert found["refused"] > count / 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_models_with_errors_are_read_or_refused(tmp_path):
    found = outcomes("model-mutants", 140, tmp_path)
    assert found["bad"] == 0
    assert found["refused"] > 70
    assert found["predicted"] > 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_graphs_wired_at_random_are_read_or_refused(tmp_path):
    found = outcomes("random-graphs", 60, tmp_path)
    assert found["bad"] == 0
    assert found["predicted"] > 10


def test_shapes_and_work_are_those_that_onnx_runtime_makes(tmp_path):
    found = outcomes("true-shapes", 440, tmp_path)
    assert found["bad"] == 0
    assert found["the same"] > 300


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_tiny_models_that_ask_for_much_are_refused(tmp_path):
    found = outcomes("tiny-models", 10, tmp_path)  # one of each kind
    assert found["bad"] == 0
    assert found["refused"] > 5, "the others are read within the limits"


def test_no_weights_are_read_outside_a_models_folder(tmp_path):
    assert outcomes("external-data", 30, tmp_path) == {"nothing read": 30}


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_a_kill_at_any_moment_loses_nothing_and_repeats_nothing(tmp_path):
    done = subprocess.run(  # it forks, which a process with threads should not
        [sys.executable, "-m", "tests.fuzz", "kills", "--count", "5", "--state", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ends = {line[:52].strip(): int(line[52:]) for line in done.stdout.splitlines()[1:]}
    assert sum(ends.values()) == 5
    assert sum(number for end, number in ends.items() if "after visits" in end) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_signals_at_any_moment_end_commands_cleanly(tmp_path):
    found = outcomes("signals", 3, tmp_path)
    assert sum(found.values()) == 3
    assert found["bad"] == 0


@pytest.fixture
def numbers(monkeypatch):
    """A fuzzer of which number 3 is bad; returns the numbers that it was asked for."""
    asked = []

    def run(numbers, seed, folder):
        for number in numbers:
            asked.append(number)
            yield "numbers", "bad" if number == 3 else "good", f"{number} is odd"

    monkeypatch.setitem(runner.FUZZERS, "numbers", runner.Fuzzer(run, 10, 4))
    return asked


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["fuzz", *arguments])
    with pytest.raises(SystemExit) as leaving:
        runner.main()
    return leaving.value.code


def test_a_run_goes_on_where_it_was_stopped(tmp_path, numbers, monkeypatch, capsys):
    call(monkeypatch, "numbers", "--count", "6", "--state", str(tmp_path))
    assert numbers == [0, 1, 2, 3, 4, 5]
    call(monkeypatch, "numbers", "--state", str(tmp_path))
    assert numbers == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    told = capsys.readouterr().out
    call(monkeypatch, "numbers", "--state", str(tmp_path))
    assert numbers[10:] == []
    assert told.endswith(capsys.readouterr().out)


def test_a_bad_input_is_told_and_ends_with_status_1(tmp_path, numbers, monkeypatch, capsys):
    assert call(monkeypatch, "numbers", "--state", str(tmp_path)) == 1
    out = capsys.readouterr().out
    assert "BAD 3 is odd\n" in out
    assert out.endswith("numbers                 good                                 9\n")


def test_files_by_others_are_measured(tmp_path):
    found = outcomes("foreign-models", 7, tmp_path)
    assert found["bad"] == 0
    assert found["measured"] + found["measured, costs not known"] == 7


def test_only_current_temperatures_are_taken_for_temperatures(tmp_path):
    assert outcomes("thermals", 300, tmp_path) == {"read": 300}
