"""Operators of the domain ai.onnx.ml, as scikit-learn's models are exported: work, and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latprof.graph.operators import Shape
    from latprof.graph.work.graph_node import GraphNode, MacCounter, ShapeRule

_LABELS = ("classlabels_ints", "classlabels_int64s", "classlabels_strings")


def _rows(node: GraphNode) -> int:
    data = node.shape(0)
    return data[0] if len(data) > 1 else 1


def _linear(node: GraphNode) -> int:
    """Each row with the coefficients of each class."""
    return _rows(node) * node.length("coefficients")


def _support_vectors(node: GraphNode) -> int:
    """Each row with each support vector, and what comes of it with the coefficients."""
    return _rows(node) * (node.length("support_vectors") + node.length("coefficients"))


def _none(node: GraphNode) -> int:  # noqa: ARG001 - a counter takes the node
    """Trees compare, encoders look up, scalers move data."""
    return 0


def _classified(node: GraphNode) -> Sequence[Shape]:
    """A label a row, and a score for each class."""
    classes = max(map(node.length, _LABELS))
    return ((_rows(node),), (_rows(node), max(classes, 1)))


def _regressed(node: GraphNode) -> Sequence[Shape]:
    targets = node.number("targets", node.number("n_targets", 1))
    return ((_rows(node), targets),)


def _alike(node: GraphNode) -> Sequence[Shape]:
    return (node.shape(0),)


def _joined(node: GraphNode) -> Sequence[Shape]:
    return ((_rows(node), sum(math.prod(node.shape(i)[1:]) for i in range(len(node.inputs)))),)


def _one_hot(node: GraphNode) -> Sequence[Shape]:
    categories = max(map(node.length, ("cats_int64s", "cats_strings")))
    return ((*node.shape(0), categories),)


def _extracted(node: GraphNode) -> Sequence[Shape]:
    sides, chosen = node.shape(0), math.prod(node.shape(1))
    return ((*(sides[:-1] or (1,)), chosen),)


_MODELS: Mapping[str, tuple[MacCounter, ShapeRule | None]] = {
    "LinearClassifier": (_linear, _classified),
    "LinearRegressor": (_linear, _regressed),
    "SVMClassifier": (_support_vectors, _classified),
    "SVMRegressor": (_support_vectors, _regressed),
    "TreeEnsembleClassifier": (_none, _classified),
    "TreeEnsembleRegressor": (_none, _regressed),
    "TreeEnsemble": (_none, _regressed),
    "FeatureVectorizer": (_none, _joined),
    "OneHotEncoder": (_none, _one_hot),
    "ArrayFeatureExtractor": (_none, _extracted),
    **dict.fromkeys(("Binarizer", "CategoryMapper", "Imputer", "LabelEncoder"), (_none, _alike)),
    **dict.fromkeys(("Normalizer", "Scaler"), (_none, _alike)),
    **dict.fromkeys(("CastMap", "DictVectorizer", "ZipMap"), (_none, None)),
}
#: Counters of multiply-accumulates, and shapes of outputs, by full name.
LEARNED: Mapping[str, tuple[MacCounter, ShapeRule | None]] = {
    f"ai.onnx.ml:{name}": both for name, both in _MODELS.items()
}
