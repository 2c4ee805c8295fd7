"""docs/notebook.ipynb: what its script makes."""

import runpy

from documents import ROOT


def test_the_notebook_is_what_the_script_makes():
    made = runpy.run_path(str(ROOT / "docs" / "notebook.py"))["notebook"]()
    assert (ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8") == made
