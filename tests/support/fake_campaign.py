"""A campaign as a store would hand it over, drawn from a seeded model of a drifting host."""

import numpy as np
import pandas as pd

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.measurement.records import PairedProtocol, Target
from latprof.measurement.statistics import combine_visits, noise_floor_of_repeats
from latprof.predictors.fitting.evaluation import evaluate
from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor
from latprof.predictors.pack.pack import HeldOut, Pack
from latprof.reports import ReportData

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> $\\frac{ & \u2028 モデル"
REFERENCE_MS = 14.2
START = 1_790_000_000.0
SPACE = ProxylessSpace()
TARGET = Target(
    device="cpu",
    device_name="Example CPU @ 2.60GHz",
    runtime="onnxruntime",
    runtime_version="1.24.0",
    input_shape=(1, 3, 224, 224),
)
CONDITIONS = (
    ("Processor", "Example CPU @ 2.60GHz"),
    ("Cores", "2 physical, 2 logical"),
    ("Governor", "unknown (not shown to this machine)"),
    ("Turbo", "unknown"),
    ("Virtual machine", "yes, KVM"),
    ("Memory", "7.8 GiB"),
    ("Operating system", "Linux 6.1, Debian 12"),
    ("Python", "3.11.9"),
    ("ONNX Runtime", "1.24.0"),
)
DOCTOR = (
    ("OK", "load", "load average 0.3 on 2 cores", ""),
    ("WARN", "virtual machine", "this host is a virtual machine", "measure on real hardware"),
    ("OK", "steal time", "0.0 % of the processor's time in 2 s", ""),
    ("FAIL", "swap", "1.2 GiB of swap in use", "free memory, or switch swap off"),
)


def true_costs(rng):
    """A cost in ms for each position and candidate, larger at larger maps and expansions."""
    rows = []
    for position, names in enumerate(SPACE.candidates):
        for choice, name in enumerate(names):
            (block,) = SPACE.part_blocks(position, (choice,))
            macs = sum(op.macs for op in block.operators())
            cost = macs / 1.6e7 + 0.00025 * block.in_size * block.kernel * block.expansion
            cost *= rng.uniform(0.93, 1.07)
            rows.append((position, block.name, name, block.key, cost))
    return pd.DataFrame(rows, columns=["position", "block", "choice", "key", "latency_ms"])


def host_clock(at_s, rng):
    """Slowness of the host at each time: steps of up to 25 % that last some seconds to minutes."""
    edges = np.cumsum(rng.exponential(7.0, 4000))
    levels = rng.choice([1.0, 1.0, 1.08, 1.25], len(edges) + 1)
    return levels[np.searchsorted(edges, at_s)]


def fake_measurements(networks=150, visits=8, repeats=20, seed=1):
    """Return labels, visits, kernels and block costs of a campaign over sampled architectures."""
    rng = np.random.default_rng(seed)
    costs = true_costs(rng)
    architectures = SPACE.sample(networks, seed)
    table = costs.pivot_table(index="position", columns="choice", values="latency_ms")
    cost = costs.set_index(["position", "choice"])["latency_ms"].to_dict()
    latency = np.array(
        [
            6.0 + sum(cost[p, SPACE.candidates[p][c]] for p, c in enumerate(a.choices))
            for a in architectures
        ]
    )
    interaction = rng.normal(1, 0.009, networks)
    visit_rows = _visits(architectures, latency * interaction, visits, repeats, rng)
    labels = _labels(visit_rows)
    return labels, visit_rows, _kernels(architectures[:30], table, rng), costs


def _visits(architectures, latency, visits, repeats, rng):
    plan = [(i, 0, v) for v in range(visits) for i in range(len(architectures))]
    plan += [(i, 1, v) for v in range(visits) for i in range(repeats)]
    index, label, visit = map(np.array, zip(*plan, strict=True))
    at = np.arange(len(plan)) * 0.21
    slow = host_clock(at, rng)
    noise = rng.normal(1, 0.016, len(plan))
    ratio = latency[index] / REFERENCE_MS * noise
    reference = REFERENCE_MS * slow * rng.normal(1.004, 0.004, len(plan))
    raw = ratio * reference * np.exp(rng.normal(0, 0.03, len(plan)))
    return pd.DataFrame(
        {
            "subject": [str(architectures[i]) for i in index],
            "label": label,
            "visit": visit,
            "started_at": START + at,
            "process": [f"worker-{k // 200}" for k in range(len(plan))],
            "ratio": ratio,
            "raw_median_ms": raw,
            "raw_minimum_ms": raw * rng.uniform(0.93, 0.99, len(plan)),
            "reference_ms": reference,
            "drift": np.abs(rng.normal(0, 0.01, len(plan))),
            "load_s": rng.uniform(0.05, 0.08, len(plan)),
            "wall_s": rng.uniform(0.2, 0.25, len(plan)),
            "steal": np.abs(rng.normal(0, 0.004, len(plan))),
            "load1": rng.uniform(0.9, 1.3, len(plan)),
            "failure_code": pd.Series([None] * len(plan), dtype=object),
            "failure_message": pd.Series([None] * len(plan), dtype=object),
        }
    )


def _labels(visits):
    rows = []
    for (subject, label), part in visits.groupby(["subject", "label"], sort=False):
        ratios = part["ratio"].to_numpy()
        ratio = combine_visits(ratios)
        half = 1.9 * ratios.std() / np.sqrt(len(ratios))
        rows.append(
            {
                "subject": subject,
                "name": subject,
                "kind": "architecture",
                "space": SPACE.description,
                "label": label,
                "latency_ms": ratio * REFERENCE_MS,
                "ratio": ratio,
                "low_ms": (ratio - half) * REFERENCE_MS,
                "high_ms": (ratio + half) * REFERENCE_MS,
                "visits": len(part),
                "raw_median_ms": part["raw_median_ms"].median(),
            }
        )
    return pd.DataFrame(rows)


def _kernels(architectures, table, rng):
    rows = []
    for architecture in architectures:
        operators = [
            (block.name, op) for block in SPACE.blocks(architecture) for op in block.operators()
        ]
        operators += [("head", op) for op in SPACE.head(architecture)]
        for position, (block, op) in enumerate(operators):
            cost = max(op.macs / 1.7e7, 0.01) * (3 if "depthwise" in op.kind else 1)
            ms = cost * rng.uniform(0.9, 1.1)
            rows.append((str(architecture), position, op.kind, op.name, block, ms))
    columns = ["subject", "position", "kind", "name", "block", "latency_ms"]
    return pd.DataFrame(rows, columns=columns)


def fake_pack(labels, seed=2):
    """A pack with a real lookup table, and held-out predictions for a fifth of the labels."""
    rng = np.random.default_rng(seed)
    first = labels[labels["label"] == 0]
    held = first.sample(max(len(first) // 5, 1), random_state=seed)
    rest = first.drop(held.index).head(500)
    lookup_table = LookupTablePredictor(SPACE)
    lookup_table.fit([SPACE.parse(key) for key in rest["subject"]], rest["latency_ms"])
    measured = held["latency_ms"].to_numpy()
    spread = {"hybrid": 0.012, "lookup-table": 0.0125, "linear": 0.0135, "xgboost": 0.031}
    predicted = {k: measured * rng.normal(1, s, len(held)) for k, s in spread.items()}
    return Pack(
        predictor=lookup_table,
        target=TARGET,
        metrics=evaluate(predicted["lookup-table"], measured),
        comparison={k: evaluate(p, measured) for k, p in predicted.items()},
        reference="proxyless-reference",
        reference_ms=REFERENCE_MS,
        training_rows=len(rest),
        interval_coverage=0.9,
        interval_relative=0.021,
        held_out=HeldOut(tuple(held["name"]), measured, predicted["lookup-table"]),
    )


def fake_report_data(networks=150, visits=8, repeats=20, seed=1, **changes):
    """A whole campaign with a pack, kernels, block costs and three failures."""
    labels, visit_rows, kernels, costs = fake_measurements(networks, visits, repeats, seed)
    broken = visit_rows.index[5:8]
    visit_rows.loc[broken, "failure_code"] = ["timeout", "runtime-failed", "timeout"]
    visit_rows.loc[broken, "failure_message"] = "the worker answered nothing for 60 s"
    pairs = labels.pivot_table(index="subject", columns="label", values="latency_ms").dropna()
    values = {
        "target": TARGET,
        "reference": "proxyless-reference",
        "reference_ms": REFERENCE_MS,
        "labels": labels,
        "visits": visit_rows,
        "noise_floor": noise_floor_of_repeats(pairs[0], pairs[1]) if repeats else None,
        "kernels": kernels,
        "pack": fake_pack(labels),
        "block_costs": costs.assign(count=networks // 7),
        "conditions": CONDITIONS,
        "doctor": DOCTOR,
        "campaign": {
            "wall_s": 402.0,
            "overhead_share": 0.31,
            "networks_per_hour": 2215.0,
            "done": networks,
            "failed": 1,
            "protocol": PairedProtocol().to_dict(),
        },
        "title": "ProxylessNAS on this computer's CPU",
    }
    return ReportData(**(values | changes))
