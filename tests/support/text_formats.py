"""A small file of each public format that is text, and what reads it."""

from formats import cell, write_csv, write_json

from latprof.datasets.importers.accuracies import load_nasbench201_accuracies, load_nasbench_macro
from latprof.datasets.importers.collections.hat import FEATURES, load_hat
from latprof.datasets.importers.collections.mobile_ml import (
    load_mobile_ml,
    load_mobile_ml_operators,
)
from latprof.datasets.importers.collections.tinynas import load_tinynas
from latprof.datasets.importers.lookup_tables import read_single_path_table, read_yaml_table

E2E = ["model", "FLOPS", "size", "pixel4|1large|float|mean", "pixel4|1large|float|std"]
OPERATORS = ["model", "operation", "feature", "pixel4|gpu|float", "pixel4|gpu|kernel"]
FEATURE = "{'Input_shape': '224', 'Input_channel': 3, 'Stride': '-', 'Kernel': '1'}"
HAT = [
    *FEATURES,
    *("latency_mean_encoder", "latency_mean_decoder", "latency_std_encoder", "latency_std_decoder"),
]
HAT_ROW = [640, 6, 1194.5, 4.5, 640, 3, 1877.5, 4, 5.5, 2, 9.9, 236.7, 0.1, 12.7]


def macro(**changes):
    row = {"test_acc": [80.0, 81.0, 82.0], "mean_acc": 81.0, "std": 0.8, "params": 5, "flops": 7}
    return {name: value for name, value in (row | changes).items() if value is not None}


def small_files(folder):
    """A small file of each text format, and what reads it."""
    e2e = write_csv(folder / "e2e.csv", E2E, [["a", 1, 2, 30, 4]])
    ops = write_csv(folder / "ops.csv", OPERATORS, [["net", "CONV_2D", FEATURE, "320.4", "k"]])
    hat = write_csv(folder / "hat.csv", HAT, [HAT_ROW])
    row = [0, cell([0, 1, 2, 3, 4, 0]), 50]
    accuracy = write_csv(folder / "a.csv", ["index", "architecture", "cifar10-test"], [row])
    table = folder / "table.yaml"
    table.write_text("Conv-input:4x4x3:\n  count: 9\n  mean: 4.5\n  var: 0.25\nb: {mean: 1}\n")
    convolutions = folder / "conv.out"
    convolutions.write_text("{Regular,1,8,5,5,8,1,1,0} 0.01\n{Regular,1,8,5,5,8,1,1,0} -1\n")
    return [
        (e2e, lambda path: load_mobile_ml(path, "pixel4|1large|float")),
        (ops, load_mobile_ml_operators),
        (hat, load_hat),
        (accuracy, load_nasbench201_accuracies),
        (table, read_yaml_table),
        (convolutions, load_tinynas),
        (write_json(folder / "macro.json", {"02112000": macro()}), load_nasbench_macro),
        (write_json(folder / "sp.json", {"1": {"0": 4.5}}), read_single_path_table),
    ]
