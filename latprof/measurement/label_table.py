"""Tables out of a store: visits, labels and kernels as pandas DataFrames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import NotEnoughDataError
from latprof.measurement.conditions import other_load, steal_fraction, withheld_fraction
from latprof.measurement.process_effects import process_effects
from latprof.measurement.records import PairedProtocol
from latprof.measurement.statistics import (
    NoiseFloor,
    burst_medians,
    combine_visits,
    counted_runs,
    cut_bursts,
    noise_floor_of_repeats,
    noise_floor_of_visits,
    quiet_kernels,
    raw_median_ms,
    raw_minimum_ms,
    reference_drift,
    relative_half_width,
    visit_ratio,
)

if TYPE_CHECKING:
    import pandas as pd

    from latprof.measurement.records import Measurement, PairedSamples, Target
    from latprof.measurement.store.store import Store

#: Pairs below which the noise floor is taken from the visits' spread instead.
FEWEST_PAIRS = 10

_SUBJECT = ["kind", "space", "subject"]


def visits_frame(store: Store, target: Target) -> pd.DataFrame:
    """One row a visit, in the order they were stored.

    Columns: kind, space, subject, name, label, visit, started_at (Unix s), process, target_runs and
    reference_runs (counted runs of a burst over which the ratio is taken: as many as all visits to
    the network, and all to the target, made), ratio, raw_median_ms, raw_minimum_ms, reference_ms
    (median of the reference's burst medians), drift (fraction), timed_s (inside timed runs),
    load_s, wall_s, steal (fraction of all cores), withheld (fraction of the time), other_load
    (share of spare cores), load1, disturbed, failure_code, failure_message, process_effect (the
    factor by which all ratios of the visit's process are off, see
    :mod:`latprof.measurement.process_effects`), and on a GPU the readings after the visit, of
    :meth:`latprof.profilers.runtimes.cuda.nvml.Gpu.read`.
    """
    import pandas as pd

    frame = pd.DataFrame([_visit_row(m) for m in store.measurements(target)])
    if frame.empty:
        raise NotEnoughDataError(f"{store.location} holds no measurements of {target.describe()}")
    _compare_like_bursts(frame, store, target)
    frame["process_effect"] = _process_effects(frame)
    return frame


def _compare_like_bursts(frame: pd.DataFrame, store: Store, target: Target) -> None:
    """Take the ratios over the runs that all visits to a network, and to the reference, made."""
    made = frame[["target_runs", "reference_runs"]].copy()
    frame["target_runs"] = frame.groupby(_SUBJECT)["target_runs"].transform("min")
    frame["reference_runs"] = made["reference_runs"].min()
    longer = (made > frame[["target_runs", "reference_runs"]]).any(axis=1).to_numpy()
    if not longer.any():
        return
    ratios = frame["ratio"].to_numpy(copy=True)
    runs = frame[["target_runs", "reference_runs"]].to_numpy()
    # Read again, so that not all raw runs are held; what was stored meanwhile comes last.
    for row, measurement in zip(range(len(frame)), store.measurements(target), strict=False):
        if longer[row] and measurement.samples is not None:
            ratios[row] = visit_ratio(cut_bursts(measurement.samples, *map(int, runs[row])))
    frame["ratio"] = ratios


def _process_effects(visits: pd.DataFrame) -> pd.Series[float]:
    """Every visit's process effect; told by undisturbed visits, 1 where these tell nothing."""
    telling = visits[visits["failure_code"].isna() & ~visits["disturbed"]]
    networks = telling.groupby(_SUBJECT, sort=False).ngroup().to_numpy()
    processes, first = np.unique(telling["process"].to_numpy(str), return_index=True)
    effects = process_effects(networks, telling["process"].to_numpy(str), telling["ratio"])
    of_process = dict(zip(processes.tolist(), effects[first].tolist(), strict=True))
    return visits["process"].map(of_process).fillna(1.0)


def _visit_row(measurement: Measurement) -> dict[str, Any]:
    subject, samples = measurement.subject, measurement.samples
    conditions = measurement.conditions
    before, after = conditions.get("before", {}), conditions.get("after", {})
    nothing = float("nan")
    row = {
        "kind": subject.kind,
        "space": subject.space,
        "subject": subject.key,
        "name": subject.name,
        "label": measurement.label,
        "visit": measurement.visit,
        "started_at": measurement.started_at,
        "process": measurement.process,
        "target_runs": nothing,
        "reference_runs": nothing,
        "ratio": nothing,
        "raw_median_ms": nothing,
        "raw_minimum_ms": nothing,
        "reference_ms": nothing,
        "drift": nothing,
        "timed_s": 0.0,
        "load_s": measurement.load_s,
        "wall_s": measurement.wall_s,
        "steal": steal_fraction(before, after) if before and after else nothing,
        "withheld": withheld_fraction(before, after),
        "other_load": other_load(before, after),
        "load1": after.get("load1", nothing),
        "disturbed": measurement.disturbed,
        "failure_code": None if measurement.failure is None else measurement.failure.code,
        "failure_message": None if measurement.failure is None else measurement.failure.message,
    }
    row |= {name: value for name, value in after.items() if name.startswith("gpu_")}
    return row if samples is None else row | _statistics(samples)


def _statistics(samples: PairedSamples) -> dict[str, float]:
    target_runs, reference_runs = counted_runs(samples)
    return {
        "target_runs": target_runs,
        "reference_runs": reference_runs,
        "ratio": visit_ratio(samples),
        "raw_median_ms": raw_median_ms(samples),
        "raw_minimum_ms": raw_minimum_ms(samples),
        "reference_ms": float(np.median(burst_medians(samples)[1])),
        "drift": reference_drift(samples),
        "timed_s": sum(map(sum, (*samples.target, *samples.reference))) / 1e3,
    }


def labels(store: Store, target: str | None = None) -> pd.DataFrame:
    """Return one row a network: its latency on the one target of a store.

    Parameters
    ----------
    store : Store
    target : str, optional
        Which target, where the store holds several; see :meth:`Store.only_target`.

    Returns
    -------
    DataFrame
        As :func:`labels_frame`, without the repetitions for the noise floor.

    Raises
    ------
    TargetMismatchError
        When the store holds several targets that fit.
    NotEnoughDataError
        When it holds no measurement.
    """
    stored = store.only_target(target)
    reference_ms = stored.reference_ms or store.provisional_reference_ms(stored.target)
    visits = visits_frame(store, stored.target)
    frame = labels_frame(visits, reference_ms)
    frame["stopped_by"] = stopped_by(frame, visits, store, stored.target)
    return frame[frame["label"] == 0].drop(columns="label").reset_index(drop=True)


def stopped_by(
    labels: pd.DataFrame, visits: pd.DataFrame, store: Store, target: Target
) -> list[str]:
    """What ended the visits to each row of ``labels``, by the last campaign that visited it.

    ``"precision"``: the interval became narrow enough; ``"visits"``: their planned or greatest
    number was reached; else ``"time"`` (the campaign's limit), ``"failures"`` (of its visits) or
    ``"interrupted"``. Empty where no campaign is known.
    """
    campaigns = {campaign["id"]: campaign for campaign in store.campaigns(target)}
    with store.reading("a campaign"):
        protocols = {key: PairedProtocol(**c["protocol"]) for key, c in campaigns.items()}
        ended_by = {key: _ended_by(campaign) for key, campaign in campaigns.items()}
    last = store.last_campaigns(target)
    key = [*_SUBJECT, "label"]
    # A visit that stayed disturbed after its retries is made, too.
    failed = visits["failure_code"].notna()
    made = visits[~failed].groupby(key)["visit"].nunique()
    # A campaign gives up a network whose visits fail, in both of its measurements.
    with_failures = set(visits.loc[failed, _SUBJECT].itertuples(index=False, name=None))
    half = (labels["high_ms"] - labels["low_ms"]) / 2 / labels["latency_ms"]
    reasons = []
    for row, half_width in zip(labels[key].itertuples(index=False, name=None), half, strict=True):
        campaign = last.get(row)
        if campaign not in protocols:
            reasons.append("")
            continue
        protocol = protocols[campaign]
        reason = protocol.enough(int(made[row]), half_width) or ended_by[campaign]
        if reason == "failures" and protocol.precision and row[:3] not in with_failures:
            # Narrow enough when the campaign last looked; visits to others have moved it since.
            reason = "precision"
        reasons.append(reason)
    return reasons


def _ended_by(campaign: Mapping[str, Any]) -> str:
    """What ended the visits that a campaign did not make."""
    if campaign["ended_at"] is None:
        return "interrupted"
    limit_s = campaign["plan"].get("time_limit_s")
    took_s = campaign["ended_at"] - campaign["started_at"]
    return "time" if limit_s is not None and took_s >= float(limit_s) else "failures"


def labels_frame(visits: pd.DataFrame, reference_ms: float) -> pd.DataFrame:
    """One row a network and label, from the visits that count.

    Disturbed visits count only where a network has no others. Columns: kind, space, subject, name,
    label, visits, ratio (process effects divided out), latency_ms (ratio times ``reference_ms``),
    low_ms, high_ms (a 90 % interval from the spread of the visits, NaN for a single visit),
    raw_median_ms.

    Raises NotEnoughDataError when no visit has samples.
    """
    import pandas as pd

    usable = visits[visits["failure_code"].isna()]
    rows = [
        _label_row(dict(zip([*_SUBJECT, "label"], key, strict=True)), group, reference_ms)
        for key, group in usable.groupby([*_SUBJECT, "label"], sort=False)
    ]
    if not rows:
        raise NotEnoughDataError("every measurement failed; there is nothing to learn from")
    return pd.DataFrame(rows)


def _label_row(key: dict[str, Any], group: pd.DataFrame, reference_ms: float) -> dict[str, Any]:
    clean = group[~group["disturbed"]]
    counted = clean if len(clean) else group
    ratios = (counted["ratio"] / counted["process_effect"]).to_numpy()
    ratio, half = combine_visits(ratios), relative_half_width(ratios)
    return key | {
        "name": counted["name"].iloc[0],
        "visits": len(ratios),
        "ratio": ratio,
        "latency_ms": ratio * reference_ms,
        "low_ms": ratio * (1 - half) * reference_ms,
        "high_ms": ratio * (1 + half) * reference_ms,
        "raw_median_ms": float(np.median(counted["raw_median_ms"])),
    }


def noise_floor(visits: pd.DataFrame, labels: pd.DataFrame) -> NoiseFloor | None:
    """The noise floor of a store's labels, None where nothing tells.

    From the networks that were measured again where there are at least :data:`FEWEST_PAIRS`; else
    from the spread of the visits.
    """
    first, second = (labels[labels["label"] == number] for number in (0, 1))
    pairs = first.merge(second, on=_SUBJECT, suffixes=("", "_again"))
    if len(pairs) >= FEWEST_PAIRS:
        return noise_floor_of_repeats(
            pairs["latency_ms"].to_numpy(),
            pairs["latency_ms_again"].to_numpy(),
            (pairs["visits"].to_numpy(), pairs["visits_again"].to_numpy()),
        )
    usable = visits[visits["failure_code"].isna() & ~visits["disturbed"] & (visits["label"] == 0)]
    usable = usable.assign(ratio=usable["ratio"] / usable["process_effect"])
    ratios = {key: group.to_numpy() for key, group in usable.groupby(_SUBJECT)["ratio"]}
    latency_ms = first.set_index(_SUBJECT)["latency_ms"]
    kept = [key for key in latency_ms.index if len(ratios.get(key, ())) > 1]
    if not kept:
        return None
    return noise_floor_of_visits([ratios[key] for key in kept], latency_ms.loc[kept].to_numpy())


def kernels_frame(store: Store, target: Target, reference_ms: float) -> pd.DataFrame:
    """One row a kernel: space, subject, position, kind, name, block, latency_ms (quiet host)."""
    import pandas as pd

    columns = ["space", "subject", "position", "kind", "name", "block", "latency_ms"]
    return pd.DataFrame(_kernel_rows(store, target, reference_ms), columns=columns)


def _kernel_rows(store: Store, target: Target, reference_ms: float) -> Iterator[tuple[object, ...]]:
    for subject, profile in store.kernel_profiles(target):
        for kernel in quiet_kernels(profile, reference_ms):
            block = kernel.name.rpartition(".")[0] if subject.kind == "architecture" else ""
            if not kernel.operators:  # their names are numbers: changes of memory layout
                block = "added by the runtime"
            yield (
                subject.space,
                subject.key,
                kernel.position,
                kernel.kind,
                kernel.name,
                block or kernel.name,
                kernel.latency_ms,
            )
