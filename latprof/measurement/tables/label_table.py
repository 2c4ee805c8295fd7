"""Latency labels as a table: one row a network, from the table of its visits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from latprof.errors import NotEnoughDataError
from latprof.measurement.quiet.busy import HOG_GB_S, others_doubt
from latprof.measurement.quiet.target_constant import Tie
from latprof.measurement.records import PairedProtocol
from latprof.measurement.statistics import (
    NoiseFloor,
    combine_visits,
    interval_around,
    noise_floor_of_repeats,
    noise_floor_of_visits,
    relative_half_width,
)
from latprof.measurement.tables.visit_table import NETWORK

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

#: Pairs below which the noise floor is taken from the visits' spread instead.
FEWEST_PAIRS = 10

#: Of a tie that a single visit made: its spread is not known.
_DOUBT_OF_ONE_VISIT = 0.03

#: Columns that name a measurement of a network: ``label`` is 1 for its repetition.
_LABEL: Final = [*NETWORK, "label"]


def label_table(visits: pd.DataFrame, reference_ms: float) -> pd.DataFrame:
    """One row a network and label, from the visits that count.

    Disturbed visits count only where a network has no others, or one, which alone has no interval
    (of each visit the last try then); unusable ones never. The columns are those of
    :attr:`latprof.measurement.labels.TargetLabels.labels`, without ``stopped_by``.
    Raises NotEnoughDataError when no visit has samples that may be used.
    """
    usable = visits[visits["failure_code"].isna() & ~visits["unusable"]]
    if usable.empty:
        raise NotEnoughDataError("every measurement failed; there is nothing to learn from")
    number = usable.groupby(_LABEL, sort=False).ngroup().to_numpy()
    clean = ~usable["disturbed"].to_numpy(bool)
    undisturbed = np.bincount(number, clean)[number]
    last = ~usable.duplicated([*_LABEL, "visit"], keep="last").to_numpy()
    counts = clean | (undisturbed == 0) | ((undisturbed == 1) & last)
    order = np.flatnonzero(counts)[np.argsort(number[counts], kind="stable")]
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    counted = usable.iloc[order]
    ratios = np.split((counted["ratio"] / counted["process_effect"]).to_numpy(), starts[1:])
    raw_ms = np.split(counted["raw_median_ms"].to_numpy(), starts[1:])
    table = counted.iloc[starts][[*_LABEL, "name"]].reset_index(drop=True)
    ratio = np.array([combine_visits(values) for values in ratios])
    half = np.array([relative_half_width(values) for values in ratios])
    table["visits"] = [len(values) for values in ratios]
    table["ratio"] = ratio
    table["latency_ms"] = ratio * reference_ms
    low, high = interval_around(ratio * reference_ms, half)
    table["low_ms"], table["high_ms"] = low, high
    table["preempted"] = _mean_of(counted["preempted"].to_numpy(), starts)
    table["taken"] = _mean_of(counted[["preempted", "waited"]].max(axis=1).to_numpy(), starts)
    table["doubt"] = _doubts(table["taken"].to_numpy(), counted["others_memory_gb_s"], starts)
    table["reference"] = counted["reference"].to_numpy()[starts]
    table["raw_median_ms"] = [float(np.median(values)) for values in raw_ms]
    return table


def _mean_of(values: NDArray[np.float64], starts: NDArray[np.intp]) -> NDArray[np.float64]:
    """The mean of each group of rows that ``starts`` begin; NaN where one is not known."""
    sizes = np.diff([*starts.tolist(), len(values)])
    means: NDArray[np.float64] = np.add.reduceat(values.astype(np.float64), starts) / sizes
    return means


def _doubts(
    taken: NDArray[np.float64], others_gb_s: pd.Series[float], starts: NDArray[np.intp]
) -> NDArray[np.float64]:
    """By what others put each label in doubt beyond what its visits show, on logarithms."""
    seen = (each[~np.isnan(each)] for each in np.split(others_gb_s.to_numpy(float), starts[1:]))
    hogs = [bool(len(each)) and float(np.median(each)) > HOG_GB_S for each in seen]
    return np.array(
        [others_doubt(share, has_hog=hog) for share, hog in zip(taken, hogs, strict=True)]
    )


def references_ratios(visits: pd.DataFrame) -> dict[str, Tie]:
    """How long each sibling of the reference takes as a multiple of the target's own.

    ``visits`` are those to siblings, against their neighbour towards the own one. What is not tied
    all the way is missing.
    """
    usable = visits[visits["failure_code"].isna()]
    steps = {}
    for (name, neighbour), group in usable.groupby(["name", "reference"], sort=False):
        clean = group[~group["disturbed"]]
        ratios = (clean if len(clean) else group)["ratio"].to_numpy()
        half = relative_half_width(ratios)
        doubt = half if np.isfinite(half) else _DOUBT_OF_ONE_VISIT
        steps[str(name)] = str(neighbour), Tie(combine_visits(ratios), float(doubt), len(ratios))
    ties: dict[str, Tie] = {}
    for name in steps:
        ratio, variance, fewest, path = 1.0, 0.0, np.inf, name
        while path and path in steps and len(ties) <= len(steps):
            path, step = steps[path]
            ratio, variance = ratio * step.ratio, variance + step.doubt**2
            fewest = min(fewest, step.visits)
        if not path:
            ties[name] = Tie(ratio, float(np.sqrt(variance)), int(fewest))
    return ties


def repeats_table(labels: pd.DataFrame) -> pd.DataFrame:
    """One row a network that was measured again: its label, and columns ``..._again``."""
    first, second = (labels[labels["label"] == number] for number in (0, 1))
    return first.merge(second, on=NETWORK, suffixes=("", "_again"))


def noise_floor(labels: pd.DataFrame, visits: pd.DataFrame) -> NoiseFloor | None:
    """The noise floor of labels that were made of ``visits``; None where it is not identifiable.

    From the networks that were measured again where there are at least :data:`FEWEST_PAIRS`; else
    from the spread of the visits.
    """
    pairs = repeats_table(labels)
    if len(pairs) >= FEWEST_PAIRS:
        return noise_floor_of_repeats(
            pairs["latency_ms"].to_numpy(),
            pairs["latency_ms_again"].to_numpy(),
            (pairs["visits"].to_numpy(), pairs["visits_again"].to_numpy()),
        )
    usable = visits[visits["failure_code"].isna() & ~visits["disturbed"] & (visits["label"] == 0)]
    usable = usable.assign(ratio=usable["ratio"] / usable["process_effect"])
    ratios = {key: group.to_numpy() for key, group in usable.groupby(NETWORK)["ratio"]}
    latency_ms = labels[labels["label"] == 0].set_index(NETWORK)["latency_ms"]
    several = [key for key in latency_ms.index if len(ratios.get(key, ())) > 1]
    if not several:
        return None
    return noise_floor_of_visits(
        [ratios[key] for key in several], latency_ms.loc[several].to_numpy()
    )


def stopped_by(
    labels: pd.DataFrame,
    visits: pd.DataFrame,
    endings: Mapping[int, tuple[PairedProtocol, str]],
    last_campaigns: Mapping[tuple[str, str, str, int], int],
) -> list[str]:
    """What ended the visits to each row of ``labels``, by the last campaign that visited it.

    ``"half-width"``: the interval became narrow enough; ``"visits"``: their planned or greatest
    number was reached; else ``"time"`` (the campaign's limit), ``"failures"`` (of its visits) or
    ``"interrupted"``. Empty where no campaign is known. ``endings`` are the campaigns by their
    number, each as :func:`campaign_ending` reads it.
    """
    failed = visits["failure_code"].notna()
    # A visit that stayed disturbed after its retries is made, too.
    made = visits[~failed].groupby(_LABEL)["visit"].nunique().to_dict()
    # A campaign gives up a network whose visits fail, in both of its measurements.
    with_failures = set(visits.loc[failed, NETWORK].itertuples(index=False, name=None))
    half = np.log(labels["high_ms"] / labels["low_ms"]) / 2
    reasons = []
    rows = labels[_LABEL].itertuples(index=False, name=None)
    for row, half_width in zip(rows, half, strict=True):
        ending = endings.get(last_campaigns.get(row, -1))
        if ending is None:
            reasons.append("")
            continue
        protocol, ended_by = ending
        reason = protocol.enough(int(made[row]), half_width) or ended_by
        if reason == "failures" and protocol.half_width and row[:3] not in with_failures:
            # Narrow enough when the campaign last looked; visits to others have moved it since.
            reason = "half-width"
        reasons.append(reason)
    return reasons


def campaign_ending(campaign: Mapping[str, Any]) -> tuple[PairedProtocol, str]:
    """A campaign's protocol, and what ended the visits that it did not make.

    Raises KeyError, TypeError, ValueError or InvalidValueError for a damaged record.
    """
    protocol = PairedProtocol.from_dict(campaign["protocol"])
    if campaign["ended_at"] is None:
        return protocol, "interrupted"
    limit_s = campaign["plan"].get("time_limit_s")
    took_s = campaign["ended_at"] - campaign["started_at"]
    in_time = limit_s is None or took_s < float(limit_s)
    return protocol, "failures" if in_time else "time"
