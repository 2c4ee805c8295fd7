"""From a store to a data set that others can use: Parquet files and a datasheet."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof._version import __version__
from latprof.common.files import write_atomically
from latprof.common.short_reprs import first_names
from latprof.datasets.published.datasheet import write_datasheet
from latprof.datasets.published.loading import FORMAT_VERSION, METADATA
from latprof.datasets.published.splits import split_rows
from latprof.errors import NotEnoughDataError, UsageError
from latprof.graph.model_file import light_bytes, unchanged_file
from latprof.measurement.statistics import cut_bursts, visit_ratio
from latprof.measurement.tables.label_table import noise_floor

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import pandas as pd

    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.records import KernelProfile, Subject

#: What a data set is of: the first kind of network that its store has.
_KINDS = ("architecture", "built", "model")
#: Decimals of what only describes a visit: tenths of a microsecond and of a second, a tenth of a
#: percent.
_DECIMALS = {
    "raw_median_ms": 4,
    "reference_ms": 4,
    "drift": 4,
    "withheld": 3,
    "other_load": 3,
    "started_at": 1,
    "first_at": 1,
    "last_at": 1,
}

_LABEL_COLUMNS = {
    "subject": "architecture",
    "latency_ms": "latency_ms",
    "low_ms": "low_ms",
    "high_ms": "high_ms",
    "ratio": "ratio",
    "visits": "visits",
    "raw_median_ms": "raw_median_ms",
    "stopped_by": "stopped_by",
}


def publish(
    measured: TargetLabels,
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    test_fraction: float = 0.2,
    licence: str = "not stated",
    notes: str = "",
    on_note: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write a store's networks, as measured on one target, as a data set.

    Its architectures; where it has none, the networks that ``latprof collect --kernels`` built, and
    where it has none of these either, models whose files are still where they were measured: a
    copy of each without its weights goes along, so that its kernels can be found again.

    Parameters
    ----------
    measured : TargetLabels
    path : path
        Of the ``.parquet`` file; the others lie beside it.
    seed, test_fraction
        Of the split; with the same values, ``latprof train`` holds out the same rows.
    licence : str
        Under which the data may be used.
    notes : str
        What the datasheet says under "Known defects".
    on_note : callable, optional
        Called with the models whose files are gone, which are exported without their graphs.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    UsageError
        For a path that does not end in ``.parquet``, or a store with architectures of several
        spaces.
    NotEnoughDataError
        For a store without such networks, and for models none of whose files is there.
    """
    path = Path(path)
    if path.suffix != ".parquet" or "." in path.stem:
        raise UsageError(
            "a data set's file is called NAME.parquet", field="dataset", got=path.name[:200]
        )
    kinds = set(measured.labels["kind"])
    kind = next((each for each in _KINDS if each in kinds), _KINDS[0])
    space = measured.one_space() if kind == "architecture" else None
    visits, labels = (table[table["kind"] == kind] for table in (measured.visits, measured.labels))
    usable = visits[visits["failure_code"].isna()]
    floor = noise_floor(labels, visits)
    graphs = _graphs_table(labels, on_note) if kind == "model" else labels[:0]
    kernels = _Kernels(measured, usable[~usable["disturbed"]], kind)
    for subject, profile in measured.kernel_profiles():
        kernels.add(subject, profile)
    metadata: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "name": path.stem,
        "target": measured.target.to_dict(),
        "space": space,
        "reference": measured.reference,
        "reference_ms": measured.reference_ms,
        "constant": measured.constant.to_dict(),
        "noise_floor": None
        if floor is None
        else {
            "percent": floor.percent,
            "rmse_ms": floor.rmse_ms,
            "pairs": floor.pairs,
            "method": floor.method,
        },
        "protocol": measured.protocol,
        "profiling_overhead_percent": kernels.overhead_percent(),
        "split": {"seed": seed, "test_fraction": test_fraction},
        "licence": licence,
        "latprof_version": __version__,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    table = _labels_table(labels, usable)
    _, test = split_rows(len(table), test_fraction, seed)
    table.insert(1, "split", np.where(np.isin(np.arange(len(table)), test), "test", "train"))
    frames = {
        "": table,
        ".visits": _visits_table(usable),
        ".kernels": kernels.table(),
        ".graphs": graphs,
    }
    written = []
    for ending, frame in frames.items():
        file = path.with_suffix(f"{ending}.parquet")
        if len(frame):
            written.append(_write(frame, metadata, file))
        else:  # what an earlier export left there is of another store
            file.unlink(missing_ok=True)
    text = write_datasheet(
        metadata, frames[""], frames[".visits"], frames[".kernels"], measured.conditions, notes
    )
    written.append(write_atomically(path.with_suffix(".md"), text.encode()))
    return written


