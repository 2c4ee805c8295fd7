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
    from latprof.measurement.labels import labels
    from latprof.measurement.records import PairedProtocol, Target
    from latprof.measurement.store.store import Store
    from latprof.measurement.visits import Measurement
    from latprof.predictors.base import Predictor
    from latprof.predictors.models.boosted_trees import XGBoostPredictor
    from latprof.predictors.models.hybrid import HybridPredictor
    from latprof.predictors.models.linear import LinearPredictor
    from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor
    from latprof.predictors.models.transfer_predictor import TransferPredictor
    from latprof.predictors.pack.answering import Answer
    from latprof.predictors.pack.pack import Pack
    from latprof.predictors.pack.prediction import Prediction
    from latprof.predictors.pack.saving import load_pack, save_pack
    from latprof.profilers.base import RunOptions
    from latprof.profilers.profiling import Profile
    from latprof.profilers.targets import target_spellings
    from latprof.searchers.verification import Verification
    from latprof.workflows.collect import CollectResult, collect
    from latprof.workflows.compare import CompareResult, compare
    from latprof.workflows.datasets import load_dataset
    from latprof.workflows.devices import DeviceResult, devices
    from latprof.workflows.doctor import DoctorResult, doctor
    from latprof.workflows.export import ExportResult, export
    from latprof.workflows.lookup_table import LookupTableResult, lookup_table
    from latprof.workflows.predict import predict
    from latprof.workflows.profile import profile
    from latprof.workflows.report import ReportResult, report
    from latprof.workflows.search import SearchResult, search
    from latprof.workflows.train import train
    from latprof.workflows.transfer import transfer
    from latprof.workflows.verify import verify

__all__ = [
    "Answer",
    "Architecture",
    "CollectResult",
    "CompareResult",
    "DeviceResult",
    "DoctorResult",
    "ExportResult",
    "HybridPredictor",
    "LatprofError",
    "LinearPredictor",
    "LookupTablePredictor",
    "LookupTableResult",
    "Measurement",
    "Network",
    "Operator",
    "Pack",
    "PairedProtocol",
    "Prediction",
    "Predictor",
    "Profile",
    "ProxylessSpace",
    "ReportResult",
    "RunOptions",
    "SearchResult",
    "SearchSpace",
    "Store",
    "Target",
    "TransferPredictor",
    "Verification",
    "XGBoostPredictor",
    "collect",
    "compare",
    "devices",
    "doctor",
    "export",
    "get_space",
    "labels",
    "load_dataset",
    "load_pack",
    "lookup_table",
    "predict",
    "profile",
    "read_network",
    "report",
    "save_pack",
    "search",
    "space_names",
    "target_spellings",
    "train",
    "transfer",
    "verify",
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
            "measurement.labels": ["labels"],
            "measurement.records": ["PairedProtocol", "Target"],
            "measurement.visits": ["Measurement"],
            "measurement.store.store": ["Store"],
            "predictors.base": ["Predictor"],
            "predictors.models.boosted_trees": ["XGBoostPredictor"],
            "predictors.models.hybrid": ["HybridPredictor"],
            "predictors.models.linear": ["LinearPredictor"],
            "predictors.models.lookup_table_predictor": ["LookupTablePredictor"],
            "predictors.models.transfer_predictor": ["TransferPredictor"],
            "predictors.pack.answering": ["Answer"],
            "predictors.pack.pack": ["Pack"],
            "predictors.pack.prediction": ["Prediction"],
            "predictors.pack.saving": ["load_pack", "save_pack"],
            "profilers.base": ["RunOptions"],
            "profilers.profiling": ["Profile"],
            "profilers.targets": ["target_spellings"],
            "searchers.verification": ["Verification"],
            "workflows.collect": ["CollectResult", "collect"],
            "workflows.compare": ["CompareResult", "compare"],
            "workflows.datasets": ["load_dataset"],
            "workflows.devices": ["DeviceResult", "devices"],
            "workflows.doctor": ["DoctorResult", "doctor"],
            "workflows.export": ["ExportResult", "export"],
            "workflows.lookup_table": ["LookupTableResult", "lookup_table"],
            "workflows.predict": ["predict"],
            "workflows.profile": ["profile"],
            "workflows.report": ["ReportResult", "report"],
            "workflows.search": ["SearchResult", "search"],
            "workflows.train": ["train"],
            "workflows.transfer": ["transfer"],
            "workflows.verify": ["verify"],
        },
    )
