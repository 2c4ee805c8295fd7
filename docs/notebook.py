"""Writes notebook.ipynb beside it: ``python docs/notebook.py``. A test runs the notebook."""

import json
from pathlib import Path
from typing import Any

CELLS = (
    """# latprof in a notebook

Predict, measure and draw. Results have `to_frame()`, a pandas DataFrame, and `plot()`, which draws
on matplotlib's axes.""",
    """import latprof

space = latprof.get_space("proxyless")
answers = latprof.predict(space.sample(5), "proxyless-cpu-ort1", upper=0.95)
answers.to_frame()[["name", "latency_ms", "low_ms", "high_ms", "upper_ms"]]""",
    "answers.plot();",
    """A pack says how far to trust it: the networks that were held out of its fit, predicted over
measured.""",
    """pack = latprof.load_pack("proxyless-cpu-ort1")
print(f"RMSE {pack.metrics.rmse_percent:.2f} %, Spearman {pack.metrics.spearman:.4f}")
pack.plot();""",
    """Measure a network of the zoo on this computer, and see its slowest kernels. Two visits are
few; the default is eight. On a busy host there may be no number.""",
    """latprof.zoo("mobilenet-v2", output="mobilenet.onnx", resolution=96, width=0.35)
profile = latprof.profile("mobilenet.onnx", visits=2)
low, high = profile.interval_ms
print(f"{profile.latency_ms:.3f} ms, 90 % interval {low:.3f} to {high:.3f} ms")
profile.to_frame().nlargest(5, "latency_ms")[["name", "kind", "latency_ms"]]""",
)


def notebook() -> str:
    """The notebook as JSON; a cell that begins like code is code."""
    cells = [_cell(number, text) for number, text in enumerate(CELLS)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    document = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(document, indent=1) + "\n"


def _cell(number: int, text: str) -> dict[str, Any]:
    common = {"id": f"cell-{number}", "source": text.splitlines(keepends=True)}
    if text[0].isupper() or text.startswith("#"):
        return {"cell_type": "markdown", "metadata": {}, **common}
    # A busy host may be refused; whoever runs all cells goes on.
    metadata = {"tags": ["raises-exception"]} if "profile(" in text else {}
    code = {"cell_type": "code", "execution_count": None, "outputs": []}
    return {**code, "metadata": metadata, **common}


if __name__ == "__main__":
    Path(__file__).with_suffix(".ipynb").write_text(notebook(), encoding="utf-8")
