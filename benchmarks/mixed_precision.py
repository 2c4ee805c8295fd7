"""How well mixed precision is predicted: networks measured here, each block in float32 or int8.

Measures architectures of the ProxylessNAS space in mixed precision with ONNX Runtime (one thread)
and prints the errors of predictors under 5-fold cross-validation, beside that of the mean. It does
so for the protocol's labels and for the least of all runs of a network, which a busy computer
spoils less.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.datasets.spaces.variants.mixed_precision import MixedPrecisionSpace
from latprof.measurement.labels import TargetLabels
from latprof.measurement.records import PairedProtocol
from latprof.measurement.store.store import Store
from latprof.predictors.fitting.evaluation import evaluate
from latprof.predictors.models.by_name import make_predictor
from latprof.predictors.training.cross_validation import cross_validated_predictions
from latprof.predictors.training.stored_training import stored_rows
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.collection import Collection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.datasets.spaces.base import Choices
from latprof.measurement.records import Target


def main() -> None:
    """Measure, then print one line a predictor and kind of label."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=150)
    parser.add_argument("--visits", type=int, default=3)
    # Networks of less than a millisecond are still warming up when a burst ends.
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--store", type=Path, help="kept there, and gone on with")
    arguments = parser.parse_args()
    space = MixedPrecisionSpace(ProxylessSpace(resolution=arguments.resolution, num_classes=10))
    protocol = PairedProtocol(visits=arguments.visits)
    collection = Collection.of_space(
        space, arguments.networks, options=RunOptions(), protocol=protocol
    )
    with TemporaryDirectory() as folder:
        path = arguments.store or Path(folder) / "lat.db"
        with Store.open(path, create=True) as store:
            target, _ = collection.run(store)
            measured = TargetLabels.of(store)
            rows = stored_rows(measured, space)
            floor = measured.noise_floor
            least = least_ms(store, target)
    choices = space.choices(rows.architectures)
    print(f"{target.describe()}: {len(choices)} networks, {arguments.visits} visits each")
    if floor is not None:
        print(f"noise floor of the labels: {floor.percent:.1f} %")
    keys = [",".join(map(str, row)) for row in choices.tolist()]
    print_errors("labels", space, choices, rows.latency_ms)
    print_errors("least runs", space, choices, np.array([least[key] for key in keys]))


def least_ms(store: Store, target: Target) -> dict[str, float]:
    """The least of all runs of each network, in milliseconds, by its key."""
    found: dict[str, float] = {}
    for measurement in store.measurements(target):
        if measurement.samples is not None:
            least = min(map(min, measurement.samples.target))
            key = measurement.subject.key
            found[key] = min(least, found.get(key, least))
    return found


def print_errors(
    label: str, space: MixedPrecisionSpace, choices: Choices, measured: NDArray[np.float64]
) -> None:
    """Print the root mean square error of the mean and of predictors, in percent of the mean."""
    mean = evaluate(np.full_like(measured, measured.mean()), measured)
    print(f"{label}: the mean's RMSE {mean.rmse_percent:.1f} %")
    for name in ("lookup-table", "linear", "hybrid"):
        predicted = cross_validated_predictions(make_predictor(name, space), choices, measured)
        found = evaluate(predicted, measured)
        print(f"  {name}: RMSE {found.rmse_percent:.1f} %, Spearman {found.spearman:.3f}")


if __name__ == "__main__":
    main()
