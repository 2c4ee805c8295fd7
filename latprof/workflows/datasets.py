"""The measured data sets that come with latprof, and those that ``export`` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latprof.common.extras import needs
from latprof.common.short_reprs import ShortRepr
from latprof.errors import UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

    from latprof.measurement.records import Target
    from latprof.workflows.arguments import PathLike

#: What the rows of a data set's tables are.
TABLES = ("networks", "visits", "kernels")


@dataclass(frozen=True, repr=False)
class DatasetResult(ShortRepr):
    """A data set that comes with latprof, in figures.

    Parameters
    ----------
    name : str
        What :func:`latprof.load_dataset` takes.
    target : Target
        What its milliseconds hold for.
    networks : int
    mean_ms : float
    noise_floor_percent : float
        NaN where nothing was measured twice.
    attributes : dict
        All that the data set says of itself.
    """

    name: str
    target: Target
    networks: int
    mean_ms: float
    noise_floor_percent: float
    attributes: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return what the data set says of itself as plain JSON values, and its rows."""
        return self.attributes | {"rows": self.networks}


@needs("data")
def load_dataset(name: PathLike, rows: str = "networks") -> pd.DataFrame:
    """Load a measured data set as a table.

    Parameters
    ----------
    name : str or path
        A data set that comes with latprof, or a file that ``export`` wrote.
    rows : str
        ``"networks"``: one row a network, with columns ``architecture``, ``latency_ms`` and the
        split; ``"visits"``: the visits behind the latencies; ``"kernels"``: the networks' kernels.

    Raises
    ------
    UnknownNameError
        For a name that is none.
    DataSetError
        For a file that is no data set, or a data set without such rows.
    """
    from latprof.datasets.published.loading import load, load_kernels, load_visits

    if rows not in TABLES:
        raise UnknownNameError("rows", rows, TABLES)
    read = {"networks": load, "visits": load_visits, "kernels": load_kernels}[rows]
    return read(name)


@needs("data")
def datasets() -> tuple[DatasetResult, ...]:
    """List the measured data sets that come with latprof."""
    from latprof.datasets.published.loading import dataset_names, kernel_dataset_names, load
    from latprof.measurement.records import Target

    found = []
    for name in (*dataset_names(), *kernel_dataset_names()):
        frame = load(name)
        attributes: dict[str, Any] = {str(key): value for key, value in frame.attrs.items()}
        floor = attributes["noise_floor"]
        found.append(
            DatasetResult(
                name,
                Target.from_dict(attributes["target"]),
                len(frame),
                float(frame["latency_ms"].mean()),
                float("nan") if floor is None else floor["percent"],
                attributes,
            )
        )
    return tuple(found)
