"""What every importer of latencies returns: one column of a public collection, as a record."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.datasets.importers.flags import SYNTHETIC, detect_flags
from latprof.datasets.spaces.named import get_space, space_names
from latprof.errors import DataSetError

if TYPE_CHECKING:
    import pandas as pd

    from latprof.datasets.spaces.base import SearchSpace

Choices: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

#: Accelerators whose columns end in the batch size. A processor's or a phone's name may end in a
#: number too: ``gold_6226`` is a Xeon Gold 6226 and ``essential_ph_1`` an Essential PH-1.
_ACCELERATOR = re.compile(
    r"(?P<device>(?:gtx_?|rtx_?)?\d{3,4}(?:ti)?(?:_?super)?|titan\w{0,8}?|rtx_?[a-z]?\d{4}"
    r"|(?:tesla_?)?[akptv]\d{1,3})_(?P<batch>[1-9]\d{0,3})"
)


#: Cells of NAS-Bench-201 whose output is not connected take about no time: a row below this
#: fraction of the median is one.
DISCONNECTED = 0.02
#: Milliseconds above which a number is no latency: some thirty years.
_LARGEST_MS = 1e12


@dataclass(frozen=True, eq=False, repr=False)
class ImportedLatencies(ShortRepr):
    """One column of latencies of a public collection. All times are in milliseconds.

    Parameters
    ----------
    name : str
        Collection, space and device, for example ``"help/fbnet/pixel2"``.
    latency_ms : array of shape (n,)
        Every row of the file, usable or not.
    usable : array of shape (n,), bool
        Which rows are latencies of a network that runs: above 0, and connected.
    device : str
        As the file calls it, the batch size left out.
    batch_size : int or None
        Images a run; None where the file does not tell.
    space : SearchSpace or None
        Whose architectures the rows are.
    choices : array of shape (n, decisions), uint8, or None
        The rows as choices of ``space``.
    names : tuple of str
        Names of the rows where they are not of a space.
    spread_ms : array of shape (n,) or None
        Standard deviation over runs, where the file has it.
    feature_names : tuple of str
    features : array of shape (n, features) or None
        What the file says of each row, where the rows are described by numbers.
    flags : frozenset of str
        See :func:`latprof.datasets.importers.flags.detect_flags`.
    source : str
        The file.
    licence, citation : str
    """

    name: str
    latency_ms: Floats
    usable: Mask
    device: str
    batch_size: int | None = None
    space: SearchSpace | None = None
    choices: Choices | None = None
    names: tuple[str, ...] = ()
    spread_ms: Floats | None = None
    feature_names: tuple[str, ...] = ()
    features: Floats | None = None
    flags: frozenset[str] = field(default_factory=frozenset)
    source: str = ""
    licence: str = ""
    citation: str = ""

    @property
    def usable_for_accuracy(self) -> bool:
        """Whether an error against these numbers says something: not where they are synthetic."""
        return SYNTHETIC not in self.flags

    @property
    def architectures(self) -> tuple[str, ...]:
        """Spelling of each row: of the space's architecture, or the row's name."""
        if self.choices is None:
            return self.names
        if self.space is None:
            return tuple(",".join(map(str, row)) for row in self.choices.tolist())
        return tuple(str(a) for a in self.space.architectures(self.choices))

    def to_frame(self) -> pd.DataFrame:
        """Return a table like that of :func:`latprof.datasets.load`, one row an architecture.

        Columns: architecture, latency_ms, usable, and spread_ms and the features where the file has
        them. ``attrs`` holds the rest as plain JSON values.
        """
        import pandas as pd

        columns: dict[str, Any] = {
            "architecture": list(self.architectures),
            "latency_ms": self.latency_ms,
            "usable": self.usable,
        }
        if self.spread_ms is not None:
            columns["spread_ms"] = self.spread_ms
        if self.features is not None:
            columns |= dict(zip(self.feature_names, self.features.T, strict=True))
        frame = pd.DataFrame(columns)
        frame.attrs.update(
            name=self.name,
            device=self.device,
            batch_size=self.batch_size,
            space=None if self.space is None else self.space.description,
            flags=sorted(self.flags),
            usable_for_accuracy=self.usable_for_accuracy,
            source=self.source,
            licence=self.licence,
            citation=self.citation,
        )
        return frame


def registered_space(name: str) -> SearchSpace | None:
    """The registered search space of this name, or None where there is none."""
    return get_space(name) if name in space_names() else None


def split_device(name: str) -> tuple[str, int | None]:
    """Split a column's name into the device and the batch size, None where it is not told.

    ``"v100_64"`` is a V100 at batch 64, ``"1080ti_1"`` a GTX 1080 Ti at batch 1, ``"gold_6226"`` a
    processor of that name at a batch size that nobody stated.
    """
    found = _ACCELERATOR.fullmatch(name.lower())
    if found is None:
        return name, None
    return name[: found.end("device")], int(found["batch"])


def usable_rows(source: str, latency_ms: Floats, *, least: float = 0.0) -> Mask:
    """Mark the rows that are latencies: above 0, at most 1e12, not below ``least`` of the median.

    Raises DataSetError where no row is.
    """
    timed = (latency_ms > 0) & (latency_ms <= _LARGEST_MS)
    if not timed.any():
        raise DataSetError(f"{source} holds no latency", expected="numbers above 0")
    with np.errstate(invalid="ignore"):
        usable: Mask = timed & (latency_ms >= least * np.median(latency_ms[timed]))
    return usable


def column_of_cells(
    path: str | os.PathLike[str], name: str, choices: Choices, latency_ms: Floats, **told: str
) -> ImportedLatencies:
    """A column of NAS-Bench-201 whose file states no batch size.

    Rows below 2 % of the median are not usable: their cells are not connected. ``told`` is the
    device, the licence and the citation. Raises DataSetError where no row is a latency.
    """
    usable = usable_rows(str(path), latency_ms, least=DISCONNECTED)
    return ImportedLatencies(
        name=name,
        latency_ms=latency_ms,
        usable=usable,
        space=registered_space("nasbench201"),
        choices=choices,
        flags=detect_flags(latency_ms[usable], choices[usable]),
        source=str(path),
        **told,  # type: ignore[arg-type]
    )
