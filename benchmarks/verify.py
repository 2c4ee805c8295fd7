"""Do the winners of searches keep their limits when they are measured?

Usage: ``python -m benchmarks.verify [--store verify.db] [--networks 600] [--seed 0] [--check]``

Collects ProxylessNAS networks on this computer (batch 1, one thread; the store resumes), trains the
hybrid on them, and searches under ten limits, at the 5th to the 95th percentile of latency, with
the 95 % bound: evolution, 1,000 evaluations. The accuracy is the logarithm of the
multiply-accumulates, which drives every search against its limit. Each winner is then measured with
the paired protocol. Needs a quiet computer for about twenty minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import latprof
from latprof import Verification, verify
from latprof.measurement.labels import TargetLabels
from latprof.measurement.records import PairedProtocol
from latprof.measurement.store.store import Store
from latprof.predictors.pack.saving import save_pack
from latprof.predictors.training.stored_training import train_on_labels
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.collection import Collection
from latprof.searchers import SearchProblem, get_searcher

if TYPE_CHECKING:
    from latprof.predictors.pack.pack import Pack

PERCENTILES = tuple(range(5, 100, 10))
EVALUATIONS = 1000
VISITS = 4


def collect(path: Path, networks: int, seed: int) -> Pack:
    """A pack of this computer."""
    space = latprof.get_space("proxyless")
    collection = Collection.of_space(
        space,
        networks,
        seed=seed,
        target="cpu:onnxruntime",
        options=RunOptions(),
        protocol=PairedProtocol(visits=VISITS),
    )
    with Store.open(path, create=True) as store:
        _, outcome = collection.run(store, repeat_fraction=0.05, seed=seed)
        print(f"{outcome.made} visits made, {outcome.resumed} found done", file=sys.stderr)
        return train_on_labels(TargetLabels.of(store), seed=seed, compare=False)


def searched(pack: Pack, limit_ms: float, seed: int) -> Verification:
    """Search under a limit, and measure the winner."""
    space = pack.space

    def accuracy(architectures: Sequence[latprof.Architecture]) -> list[float]:
        return [float(np.log(space.macs(architecture))) for architecture in architectures]

    problem = SearchProblem(pack.predictor, accuracy, limit_ms=limit_ms, upper=0.95)
    found = get_searcher("evolution").run(problem, EVALUATIONS, seed=seed)
    return verify(pack, found.architecture, limit_ms=limit_ms)


def main() -> int:
    """Print the table; 1 where --check finds a promise broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path)
    parser.add_argument("--networks", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.store or Path(folder) / "verify.db"
        pack = collect(path, arguments.networks, arguments.seed)
    if arguments.store:
        save_pack(pack, arguments.store.with_suffix(".pack"))
    assert pack.target is not None
    assert pack.metrics is not None
    latencies = pack.predictor.predict(pack.space.sample_choices(2000, seed=arguments.seed + 1))
    print(f"\n{pack.target.describe()}")
    print(
        f"hybrid, {pack.training_rows} networks to fit, held-out RMSE "
        f"{pack.metrics.rmse_percent:.2f} % of the mean\n"
    )
    print("| limit (ms) | predicted | 95 % below | measured (90 % interval) | gap | kept |")
    print("|---|---|---|---|---|---|")
    rows = []
    for limit in np.percentile(latencies, PERCENTILES).tolist():
        found = searched(pack, limit, arguments.seed)
        rows.append(found)
        print(
            f"| {limit:.3f} | {found.predicted_ms:.3f} | {found.bound_ms:.3f} | "
            f"{found.measured_ms:.3f} ({found.low_ms:.3f} to {found.high_ms:.3f}) | "
            f"{found.gap:+.2%} | {'yes' if found.keeps_limit else 'NO'} |",
            flush=True,
        )
    kept = sum(found.keeps_limit for found in rows)
    near = sum(abs(found.gap) <= 0.03 for found in rows)
    print(
        f"\nat or below the limit: {kept} of {len(rows)} (promised: 9); within 3 % of the "
        f"prediction: {near} of {len(rows)} (promised: 10)"
    )
    return int(arguments.check and (kept < 9 or near < len(rows)))


if __name__ == "__main__":
    sys.exit(main())
