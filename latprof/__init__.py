"""How many milliseconds a neural network takes on a device, before anyone runs it there.

Profilers measure, predictors learn from what was measured, searchers use what was learned. Names
are loaded when they are first used: ``import latprof`` itself is light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof._version import __version__ as __version__
from latprof.common.lazy import lazy_names

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

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "datasets.spaces.base": ["Architecture", "SearchSpace"],
            "datasets.spaces.named": ["get_space", "space_names"],
            "datasets.spaces.proxyless": ["ProxylessSpace"],
            "errors": ["LatprofError"],
            "graph.operators": ["Network", "Operator"],
            "graph.reader": ["read_network"],
            "measurement.frames": ["labels"],
            "measurement.records": ["Measurement", "PairedProtocol", "Target"],
            "measurement.store.store": ["Store"],
            "predictors.base": ["Predictor"],
            "predictors.models.boosted_trees": ["XGBoostPredictor"],
            "predictors.models.hybrid": ["HybridPredictor"],
            "predictors.models.linear": ["LinearPredictor"],
            "predictors.models.lookup_table": ["LookupTablePredictor"],
            "predictors.models.transfer": ["TransferPredictor"],
            "predictors.pack.pack": ["Pack", "load_pack", "save_pack"],
            "profilers.base": ["RunOptions"],
            "profilers.profile": ["Profile", "profile"],
            "profilers.targets": ["target_spellings"],
        },
    )
