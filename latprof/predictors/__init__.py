"""What is learned from measurements: predictors, packs, gradients of the expected latency.

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.common.lazy import lazy_names

if TYPE_CHECKING:
    from latprof.predictors.base import FitResult, Predictor, Terms
    from latprof.predictors.fitting.evaluation import Metrics, evaluate
    from latprof.predictors.gradients.expectation import Expectation, predictor_expectation
    from latprof.predictors.gradients.torch_latency import (
        as_torch,
        expected_latency,
        surrogate_error,
    )
    from latprof.predictors.kernels.operator_costs import OperatorCost, OperatorCostModel
    from latprof.predictors.models.block_times import BlockTimes
    from latprof.predictors.models.boosted_trees import XGBoostPredictor
    from latprof.predictors.models.by_name import make_predictor, predictor_class, predictor_names
    from latprof.predictors.models.hybrid import HybridPredictor
    from latprof.predictors.models.linear import LinearPredictor
    from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor
    from latprof.predictors.models.transfer_predictor import TransferPredictor, choose_for_transfer
    from latprof.predictors.pack.answering import Answer, predict_architectures, predict_network
    from latprof.predictors.pack.pack import HeldOut, Pack
    from latprof.predictors.pack.prediction import Prediction
    from latprof.predictors.pack.saving import load_pack, save_pack
    from latprof.predictors.pack.shipped import pack_names
    from latprof.predictors.training.cross_validation import cross_validated_predictions
    from latprof.predictors.training.imported_table import predictor_from_table, tabulated
    from latprof.predictors.training.split_training import train
    from latprof.predictors.training.stored_training import (
        StoredRows,
        stored_rows,
        train_on_labels,
    )
    from latprof.predictors.training.transfer_training import transfer_to_labels

__all__ = [
    "Answer",
    "BlockTimes",
    "Expectation",
    "FitResult",
    "HeldOut",
    "HybridPredictor",
    "LinearPredictor",
    "LookupTablePredictor",
    "Metrics",
    "OperatorCost",
    "OperatorCostModel",
    "Pack",
    "Prediction",
    "Predictor",
    "StoredRows",
    "Terms",
    "TransferPredictor",
    "XGBoostPredictor",
    "as_torch",
    "choose_for_transfer",
    "cross_validated_predictions",
    "evaluate",
    "expected_latency",
    "load_pack",
    "make_predictor",
    "pack_names",
    "predict_architectures",
    "predict_network",
    "predictor_class",
    "predictor_expectation",
    "predictor_from_table",
    "predictor_names",
    "save_pack",
    "stored_rows",
    "surrogate_error",
    "tabulated",
    "train",
    "train_on_labels",
    "transfer_to_labels",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "base": ["FitResult", "Predictor", "Terms"],
            "fitting.evaluation": ["Metrics", "evaluate"],
            "gradients.expectation": ["Expectation", "predictor_expectation"],
            "gradients.torch_latency": ["as_torch", "expected_latency", "surrogate_error"],
            "kernels.operator_costs": ["OperatorCost", "OperatorCostModel"],
            "models.block_times": ["BlockTimes"],
            "models.boosted_trees": ["XGBoostPredictor"],
            "models.by_name": ["make_predictor", "predictor_class", "predictor_names"],
            "models.hybrid": ["HybridPredictor"],
            "models.linear": ["LinearPredictor"],
            "models.lookup_table_predictor": ["LookupTablePredictor"],
            "models.transfer_predictor": ["TransferPredictor", "choose_for_transfer"],
            "pack.answering": ["Answer", "predict_architectures", "predict_network"],
            "pack.pack": ["HeldOut", "Pack"],
            "pack.prediction": ["Prediction"],
            "pack.saving": ["load_pack", "save_pack"],
            "pack.shipped": ["pack_names"],
            "training.cross_validation": ["cross_validated_predictions"],
            "training.imported_table": ["predictor_from_table", "tabulated"],
            "training.split_training": ["train"],
            "training.stored_training": ["StoredRows", "stored_rows", "train_on_labels"],
            "training.transfer_training": ["transfer_to_labels"],
        },
    )
