"""The latency of a network of any size: predicted from its operators, or measured."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.short_reprs import whole_percent
from latprof.errors import CoverageError, InvalidValueError, PackSpaceError
from latprof.graph.operators import Network

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, SearchSpace
    from latprof.predictors.kernels.operator_costs import NetworkPrediction
    from latprof.predictors.pack.pack import Pack


class LatencyOfOperators:
    """Latencies of any network from a pack's operator costs: the end of the interval, or the sum.

    The interval is that of networks like those of the pack's training; scaled networks are others,
    so it is a margin and no promise: measure what you choose. Operators of a size outside
    the training data count ``1 + doubt`` times in the bound.

    Parameters
    ----------
    pack : Pack
        With operator costs, as ``latprof train`` makes them.
    bound : bool
        Whether calls give the bound rather than the prediction.
    doubt : float
        At least 0.
    least_coverage : float
        From 0 to 1: below this share of known work a network is refused.

    Raises
    ------
    PackSpaceError
        For a pack without operator costs.
    InvalidValueError
        For options out of their range.
    """

    def __init__(
        self, pack: Pack, *, bound: bool = True, doubt: float = 1.0, least_coverage: float = 0.5
    ) -> None:
        if pack.operator_costs is None:
            raise PackSpaceError(
                "the pack has no operator costs", hint="train a pack with this version of latprof"
            )
        if not 0 <= doubt < math.inf or not 0 <= least_coverage <= 1:
            expected = "doubt of at least 0, least_coverage from 0 to 1"
            raise InvalidValueError(
                "out of range", expected=expected, got=f"{doubt}, {least_coverage}"
            )
        self._costs = pack.operator_costs
        self._batch_size = 1 if pack.target is None else pack.target.batch_size
        self._bound, self._doubt, self._least_coverage = bound, doubt, least_coverage

    def predict(self, space: SearchSpace, architecture: Architecture) -> NetworkPrediction:
        """Latency, coverage and the costs of the operators; refuses nothing."""
        operators = space.operators(architecture, self._batch_size)
        image = (self._batch_size, *space.image_shape(architecture))
        outputs = (("output", operators[-1].output_shapes[0]),)
        network = Network(str(architecture), operators, (("input", image),), outputs)
        return self._costs.predict(network)

    def bound_ms(self, predicted: NetworkPrediction) -> float:
        """The bound of a prediction, in milliseconds."""
        known = sum(cost.latency_ms for cost in predicted.per_operator if cost.known)
        unknown = predicted.latency_ms - known
        return (known + unknown * (1 + self._doubt)) * (1 + predicted.interval_relative)

    def __call__(self, space: SearchSpace, architecture: Architecture) -> float:
        """Milliseconds of a network; raises CoverageError where the pack knows too little."""
        found = self.predict(space, architecture)
        if found.coverage < self._least_coverage:
            sizes = (f"{kind} of this size" for kind in found.unknown_sizes)
            missing = (*found.unknown_kinds, *sizes)
            raise CoverageError(
                f"the pack knows only {whole_percent(found.coverage)} of a network with an image "
                f"of {space.image_shape(architecture)[-1]} pixels; unknown: {', '.join(missing)}",
                missing,
                hint="lower least_coverage for a guess, or collect networks of such sizes",
            )
        return self.bound_ms(found) if self._bound else found.latency_ms


def measured_ms(space: SearchSpace, architecture: Architecture, **options: Any) -> float:
    """Measure a network now, whatever its space.

    Options and errors as of :func:`latprof.profilers.profiling.profile`.
    """
    from latprof.profilers.profiling import profile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(space.onnx_bytes(architecture))
        return profile(path, **options).latency_ms
