"""Packs as large as the reader lets through, or larger, for :mod:`tests.fuzz.pack_mutants`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from latprof.datasets.spaces.named import get_space
from latprof.predictors.features.block_features import space_tables
from tests.fuzz.forged_packs import PACKS, Forged

_CALIBRATION = "predictor/calibration.json"
_CIFAR = {"blocks_per_stage": 100, "final_channels": 65_536}


def table_on(name: str, options: dict[str, Any]) -> Forged:
    """A linear pack of ones on another space."""
    pack = Forged.of(PACKS / "format2-linear.pack")
    del pack.files[_CALIBRATION]
    space = get_space(name, **options)
    pack.manifest["space"] = space.description
    tables = space_tables(space)
    ones = tables.padded(np.ones(len(tables.column_parts)))
    entries = [[None if np.isnan(each) else 1.0 for each in row] for row in ones.tolist()]
    pack.put("predictor/linear.json", {"intercept_ms": 1, "penalty": 0, "entries_ms": entries})
    return pack


def space_only(name: str, options: dict[str, Any]) -> Forged:
    """A linear pack that says it is for a space; its table is of another shape."""
    pack = Forged.of(PACKS / "format2-linear.pack")
    pack.manifest["space"] = get_space(name, **options).description
    return pack


def chains(trees: int, name: str, options: dict[str, Any]) -> Forged:
    """Trees of 64 leaves, each a chain of 63 splits."""
    pack = Forged.of(PACKS / "format2-xgboost.pack")
    del pack.files[_CALIBRATION]
    space = get_space(name, **options)
    pack.manifest["space"] = space.description
    features = space_tables(space).decisions.names
    file = "predictor/trees.json"
    seed, nodes = pack.values(file)["seed"], 127
    splits = [number % 2 == 0 and number < nodes - 1 for number in range(nodes)]
    drawn = np.random.default_rng(0).integers(len(features), size=nodes).tolist()
    values = {
        "seed": seed,
        "base_ms": 1.0,
        "sizes": [nodes] * trees,
        "feature": [f if s else -1 for f, s in zip(drawn, splits, strict=True)] * trees,
        "left": [i + 1 if s else -1 for i, s in enumerate(splits)] * trees,
        "right": [i + 2 if s else -1 for i, s in enumerate(splits)] * trees,
        "value": [1] * nodes * trees,
        "feature_names": list(features),
    }
    pack.put(file, values)
    return pack


def factors() -> Forged:
    """Interactions that are joined into one large table, one after the other."""
    pack = Forged.of(PACKS / "format2-hybrid-additive.pack")
    del pack.files[_CALIBRATION]
    file, sizes = "predictor/table.json", get_space("proxyless").num_choices.tolist()
    large = {"decisions": list(range(7)), "table_ms": [0] * int(np.prod(sizes[:7]))}
    small = [{"decisions": [i % 7], "table_ms": [1] * sizes[i % 7]} for i in range(1499)]
    pack.put(file, {**pack.values(file), "interactions": [large, *small]})
    return pack


def rows(count: int) -> Forged:
    """Very many held-out rows."""
    pack = Forged.of(PACKS / "format2-linear.pack")
    values = {
        "architectures": [""] * count,
        "measured_ms": [1] * count,
        "predicted_ms": [1] * count,
    }
    pack.files["held_out.json"] = json.dumps(values).encode()
    return pack


def objects(bytes_: int) -> Forged:
    """A list of empty objects, which take twenty times their length when they are read."""
    pack = Forged.of(PACKS / "format2-linear.pack")
    pack.files[_CALIBRATION] = b'{"rows": 1, "ranks": [' + b"{}," * (bytes_ // 3) + b"1]}"
    return pack


def whitening(bytes_: int) -> Forged:
    """A whitening of very many columns."""
    pack = Forged.of(PACKS / "format2-linear.pack")
    values = pack.values(_CALIBRATION)
    totals = len(values["centre"])
    values["whitening"] = [[0] * (bytes_ // 3 // totals)] * totals
    pack.put(_CALIBRATION, values)
    return pack


LARGE: dict[str, Callable[[], Forged]] = {
    "256 resolutions": lambda: table_on(
        "ofa-mobilenetv3", {"resolutions": list(range(32, 1056, 4)), "width_multiplier": 10.0}
    ),
    "300 residual blocks": lambda: table_on("proxyless-cifar", _CIFAR),
    "blocks of 101 layers": lambda: space_only("mnasnet", {"base_depths": [100] * 7}),
    "blocks of up to 5 layers": lambda: table_on("mnasnet", {"base_depths": [4] * 7}),
    "1,331 chains on 25,200 candidates": lambda: chains(1331, "proxyless-cifar", _CIFAR),
    "1,332 chains on them": lambda: chains(1332, "proxyless-cifar", _CIFAR),
    "6,000 chains": lambda: chains(6000, "proxyless", {}),
    "20,000 chains": lambda: chains(20_000, "proxyless", {}),
    "1,500 interactions": factors,
    "a million held-out rows": lambda: rows(1_000_000),
    "31 MiB of empty objects": lambda: objects(31 << 20),
    "62 MiB of empty objects": lambda: objects(62 << 20),
    "31 MiB of whitening": lambda: whitening(31 << 20),
}
