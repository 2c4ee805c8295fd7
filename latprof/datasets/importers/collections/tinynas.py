"""Latencies of single convolutions from TinyNAS: V100, TensorRT, fp32, by shape and batch size.

One line a convolution: ``{type,batch,Cin,H,W,Cout,kernel,stride,fused elementwise} ms``, with -1 in
place of the time where the engine failed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.datasets.importers.files.reading import Floats, lines_of, read_text
from latprof.errors import DataSetError

if TYPE_CHECKING:
    import pandas as pd

Integers: TypeAlias = NDArray[np.int64]

LICENCE = "Apache-2.0"
CITATION = "Lightweight neural architecture search (TinyNAS), Alibaba"
#: The shape columns of :class:`ConvolutionLatencies`, in order.
COLUMNS = (
    "batch_size",
    "in_channels",
    "height",
    "width",
    "out_channels",
    "kernel",
    "stride",
    "fused_elementwise",
)
_LARGEST_MS = 1e12
_LINE = re.compile(
    r"\{(Regular|Depthwise),((?:\d{1,9},){7}\d{1,9})\}[ \t]+"
    r"(-1(?:\.0*)?|\d[\d.]{0,30}(?:e[+-]?\d{1,3})?)"
)


@dataclass(frozen=True, eq=False, repr=False)
class ConvolutionLatencies(ShortRepr):
    """Convolutions, and what each takes.

    Parameters
    ----------
    kinds : tuple of str
        ``"Regular"`` or ``"Depthwise"`` for each row.
    shapes : array of shape (n, 8)
        Columns as :data:`COLUMNS`.
    latency_ms : array of shape (n,)
        Of the whole batch.
    failed : int
        Lines of the file without a time; they are not among the rows.
    device, source, licence, citation : str
    """

    kinds: tuple[str, ...]
    shapes: Integers
    latency_ms: Floats
    failed: int
    device: str = "V100, TensorRT, fp32"
    source: str = ""
    licence: str = LICENCE
    citation: str = CITATION

    def to_frame(self) -> pd.DataFrame:
        """One row a convolution: kind, the columns of the shapes, latency_ms."""
        import pandas as pd

        frame = pd.DataFrame(self.shapes, columns=list(COLUMNS))
        frame.insert(0, "kind", list(self.kinds))
        frame["latency_ms"] = self.latency_ms
        frame.attrs.update(
            device=self.device, failed=self.failed, source=self.source, licence=self.licence
        )
        return frame


def load_tinynas(path: str | os.PathLike[str]) -> ConvolutionLatencies:
    """Load a table of convolutions, failed ones left out and counted.

    Raises DataSetError for a file that is missing, has a line of another form (the message says
    which), or no convolution with a time.
    """
    kinds: list[str] = []
    shapes: list[str] = []
    times: list[float] = []
    failed = 0
    for number, line in lines_of(read_text(path)):
        text = line.strip()
        if not text:
            continue
        found = _LINE.fullmatch(text)
        time = _time(path, number, text, found[3] if found else "")
        if found is None or time < 0:
            failed += 1
            continue
        kinds.append(found[1])
        shapes.append(found[2])
        times.append(time)
    if not times:
        raise DataSetError(f"{path} holds no convolution with a time")
    values = np.array(",".join(shapes).split(","), dtype=np.int64).reshape(-1, len(COLUMNS))
    return ConvolutionLatencies(tuple(kinds), values, np.array(times), failed, source=str(path))


def _time(path: str | os.PathLike[str], number: int, line: str, text: str) -> float:
    """The time of a line, -1 where the engine failed; DataSetError for a line of another form."""
    try:
        time = float(text)
    except ValueError:
        time = 0.0
    if time != -1 and not 0 < time <= _LARGEST_MS:
        raise DataSetError(
            f"{path}, line {number}: not a convolution and a time",
            expected="{Regular,batch,Cin,H,W,Cout,kernel,stride,fused} ms",
            got=repr(line[:60]),
        )
    return time
