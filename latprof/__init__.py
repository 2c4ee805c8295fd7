"""How many milliseconds a neural network takes on a device, before anyone runs it there.

Profilers measure, predictors learn from what was measured, searchers use what was learned. Names
are loaded when they are first used: ``import latprof`` itself is light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from latprof.datasets.proxyless import ProxylessSpace
    from latprof.datasets.registry import get_space, space_names
    from latprof.datasets.space import Architecture, SearchSpace
    from latprof.errors import LatprofError
    from latprof.graph.operators import Network, Operator
    from latprof.graph.reader import read_network
    from latprof.measurement.frames import labels
    from latprof.measurement.records import Measurement, PairedProtocol, Target
    from latprof.measurement.store import Store
    from latprof.predictors.base import Predictor
    from latprof.predictors.boosted_trees import XGBoostPredictor
    from latprof.predictors.hybrid import HybridPredictor
    from latprof.predictors.linear import LinearPredictor
    from latprof.predictors.lookup_table import LookupTablePredictor
    from latprof.predictors.pack import Pack, load_pack, save_pack
    from latprof.predictors.transfer import TransferPredictor
    from latprof.profilers.base import RunOptions
    from latprof.profilers.profile import Profile, profile
    from latprof.profilers.registry import target_spellings

_MODULES = {
    "Architecture": "datasets.space",
    "HybridPredictor": "predictors.hybrid",
    "LatprofError": "errors",
    "LinearPredictor": "predictors.linear",
    "LookupTablePredictor": "predictors.lookup_table",
    "Measurement": "measurement.records",
    "Network": "graph.operators",
    "Operator": "graph.operators",
    "Pack": "predictors.pack",
    "PairedProtocol": "measurement.records",
    "Predictor": "predictors.base",
    "Profile": "profilers.profile",
    "ProxylessSpace": "datasets.proxyless",
    "RunOptions": "profilers.base",
    "SearchSpace": "datasets.space",
    "Store": "measurement.store",
    "Target": "measurement.records",
    "TransferPredictor": "predictors.transfer",
    "XGBoostPredictor": "predictors.boosted_trees",
    "get_space": "datasets.registry",
    "labels": "measurement.frames",
    "load_pack": "predictors.pack",
    "profile": "profilers.profile",
    "read_network": "graph.reader",
    "save_pack": "predictors.pack",
    "space_names": "datasets.registry",
    "target_spellings": "profilers.registry",
}

__all__ = [
    "Architecture",
    "HybridPredictor",
    "LatprofError",
    "LinearPredictor",
    "LookupTablePredictor",
    "Measurement",
    "Network",
    "Operator",
    "Pack",
    "PairedProtocol",
    "Predictor",
    "Profile",
    "ProxylessSpace",
    "RunOptions",
    "SearchSpace",
    "Store",
    "Target",
    "TransferPredictor",
    "XGBoostPredictor",
    "get_space",
    "labels",
    "load_pack",
    "profile",
    "read_network",
    "save_pack",
    "space_names",
    "target_spellings",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
