"""The datasheet of a measured data set: how, when, on what, how good, and what is wrong with it.

Its questions follow Gebru et al., "Datasheets for Datasets", CACM 2021.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.datasets.published.loading import dataset_names, kernel_dataset_names
from latprof.measurement.records import Target
from latprof.measurement.statistics import combine_visits, noise_floor_of_repeats, reconcile

if TYPE_CHECKING:
    import pandas as pd

    from latprof.measurement.statistics import NoiseFloor

#: A longer pause between two visits is an interruption of the collection, in seconds.
_PAUSE_S = 60.0
_LIMITS = {
    "max_drift": "the reference moved by more than {:.0%} within the visit",
    "max_withheld": "more than {:.0%} of the time was withheld",
    "max_load": "other processes took more than {:.0%} of the spare cores",
}
#: What the profilers of GPUs say disturbs a visit (a test compares the figures).
GPU_LIMITS = (
    "heat or the power supply held its clock down",
    "its clock changed by more than 5% within the visit",
    "other processes computed on it for more than 5% of the time",
)
#: Readings of a GPU: name, unit.
_GPU_READINGS = {
    "gpu_clock_mhz": ("GPU clock", "MHz"),
    "gpu_memory_clock_mhz": ("GPU memory clock", "MHz"),
    "gpu_power_w": ("GPU power", "W"),
    "gpu_temperature_c": ("GPU temperature", "degrees Celsius"),
}


def write_datasheet(
    metadata: Mapping[str, Any],
    labels: pd.DataFrame,
    visits: pd.DataFrame,
    kernels: pd.DataFrame,
    host: Mapping[str, Any],
    notes: str = "",
) -> str:
    """Write the datasheet of what :func:`latprof.datasets.published.publishing.publish` writes.

    ``metadata`` and the three tables are those of the files, ``host`` the facts and checks stored
    with the campaign, ``notes`` the known defects as Markdown.
    """
    sections = (
        _summary(metadata, labels),
        _composition(metadata, labels, kernels),
        _collection(metadata, visits),
        _machine(host, visits),
        _quality(metadata, labels, visits),
        _kernels(metadata, labels, kernels),
        ["## Known defects", "", notes.strip() or "None is known beyond what is above."],
        _use(metadata),
    )
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _summary(metadata: Mapping[str, Any], labels: pd.DataFrame) -> list[str]:
    floor, ms = metadata["noise_floor"], labels["latency_ms"]
    quality = (
        "not known: nothing was measured twice"
        if floor is None
        else f"{floor['percent']:.2f} % ({floor['rmse_ms']:.4f} ms)"
    )
    splits = labels["split"].value_counts()
    rows = {
        "Target": Target.from_dict(metadata["target"]).describe(),
        "Architectures": f"{len(labels):,}: {splits.get('train', 0):,} train, "
        f"{splits.get('test', 0):,} test",
        "Latency": f"mean {ms.mean():.3f} ms, from {ms.min():.3f} to {ms.max():.3f} ms",
        "Noise floor": quality,
        "Measured": f"{_moment(labels['first_at'].min())} to {_moment(labels['last_at'].max())}",
        "Licence": metadata["licence"],
    }
    return [
        f"# {metadata['name']}",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows.items()),
    ]


def _composition(
    metadata: Mapping[str, Any], labels: pd.DataFrame, kernels: pd.DataFrame
) -> list[str]:
    if metadata["space"] is None:
        return _built_composition(metadata, labels, kernels)
    space = json.loads(metadata["space"])
    again = int((labels["again_visits"] > 0).sum())
    options = ", ".join(f"{name} {value}" for name, value in space["options"].items())
    split = metadata["split"]
    return [
        "## What is in it",
        "",
        f"Distinct architectures of the search space `{space['name']}` ({options}), drawn at",
        f"random. {again:,} of them, drawn at random too, were measured a second time",
        "(`again_ms`), each visit a full pass after the one that it repeats and by another process:",
        "from these pairs comes the noise floor. A label is",
        "`ratio x reference_ms of the data set`; the ratio is what was measured.",
        "",
        f"The split is random: seed {split['seed']}, {split['test_fraction']:.0%} test, over the",
        "architectures in alphabetical order. `latprof train` makes the same one.",
        "",
        f"`{metadata['name']}.visits.parquet` has every visit's ratio, the reference beside it and",
        "the conditions that mark it as disturbed; single runs are left out."
        + (
            f" `{metadata['name']}.kernels.parquet` has\n{len(kernels):,} kernels of "
            f"{kernels['architecture'].nunique():,} of the architectures."
            if len(kernels)
            else ""
        ),
    ]


def _built_composition(
    metadata: Mapping[str, Any], labels: pd.DataFrame, kernels: pd.DataFrame
) -> list[str]:
    words = labels["architecture"].str.split(":").str[0].value_counts()
    drawn = ", ".join(f"{number:,} `{word}`" for word, number in words.items())
    built = [
        f"Networks that `latprof collect --kernels` builds, each from a line of text ({drawn}):",
        "the zoo's, at several sizes, and random ones of published block families. A model of the",
        "kernels that were known chose those that it knew least. A label is",
    ]
    files = [
        f"ONNX models that were measured as files; `{metadata['name']}.graphs.parquet` has them by",
        "their names, without their weights. A label is",
    ]
    return [
        "## What is in it",
        "",
        *(built if labels["architecture"].str.contains(":").all() else files),
        "`ratio x reference_ms of the data set`; the ratio is what was measured. The split is no",
        "use here: leave out families.",
        "",
        f"`{metadata['name']}.visits.parquet` has every visit's ratio, the reference beside it and",
        f"the conditions that mark it as disturbed; `{metadata['name']}.kernels.parquet` has",
        f"{len(kernels):,} kernels of {kernels['architecture'].nunique():,} of the networks.",
    ]


def _collection(metadata: Mapping[str, Any], visits: pd.DataFrame) -> list[str]:
    starts = np.sort(visits["started_at"].to_numpy())
    steps = np.diff(starts)
    counted = visits[~visits["disturbed"]]
    per_label = counted.groupby(["architecture", "label"]).size()
    protocol = metadata["protocol"]
    limits = [
        text.format(protocol[name])
        for name, text in _LIMITS.items()
        if name in protocol  # a store of an earlier version did not know them all
    ]
    if "gpu_clock_mhz" in visits:  # what disturbs a processor is not in the way of a GPU's own time
        limits = [*limits[:1], *GPU_LIMITS]
    rounds = protocol.get("rounds", "several")
    hours = steps[steps < _PAUSE_S].sum() / 3600
    number = f"{per_label.min()}"
    if per_label.max() > per_label.min():
        number += f" to {per_label.max()}"
    return [
        "## How it was measured",
        "",
        f"With `latprof collect` (exported by version {metadata['latprof_version']}), by the paired",
        f"protocol: a visit loads the network afresh and runs {rounds} bursts of it, each between two",
        f"bursts of the reference network `{metadata['reference']}`; the visit's value is the ratio.",
        f"{len(counted):,} visits count ({number} a label), combined",
        "by the mean of their middle half after what the visits of one process have in common was",
        "divided out. They were made in passes over all architectures, in",
        (
            f"another order each, by {visits['process'].nunique():,} processes, in "
            + (f"{hours:.1f} hours." if hours >= 0.2 else f"{60 * hours:.1f} minutes.")
        ),
        (
            f"{int(visits['disturbed'].sum()):,} visits were marked as disturbed "
            f"({', '.join(limits)})"
        ),
        "and do not count; most were made again.",
        "",
        "What a millisecond is: the reference's latency when the host is quiet (10th percentile",
        f"of its bursts), {metadata['reference_ms']:.4f} ms.",
    ]


def _machine(host: Mapping[str, Any], visits: pd.DataFrame) -> list[str]:
    facts = dict(host.get("facts", {}))
    for column, (name, unit) in _GPU_READINGS.items():
        if column in visits:
            low, high = visits[column].min(), visits[column].max()
            facts[name] = f"{low:.0f} {unit}" if low == high else f"{low:.0f} to {high:.0f} {unit}"
    if not facts:
        return []
    lines = ["## On what", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    warnings = [check for check in host.get("checks", ()) if check["status"] != "OK"]
    if warnings:
        lines += ["", "`latprof doctor` objected, when the last run began:", ""]
        lines += [f"- {check['name']}: {check['finding']}" for check in warnings]
    return lines


def _quality(metadata: Mapping[str, Any], labels: pd.DataFrame, visits: pd.DataFrame) -> list[str]:
    half = (labels["high_ms"] - labels["low_ms"]) / 2 / labels["latency_ms"]
    low, middle, high = np.percentile(visits["reference_ms"], [5, 50, 95])
    lines = ["## How good it is", ""]
    if metadata["noise_floor"] is not None:
        floor = metadata["noise_floor"]
        lines += [
            f"- Noise floor: {floor['percent']:.2f} % of the latency, {floor['rmse_ms']:.4f} ms "
            f"RMSE, from {floor['pairs']} "
            + ("pairs" if floor["method"] == "repeats" else "networks' visits")
            + ". A perfect predictor would still show it.",
        ]
        lines += _other_floors(visits)
    if half.notna().any():
        lines += [
            (
                f"- 90 % interval of a label: +-{half.median():.2%} in the median, "
                f"+-{half.quantile(0.95):.2%} or less for 95 % of them."
            ),
        ]
    lines += [
        (
            f"- The host's speed: the reference took {middle:.3f} ms in the median, {low:.3f} and "
            f"{high:.3f} ms at the 5th and 95th percentile of the visits."
        ),
    ]
    return [*lines, *_single_visits(visits)]


def _single_visits(visits: pd.DataFrame) -> Iterator[str]:
    """How far visits lie from the others to their architecture, and whether the host's speed shows."""
    counted = visits[~visits["disturbed"]].astype({"ratio": np.float64})
    counted["ratio"] /= counted["process_effect"]
    ratios = counted.groupby(["architecture", "label"])["ratio"]
    number = ratios.transform("size")
    several = (number > 1).to_numpy()
    if not several.any():
        return
    # A visit is in the mean that it is held against: the factor makes up for it.
    residuals = (counted["ratio"] / ratios.transform("mean") - 1) * np.sqrt(number / (number - 1))
    residual, speed = residuals[several].to_numpy(), counted["reference_ms"][several].to_numpy()
    yield (
        f"- Single visits differ from their architecture's mean by {residual.std():.2%} (standard "
        f"deviation); one in a thousand by more than {np.quantile(np.abs(residual), 0.999):.0%}."
    )
    fast, slow = np.quantile(speed, [0.1, 0.9])
    yield (
        f"- Ratios are {residual[speed <= fast].mean():+.2%} from the mean on the tenth of the visits "
        f"with the fastest reference, {residual[speed >= slow].mean():+.2%} on the slowest tenth."
    )


