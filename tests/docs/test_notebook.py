"""docs/notebook.ipynb: what its script makes, and every cell runs."""

import json
import runpy

import pytest
from command_line import LONGEST_S
from documents import ROOT


def test_the_notebook_is_what_the_script_makes():
    made = runpy.run_path(str(ROOT / "docs" / "notebook.py"))["notebook"]()
    assert (ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8") == made


def test_every_cell_runs(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    text = (ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(
        notebook, timeout=LONGEST_S, startup_timeout=LONGEST_S, resources=resources
    ).execute()
    outputs = [cell.get("outputs", []) for cell in notebook.cells]
    shown = json.dumps(outputs)
    assert "latency_ms" in shown
    assert shown.count('"image/png"') == 2
    assert "90 % interval" in shown or "HostBusyError" in shown
