"""How many milliseconds a neural network takes on a device, before anyone runs it there.

Profilers measure, predictors learn from what was measured, searchers use what was learned. Names
are loaded when they are first used: ``import latprof`` itself is light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, SearchSpace
    from latprof.datasets.spaces.named import get_space, space_names
    from latprof.datasets.spaces.proxyless import ProxylessSpace
    from latprof.errors import LatprofError
    from latprof.graph.operators import Network, Operator
    from latprof.graph.reader import read_network
    from latprof.measurement.frames import labels
    from latprof.measurement.records import Measurement, PairedProtocol, Target
    from latprof.measurement.store.store import Store
    from latprof.predictors.base import Predictor
    from latprof.predictors.models.boosted_trees import XGBoostPredictor
    from latprof.predictors.models.hybrid import HybridPredictor
    from latprof.predictors.models.linear import LinearPredictor
    from latprof.predictors.models.lookup_table import LookupTablePredictor
    from latprof.predictors.models.transfer import TransferPredictor
    from latprof.predictors.pack.pack import Pack, load_pack, save_pack
    from latprof.profilers.base import RunOptions
    from latprof.profilers.profile import Profile, profile
    from latprof.profilers.targets import target_spellings

_MODULES = {
    "Architecture": "datasets.spaces.base",
    "HybridPredictor": "predictors.models.hybrid",
    "LatprofError": "errors",
    "LinearPredictor": "predictors.models.linear",
    "LookupTablePredictor": "predictors.models.lookup_table",
    "Measurement": "measurement.records",
    "Network": "graph.operators",
    "Operator": "graph.operators",
    "Pack": "predictors.pack.pack",
    "PairedProtocol": "measurement.records",
    "Predictor": "predictors.base",
    "Profile": "profilers.profile",
    "ProxylessSpace": "datasets.spaces.proxyless",
    "RunOptions": "profilers.base",
    "SearchSpace": "datasets.spaces.base",
    "Store": "measurement.store.store",
    "Target": "measurement.records",
    "TransferPredictor": "predictors.models.transfer",
    "XGBoostPredictor": "predictors.models.boosted_trees",
    "get_space": "datasets.spaces.named",
    "labels": "measurement.frames",
    "load_pack": "predictors.pack.pack",
    "profile": "profilers.profile",
    "read_network": "graph.reader",
    "save_pack": "predictors.pack.pack",
    "space_names": "datasets.spaces.named",
    "target_spellings": "profilers.targets",
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