def _other_floors(visits: pd.DataFrame) -> Iterator[str]:
    """What processes have in common, and the floors of labels made of the same visits otherwise."""
    counted = visits[~visits["disturbed"]].astype({"ratio": np.float64})
    effects = counted.groupby("process")["process_effect"].first().astype(np.float64) - 1
    yield (
        f"- The ratios of one process are off together, by {effects.std(ddof=0):.2%} (standard "
        f"deviation over {len(effects):,} processes), {np.abs(effects).max():.1%} at worst; this is "
        "divided out."
    )
    for column, words in (
        ("ratio", "If it were not, the noise floor would be"),
        ("raw_median_ms", "Without pairing (`raw_median_ms`) it would be"),
    ):
        floor = floor_of_visits(counted, column)
        if floor is not None:
            yield f"- {words} {floor.percent:.2f} %."


def floor_of_visits(visits: pd.DataFrame, column: str) -> NoiseFloor | None:
    """The noise floor of labels made of a data set's visits, from one of their columns.

    ``visits`` are those that count, as :func:`latprof.datasets.published.loading.load_visits` gives them.
    None where nothing was measured a second time.
    """
    first, again = (
        visits[visits["label"] == label]
        .groupby("architecture")[column]
        .agg(value=combine_visits, number="size")
        for label in (0, 1)
    )
    pairs = first.merge(again, left_index=True, right_index=True, suffixes=("", "_again"))
    if pairs.empty:
        return None
    return noise_floor_of_repeats(
        pairs["value"], pairs["value_again"], (pairs["number"], pairs["number_again"])
    )


