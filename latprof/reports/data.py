"""What a report is made of: plain tables and records, read from a store and a pack beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from latprof.common.short_reprs import ShortRepr
from latprof.errors import InvalidValueError, NotEnoughDataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latprof.measurement.records import Target
    from latprof.measurement.statistics import NoiseFloor
    from latprof.predictors.pack.pack import Pack

LABEL_COLUMNS = (
    "subject",
    "name",
    "kind",
    "space",
    "label",
    "latency_ms",
    "ratio",
    "low_ms",
    "high_ms",
    "visits",
    "raw_median_ms",
)
VISIT_COLUMNS = (
    "subject",
    "label",
    "visit",
    "started_at",
    "process",
    "ratio",
    "raw_median_ms",
    "raw_minimum_ms",
    "reference_ms",
    "drift",
    "load_s",
    "wall_s",
    "steal",
    "load1",
    "failure_code",
)
KERNEL_COLUMNS = ("subject", "position", "kind", "name", "block", "latency_ms")
BLOCK_COST_COLUMNS = ("position", "block", "choice", "key", "latency_ms", "count")

#: One line of ``latprof doctor``: status (OK, WARN or FAIL), check, finding, remedy.
DoctorLine = tuple[str, str, str, str]


def _no_rows(columns: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame(columns=list(columns))


@dataclass(frozen=True, eq=False, repr=False)
class ReportData(ShortRepr):
    """Everything that one report shows, about one target.

    Parameters
    ----------
    target : Target
        Where and how the networks ran.
    reference : str
        Name of the reference network that every burst was paired with.
    reference_ms : float
        The target's constant: a latency is its ratio times these milliseconds.
    labels : DataFrame
        One row a network and label, columns :data:`LABEL_COLUMNS`: ``label`` is 0 for the
        measurement and 1 for its repetition, ``low_ms`` to ``high_ms`` its 90 % interval,
        ``raw_median_ms`` the median over the visits of the raw medians.
    visits : DataFrame
        One row a visit, columns :data:`VISIT_COLUMNS`: times in Unix seconds and seconds,
        ``reference_ms`` the median of the reference's bursts in that visit, ``drift`` and ``steal``
        fractions (NaN where unknown), ``failure_code`` None where the visit succeeded. Columns
        ``name``, ``failure_message`` and ``disturbed`` may follow.
    noise_floor : NoiseFloor, optional
    kernels : DataFrame
        One row a profiled kernel, columns :data:`KERNEL_COLUMNS`; empty where none was profiled.
    pack : Pack, optional
        The trained predictor, with its held-out predictions.
    block_costs : DataFrame
        A fitted lookup table, one row a position and choice, columns
        :data:`BLOCK_COST_COLUMNS`; ``count`` is the number of training networks with that choice.
    conditions : tuple of (name, value)
        Facts of the host, in the order they are shown.
    doctor : tuple of DoctorLine
    campaign : mapping
        ``wall_s`` (of all visits together), ``overhead_share`` (share of the time outside timed
        runs, a fraction), ``networks_per_hour``, ``done`` and ``failed`` (visits), ``protocol``
        (its settings, as in :meth:`~latprof.measurement.records.PairedProtocol.to_dict`); each may
        be missing.
    title : str
    reference_frozen : bool
        Whether the constant is frozen, or may change with more visits.

    Raises
    ------
    InvalidValueError
        For a table without one of its columns.
    NotEnoughDataError
        For no row in ``labels`` and none in ``visits``.
    """

    target: Target
    reference: str
    reference_ms: float
    labels: pd.DataFrame
    visits: pd.DataFrame
    noise_floor: NoiseFloor | None = None
    kernels: pd.DataFrame = field(default_factory=lambda: _no_rows(KERNEL_COLUMNS))
    pack: Pack | None = None
    block_costs: pd.DataFrame = field(default_factory=lambda: _no_rows(BLOCK_COST_COLUMNS))
    conditions: tuple[tuple[str, str], ...] = ()
    doctor: tuple[DoctorLine, ...] = ()
    campaign: Mapping[str, Any] = field(default_factory=dict)
    title: str = "Latency report"
    reference_frozen: bool = True

    def __post_init__(self) -> None:
        tables = (
            ("labels", LABEL_COLUMNS),
            ("visits", VISIT_COLUMNS),
            ("kernels", KERNEL_COLUMNS),
            ("block_costs", BLOCK_COST_COLUMNS),
        )
        for name, columns in tables:
            missing = sorted(set(columns) - set(getattr(self, name).columns))
            if missing:
                raise InvalidValueError(
                    f"report: {name} lacks columns", field=name, expected=", ".join(missing)
                )
        if self.labels.empty and self.visits.empty:
            raise NotEnoughDataError(
                "there is nothing to report: the store holds no measurement of this target",
                hint="measure first with latprof collect",
            )

    @cached_property
    def measured(self) -> pd.DataFrame:
        """The labels proper (``label`` 0) with a finite latency, in their order."""
        first = self.labels[self.labels["label"] == 0]
        return first[np.isfinite(first["latency_ms"].astype(float))]

    @cached_property
    def repeated(self) -> pd.DataFrame:
        """Networks measured twice: subject, name, first_ms, second_ms, visits, visits_again."""
        keys = ["subject", "space"]
        first = self.measured[[*keys, "visits", "name", "latency_ms"]]
        again = self.labels.loc[self.labels["label"] == 1, [*keys, "visits", "latency_ms"]]
        pairs = first.rename(columns={"latency_ms": "first_ms"}).merge(
            again.rename(columns={"latency_ms": "second_ms"}), on=keys, suffixes=("", "_again")
        )
        return pairs[np.isfinite(pairs["second_ms"].astype(float))]

    @cached_property
    def good_visits(self) -> pd.DataFrame:
        """Visits that produced samples, oldest first."""
        good = self.visits[self.visits["failure_code"].isna()]
        return good.sort_values("started_at", kind="stable")

    @cached_property
    def failed_visits(self) -> pd.DataFrame:
        """Visits that produced a failure, oldest first."""
        failed = self.visits[self.visits["failure_code"].notna()]
        return failed.sort_values("started_at", kind="stable")

    @cached_property
    def names(self) -> dict[str, str]:
        """Readable name of each subject."""
        tables = [t[["subject", "name"]] for t in (self.visits, self.labels) if "name" in t]
        pairs = pd.concat(tables).dropna().drop_duplicates("subject", keep="last")
        return dict(zip(pairs["subject"], pairs["name"].astype(str), strict=True))

    @property
    def has_architectures(self) -> bool:
        """Whether networks of a search space are among the measured ones, or only model files."""
        return bool((self.labels["space"].astype(str) != "").any())

    @property
    def mean_ms(self) -> float:
        """Mean latency of the measured networks, NaN where there is none."""
        return float(self.measured["latency_ms"].mean()) if len(self.measured) else float("nan")
