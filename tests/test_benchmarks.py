"""Each benchmark can be imported and says how it is called; each that a document cites is run."""

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for path in (ROOT / "benchmarks").rglob("*.py")
    if path.stem != "__init__"
)
COMMANDS = [name for name in MODULES if ".test_" not in name]


@pytest.fixture(autouse=True)
def _from_the_repository(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


def load(name):
    for library in ("torch", "pytest_benchmark"):
        pytest.importorskip(library)
    return importlib.import_module(name)


@pytest.mark.parametrize("name", MODULES)
def test_a_benchmark_can_be_imported(name):
    assert load(name).__doc__


@pytest.mark.parametrize("name", COMMANDS)
def test_a_benchmark_says_how_it_is_called(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as leaving:
        load(name).main()
    assert leaving.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_make_bench_runs_every_benchmark_that_a_document_cites():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    cited = set(re.findall(r"python -m benchmarks\.(\w+)", text))
    run = {each.module for each in load("benchmarks.__main__").benchmarks()}
    assert cited
    assert cited <= run


def test_what_a_host_lacks_is_left_out_with_a_line(monkeypatch, capsys):
    main = load("benchmarks.__main__").main
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--list", "--only", "public,startup"])
    main()
    first, second, few, third = capsys.readouterr().out.splitlines()
    assert first == (
        "== public --data: left out, needs --data FOLDER, the public collections "
        "(make bench DATA=FOLDER)"
    )
    assert second.startswith("== public --data --intervals: left out")
    assert few.startswith("== public --data --few: left out")
    assert third == "== startup"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "nonsense"])
    with pytest.raises(SystemExit, match="2"):
        main()
