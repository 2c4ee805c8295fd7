"""What public collections hold: ``python -m benchmarks.imported FOLDER``.

The folder has the collections' own files, as docs/importing.md lists them; those that are not there
are left out. For each column of latencies: rows, rows that are not usable, the mean, the held-out
error of an additive model, the share of outliers around it, and the flags. Then, from latprof's own
data, what the lookup-table format of others costs: blocks of one shape share an entry there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.importers.accuracies import load_nasbench201_accuracies, load_nasbench_macro
from latprof.datasets.importers.collections.hat import load_hat
from latprof.datasets.importers.collections.help import additive_labels, help_devices, load_help
from latprof.datasets.importers.collections.mobile_ml import (
    load_mobile_ml,
    load_mobile_ml_operators,
    mobile_ml_columns,
)
from latprof.datasets.importers.collections.tinynas import load_tinynas
from latprof.datasets.importers.flags import held_out_residuals, outlier_share
from latprof.datasets.importers.lookup_tables import read_single_path_table, read_yaml_table
from latprof.datasets.importers.table_export import (
    check_space,
    proxyless_table,
    sharing_error_ms,
)
from latprof.datasets.published.loading import load
from latprof.datasets.spaces.named import space_from_description
from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor
from latprof.predictors.training.imported_table import predictor_from_table

if TYPE_CHECKING:
    from latprof.datasets.importers.base import ImportedLatencies


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    print("| column | batch | rows | not usable | mean ms | additive % | outliers % | flags |")
    print("|---|---|---|---|---|---|---|---|")
    for column, residuals in columns(folder):
        print(row(column, residuals))
    for line in others(folder):
        print(line)
    print(sharing("proxyless-cpu-ort1"))


def columns(folder: Path) -> Iterator[tuple[ImportedLatencies, np.ndarray | None]]:
    """Every column of latencies, with the residuals of an additive model where it has choices."""
    for space in ("fbnet", "nasbench201", "ofa"):
        if not (folder / "help" / space).exists():
            continue
        for device in help_devices(folder / "help", space):
            found = load_help(folder / "help", space, device)
            assert found.choices is not None
            labels = additive_labels(space, found.choices)
            told = held_out_residuals(found.latency_ms[found.usable], labels[found.usable])
            yield found, None if told is None else told[1]
    end_to_end = folder / "mobile-ml-benchmark" / "tflite_cnn_e2e.csv"
    if end_to_end.exists():
        for name in mobile_ml_columns(end_to_end)[:1]:
            yield load_mobile_ml(end_to_end, name), None
    for path in sorted(folder.glob("hat/*.csv")):
        yield load_hat(path), None


def row(column: ImportedLatencies, residuals: np.ndarray | None) -> str:
    """One line of the table."""
    usable = column.latency_ms[column.usable]
    additive, outliers = "-", "-"
    if residuals is not None:
        additive = f"{100 * np.sqrt(np.mean(residuals**2)) / usable.mean():.3f}"
        outliers = f"{100 * outlier_share(residuals):.2f}"
    cells = (
        *(column.name, column.batch_size or "-", len(column.latency_ms), (~column.usable).sum()),
        *(f"{usable.mean():.3f}", additive, outliers, ", ".join(sorted(column.flags)) or "-"),
    )
    return f"| {' | '.join(map(str, cells))} |"


def others(folder: Path) -> Iterator[str]:
    """One line for each file that holds something else than one column."""
    path = folder / "mobile-ml-benchmark" / "tflite_cnn_e2e.csv"
    if path.exists():
        count = len(mobile_ml_columns(path))
        yield f"mobile-ml-benchmark: {count} columns"
        operators = load_mobile_ml_operators(path.with_name("tflite_cnn_ops_gpu.csv"))
        yield f"mobile-ml-benchmark: {len(operators.models)} operations, {operators.device}"
    for path in sorted(folder.glob("tinynas*/*.out")):
        table = load_tinynas(path)
        yield f"{path.name}: {len(table.latency_ms)} convolutions, {table.failed} failed"
    for path in sorted(folder.glob("nasbench201-accuracy/*.csv")):
        accuracies = load_nasbench201_accuracies(path)
        names = ", ".join(accuracies.accuracy_percent)
        yield f"{path.name}: {len(accuracies.names)} networks: {names}"
    for path in sorted(folder.glob("nasbench-macro/*.json")):
        macro = load_nasbench_macro(path)
        best = int(np.argmax(macro.accuracy_percent["cifar10-test"]))
        percent = macro.accuracy_percent["cifar10-test"][best]
        yield f"{path.name}: {len(macro.names)} networks, best {macro.names[best]} {percent:.2f} %"
    for path in sorted(folder.glob("pixel1-lut/*.yaml")):
        yield f"{path.name}: {len(read_yaml_table(path))} entries"
    for path in sorted(folder.glob("pixel1-lut/*.json")):
        yield f"{path.name}: {len(read_single_path_table(path))} entries"


def sharing(name: str) -> str:
    """How far sums of an exported table are from the fitted one's predictions."""
    train, test = load(name, "train"), load(name, "test")
    space = space_from_description(train.attrs["space"])
    fitted = LookupTablePredictor(space)
    fitted.fit([space.parse(text) for text in train["architecture"]], train["latency_ms"])
    table = proxyless_table(fitted)
    errors = sharing_error_ms(fitted, table)
    shared = predictor_from_table(table, check_space(space))
    architectures = [space.parse(text) for text in test["architecture"]]
    held_out = [
        float(np.sqrt(np.mean((p.predict(architectures) - test["latency_ms"].to_numpy()) ** 2)))
        for p in (fitted, shared)
    ]
    return (
        f"{name}, table of {len(train)} rows: sums of the exported table are "
        f"{np.sqrt(np.mean(errors**2)):.4f} ms (root mean square, at most "
        f"{np.abs(errors).max():.4f}) from its predictions, of a mean of "
        f"{train['latency_ms'].mean():.2f} ms; held-out RMSE {held_out[0]:.4f} ms, exported "
        f"{held_out[1]:.4f} ms; noise floor {train.attrs['noise_floor']['rmse_ms']:.4f} ms"
    )


if __name__ == "__main__":
    main()
