from latprof.predictors.base import FitResult as FitResult
from latprof.predictors.base import Predictor as Predictor
from latprof.predictors.base import Terms as Terms
from latprof.predictors.fitting.evaluation import Metrics as Metrics
from latprof.predictors.fitting.evaluation import evaluate as evaluate
from latprof.predictors.gradients.expectation import Expectation as Expectation
from latprof.predictors.gradients.expectation import predictor_expectation as predictor_expectation
from latprof.predictors.gradients.torch_latency import as_torch as as_torch
from latprof.predictors.gradients.torch_latency import expected_latency as expected_latency
from latprof.predictors.gradients.torch_latency import surrogate_error as surrogate_error
from latprof.predictors.kernels.operator_costs import OperatorCost as OperatorCost
from latprof.predictors.kernels.operator_costs import OperatorCostModel as OperatorCostModel
from latprof.predictors.models.block_times import BlockTimes as BlockTimes
from latprof.predictors.models.boosted_trees import XGBoostPredictor as XGBoostPredictor
from latprof.predictors.models.by_name import make_predictor as make_predictor
from latprof.predictors.models.by_name import predictor_class as predictor_class
from latprof.predictors.models.by_name import predictor_names as predictor_names
from latprof.predictors.models.hybrid import HybridPredictor as HybridPredictor
from latprof.predictors.models.linear import LinearPredictor as LinearPredictor
from latprof.predictors.models.lookup_table_predictor import (
    LookupTablePredictor as LookupTablePredictor,
)
from latprof.predictors.models.transfer_predictor import TransferPredictor as TransferPredictor
from latprof.predictors.models.transfer_predictor import choose_for_transfer as choose_for_transfer
from latprof.predictors.pack.answering import Answer as Answer
from latprof.predictors.pack.answering import predict_architectures as predict_architectures
from latprof.predictors.pack.answering import predict_network as predict_network
from latprof.predictors.pack.pack import HeldOut as HeldOut
from latprof.predictors.pack.pack import Pack as Pack
from latprof.predictors.pack.prediction import Prediction as Prediction
from latprof.predictors.pack.saving import load_pack as load_pack
from latprof.predictors.pack.saving import save_pack as save_pack
from latprof.predictors.pack.shipped import pack_names as pack_names
from latprof.predictors.training.cross_validation import (
    cross_validated_predictions as cross_validated_predictions,
)
from latprof.predictors.training.imported_table import predictor_from_table as predictor_from_table
from latprof.predictors.training.imported_table import tabulated as tabulated
from latprof.predictors.training.split_training import train as train
from latprof.predictors.training.stored_training import StoredRows as StoredRows
from latprof.predictors.training.stored_training import stored_rows as stored_rows
from latprof.predictors.training.stored_training import train_on_labels as train_on_labels
from latprof.predictors.training.transfer_training import transfer_to_labels as transfer_to_labels