def _kernels(metadata: Mapping[str, Any], labels: pd.DataFrame, kernels: pd.DataFrame) -> list[str]:
    if not len(kernels):
        return []
    sums = kernels.astype({"latency_ms": np.float64}).groupby("architecture")["latency_ms"].sum()
    known = labels.set_index("architecture")["latency_ms"].reindex(sums.index).dropna()
    if len(known) < 3:
        return []
    found = reconcile(sums.loc[known.index], known)
    return [
        "## Kernels",
        "",
        f"By the runtime's own profile, of {found.networks:,} architectures, at the quiet clock.",
        (
            f"The end-to-end latency is {found.scale:.4f} x the sum of the kernels "
            f"{found.offset_ms:+.4f} ms, with a mean"
        ),
        (
            f"absolute error of {found.mape_percent:.2f} %; without scale and offset it is "
            f"{abs(found.gap_percent):.2f} % {'above' if found.gap_percent >= 0 else 'below'} the sum."
        ),
        *_overhead(metadata),
    ]


def _overhead(metadata: Mapping[str, Any]) -> Iterator[str]:
    percent = metadata.get("profiling_overhead_percent")
    if percent is not None:
        yield (
            f"With the profiler on, a run took {percent:+.1f} % longer (median); the end-to-end "
            "latencies were measured without it."
        )


def _use(metadata: Mapping[str, Any]) -> list[str]:
    name = str(metadata["name"])
    if name not in {*dataset_names(), *kernel_dataset_names()}:  # a file of somebody's
        name += ".parquet"
    if metadata["space"] is None:
        return [
            "## How to use it",
            "",
            "```",
            f"latprof train --kernels {name} --output kernels.pack",
            "```",
            "",
            "The latencies hold for the target above, and for no other processor, runtime version,",
            "batch size or number of threads.",
        ]
    return [
        "## How to use it",
        "",
        "```python",
        "from latprof.datasets import load",
        "",
        f'train = load("{name}", split="train")',
        f'test = load("{name}", split="test")',
        "```",
        "",
        "The latencies hold for the target above, and for no other processor, runtime version,",
        "batch size or number of threads. The architectures are random: networks found by a",
        "search, or made by hand, may lie outside what they cover.",
    ]


def _moment(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