def _graphs_table(labels: pd.DataFrame, on_note: Callable[[str], None] | None) -> pd.DataFrame:
    """One row a model whose file is where it was measured: its name, and it without its weights."""
    import pandas as pd

    rows, absent = [], []
    for key, name in dict(zip(labels["subject"], labels["name"], strict=True)).items():
        path = unchanged_file(name, key)
        if path is None:
            absent.append(name)
        else:
            rows.append((key, Path(name).stem, light_bytes(path)))
    if not rows:
        raise NotEnoughDataError(
            "none of the models' files is where it was measured",
            hint="run the command in the folder from which they were measured",
        )
    if absent and on_note is not None:
        on_note(
            f"{len(absent)} of {len(absent) + len(rows)} models are exported without their graphs, "
            f"since their files are not there as they were measured: {first_names(absent)}"
        )
    return pd.DataFrame(rows, columns=["architecture", "name", "model"])


def _labels_table(labels: pd.DataFrame, visits: pd.DataFrame) -> pd.DataFrame:
    """One row an architecture, sorted by its spelling as :mod:`latprof.predictors` sorts them."""
    first = labels[labels["label"] == 0].sort_values("subject")
    table = first[list(_LABEL_COLUMNS)].rename(columns=_LABEL_COLUMNS).reset_index(drop=True)
    again = labels[labels["label"] == 1].set_index("subject")
    table["again_ms"] = table["architecture"].map(again["latency_ms"])
    table["again_visits"] = table["architecture"].map(again["visits"]).fillna(0).astype(np.int16)
    of_label = visits[visits["label"] == 0].groupby("subject")
    for name, values in {
        "reference_ms": of_label["reference_ms"].median(),
        "first_at": of_label["started_at"].min(),
        "last_at": of_label["started_at"].max(),
        "disturbed": of_label["disturbed"].sum().astype(np.int16),
    }.items():
        table[name] = table["architecture"].map(values)
    table["visits"] = table["visits"].astype(np.int16)
    return _rounded(table)


def _visits_table(visits: pd.DataFrame) -> pd.DataFrame:
    """One row a visit; processes are numbered, so that no host's name leaves with the data."""
    table = visits.rename(columns={"subject": "architecture"})
    table["process"] = table.groupby("process", sort=False).ngroup().astype(np.int32)
    columns = (
        *("ratio", "process_effect", "raw_median_ms", "reference_ms"),
        *("drift", "withheld", "other_load"),
        *(name for name in map(str, table) if name.startswith("gpu_")),
    )
    table = table[
        ["architecture", "label", "visit", "process", "started_at", *columns, "disturbed"]
    ].reset_index(drop=True)
    small = dict.fromkeys(columns, np.float32) | {"label": np.int8, "visit": np.int16}
    return _rounded(table).astype(small)


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Without digits that say nothing and take most of the file: labels and ratios stay whole."""
    return table.round({name: n for name, n in _DECIMALS.items() if name in table})


class _Kernels:
    """Gathers the kernels of networks, and what the runtime's profiler cost, in one pass."""

    def __init__(self, measured: TargetLabels, visits: pd.DataFrame, kind: str) -> None:
        self._measured = measured
        self._kind = kind
        columns = ["ratio", "target_runs", "reference_runs"]
        self._visited = visits.groupby("subject")[columns].median()
        self._rows: list[tuple[object, ...]] = []
        self._overheads: list[float] = []

    def add(self, subject: Subject, profile: KernelProfile) -> None:
        """Add one network's kernels."""
        if subject.key in self._visited.index:
            ratio, target_runs, reference_runs = self._visited.loc[subject.key].to_numpy(float)
            cut = cut_bursts(profile.samples, int(target_runs), int(reference_runs))
            tied = visit_ratio(cut) * self._measured.tie(cut.reference_name).ratio
            self._overheads.append(tied / float(ratio) - 1)
        if subject.kind == self._kind:
            self._rows += [
                (
                    subject.key,
                    kernel.position,
                    kernel.kind,
                    kernel.name,
                    ",".join(kernel.operators),
                    _shapes(kernel.input_shapes),
                    _shapes(kernel.output_shapes),
                    kernel.latency_ms,
                )
                for kernel in profile.kernels
            ]

    def table(self) -> pd.DataFrame:
        """One row a kernel."""
        import pandas as pd

        columns = [
            *("architecture", "position", "kind", "name", "operators"),
            *("input_shapes", "output_shapes", "latency_ms"),
        ]
        table = pd.DataFrame(self._rows, columns=columns)
        return table.astype({"latency_ms": np.float32, "position": np.int16})

    def overhead_percent(self) -> float | None:
        """By how much the runtime's profiler made a run longer, median over the networks.

        Against the visits of the same networks, process effects left in on both sides: the
        processes that timed kernels made no visits from which theirs could be estimated.
        """
        return 100 * float(np.median(self._overheads)) if self._overheads else None


def _shapes(shapes: tuple[tuple[int, ...], ...]) -> str:
    return " ".join("x".join(map(str, shape)) for shape in shapes)


def _write(frame: pd.DataFrame, metadata: dict[str, Any], path: Path) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({METADATA: json.dumps(metadata)})
    buffer = io.BytesIO()
    parquet.write_table(
        table, buffer, compression="zstd", compression_level=19, write_page_checksum=True
    )
    return write_atomically(path, buffer.getvalue())
