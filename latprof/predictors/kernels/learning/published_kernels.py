"""Kernel tables of other projects as configurations: TensorFlow Lite on phones, TensorRT."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.importers.collections.mobile_ml import (
    load_mobile_ml,
    load_mobile_ml_operators,
)
from latprof.datasets.importers.collections.tinynas import COLUMNS, load_tinynas
from latprof.predictors.kernels.configurations import (
    CONTEXT,
    NUMBERS,
    Configurations,
    configuration,
)
from latprof.predictors.kernels.learning.network_fitting import KernelTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latprof.datasets.importers.collections.mobile_ml import Feature, ImportedOperators
    from latprof.predictors.kernels.configurations import KernelConfiguration

_FAMILIES = {
    "CONV_2D": "conv",
    "CONV_2D_GROUP": "grouped",
    "DEPTHWISE_CONV_2D": "depthwise",
    "FULLY_CONNECTED": "linear",
    "MAX_POOL_2D": "pool",
    "AVERAGE_POOL_2D": "pool",
    "MEAN": "reduction",
    "CONCATENATION": "parts",
}
_JOINED = re.compile(r"_linked_:_([a-z]+(?:_[a-z]+)*)")
_ACTIVATIONS = {"relu": 1.0, "sigmoid": 3.0, "hard_swish": 3.0}
_VARIANT = re.compile(r"(?<=[a-z])[-_.]?(?:\d|w\d|wd\d|small|large|x\d|[abc]\d?$).*")


def mobile_ml_table(
    operators: str | os.PathLike[str],
    networks: str | os.PathLike[str] | None = None,
    device: str = "pixel4|gpu",
) -> KernelTable:
    """The table of ``tflite_cnn_ops_gpu.csv``, with latencies from ``tflite_cnn_e2e.csv``.

    ``device`` is ``"pixel4|gpu"`` or ``"mi8se|gpu"``. Raises as
    :func:`~latprof.datasets.importers.collections.mobile_ml.load_mobile_ml`.
    """
    loaded = load_mobile_ml_operators(operators, device)
    names = tuple(dict.fromkeys(loaded.models))
    number = {name: i for i, name in enumerate(names)}
    network_ms = np.full(len(names), np.nan)
    if networks is not None:
        whole = load_mobile_ml(networks, f"{device}|float")
        for name, latency_ms in zip(whole.names, whole.latency_ms.tolist(), strict=True):
            if name in number:
                network_ms[number[name]] = latency_ms
    return KernelTable(
        Configurations.of(_configurations(loaded)),
        loaded.latency_ms,
        np.array([number[name] for name in loaded.models]),
        names,
        tuple(_VARIANT.sub("", name) for name in names),
        network_ms,
    )


def _configurations(loaded: ImportedOperators) -> list[KernelConfiguration]:
    rows = zip(loaded.operations, loaded.features, loaded.kernels, strict=True)
    return [_tflite(operation, features, kernel) for operation, features, kernel in rows]


def _tflite(operation: str, features: Mapping[str, Feature], kernel: str) -> KernelConfiguration:
    """One fused operation; what joined it is in the kernel's name."""
    size, out = (float(features.get(name) or 1) for name in ("Input_shape", "Output_shape"))
    inputs = float(features.get("Input_channel") or 1)
    outputs = float(features.get("Filter") or 0)
    window, groups = float(features.get("Kernel") or 1), float(features.get("Group") or 1)
    family = _FAMILIES.get(operation, operation.lower())
    count = 1.0
    if family == "depthwise":
        outputs, groups = inputs * max(outputs, 1.0), inputs
    elif family in ("pool", "reduction"):
        outputs, groups = inputs, inputs
    elif family == "parts":
        count, window, groups = window, 1.0, 1.0
    if family == "linear":
        size = out = 1.0
    if family == "reduction":
        out, window = 1.0, 1.0
    weights = 0.0
    if family in ("conv", "grouped", "depthwise", "linear"):
        weights = inputs / max(groups, 1.0) * outputs * window**2
    joined = _JOINED.findall(re.sub(r"_\d+", "", kernel))
    added = sum(name == "add" for name in joined)
    written = out**2 * outputs
    work = weights * out**2 if weights else (size**2 * inputs if family == "reduction" else 0.0)
    work = out**2 * outputs * window**2 if family == "pool" else work
    return configuration(
        family,
        height=size,
        width=size,
        out_height=out,
        out_width=out,
        in_channels=inputs,
        out_channels=outputs,
        kernel_height=window,
        kernel_width=window,
        stride=float(features.get("Stride") or 1),
        groups=groups,
        inputs=count,
        activation=max((_ACTIVATIONS.get(name, 0.0) for name in joined), default=0.0),
        fused=sum(name not in _ACTIVATIONS for name in joined),
        last=float(operation == "MAX_POOL_2D"),
        after=1.0,
        read=size**2 * (outputs if family == "parts" else inputs) + added * written,
        written=written,
        weights=weights,
        macs=work,
    )


def tinynas_table(path: str | os.PathLike[str]) -> KernelTable:
    """Convolutions of TinyNAS on a V100; raises as
    :func:`~latprof.datasets.importers.collections.tinynas.load_tinynas`.
    """
    loaded = load_tinynas(path)
    column = dict(zip(COLUMNS, loaded.shapes.T.astype(np.float64), strict=True))
    depthwise = np.array([kind == "Depthwise" for kind in loaded.kinds])
    groups = np.where(depthwise, column["in_channels"], 1.0)
    window, stride = column["kernel"], column["stride"]
    height, width = (np.ceil(column[name] / stride) for name in ("height", "width"))
    outputs = column["batch_size"] * height * width * column["out_channels"]
    weights = column["in_channels"] / groups * column["out_channels"] * window**2
    inputs = column["batch_size"] * column["height"] * column["width"] * column["in_channels"]
    ones, zeros = np.ones(len(outputs)), np.zeros(len(outputs))
    numbers = {
        "batch": column["batch_size"],
        "height": column["height"],
        "width": column["width"],
        "out_height": height,
        "out_width": width,
        "in_channels": column["in_channels"],
        "out_channels": column["out_channels"],
        "kernel_height": window,
        "kernel_width": window,
        "stride": stride,
        "dilation": ones,
        "groups": groups,
        "inputs": ones,
        "activation": ones,
        "fused": column["fused_elementwise"],
        "last": zeros,
        "after": ones,
        "run": zeros,
        "turns": zeros,
        "read": inputs + outputs * column["fused_elementwise"],
        "written": outputs,
        "weights": weights,
        "macs": outputs * window**2 * column["in_channels"] / groups,
        **dict.fromkeys(CONTEXT, zeros),
    }
    stacked = np.column_stack([numbers[name] for name in NUMBERS])
    families = np.where(depthwise, "depthwise", "conv")
    nowhere = np.full(len(outputs), -1)
    return KernelTable(Configurations(families, stacked), loaded.latency_ms, nowhere)
