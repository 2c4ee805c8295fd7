"""The kernels that a runtime makes of a graph, as configurations."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.errors import UnknownCostsError, shown, words_of
from latprof.graph.fusion import fuse
from latprof.graph.fusion_rules import VIEWS, bundled_rules
from latprof.graph.runtime_kernels.fused_kernels import (
    AVX2_BLOCK,
    AVX512_BLOCK,
    OptimizationLevel,
    onnxruntime_kernels,
)
from latprof.graph.runtime_kernels.ruled_kernels import ruled_kernels
from latprof.predictors.kernels.configurations import (
    Configurations,
    configuration_of,
    family_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latprof.graph.fusion_rules import FusionRules
    from latprof.graph.operators import Network, Operator
    from latprof.measurement.records import Target

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class GraphKernels(ShortRepr):
    """A network's kernels: the fused operators, their configurations, and how often each runs.

    ``trips`` has shape (n,): above 1 in the bodies of loops.
    """

    operators: tuple[Operator, ...]
    configurations: Configurations
    trips: Floats


def kernels_of(
    network: Network, target: Target | None = None, rules: FusionRules | None = None
) -> GraphKernels:
    """The kernels of a network on a target, in order; what runs none is left out.

    ONNX Runtime's on a CPU are those of its own optimiser, other runtimes' those of ``rules``, or
    of the rules that come with latprof for the runtime, or of :func:`latprof.graph.fusion.fuse`.
    Raises UnknownCostsError for operators that lack what their definitions promise.
    """
    try:
        return _kernels_of(network, target, rules)
    except (ArithmeticError, LookupError, StopIteration, TypeError, ValueError) as error:
        raise UnknownCostsError(
            f"the kernels of the network {shown(network.name, 200)} cannot be told: an operator "
            "lacks what its definition promises",
            got=words_of(error),
            hint="measure it: latprof profile",
        ) from error


def _kernels_of(network: Network, target: Target | None, rules: FusionRules | None) -> GraphKernels:
    if has_own_rules(target):
        assert target is not None
        operators = onnxruntime_kernels(
            network, block=block_of(target.device_name), level=_level_of(target)
        )
    else:
        if rules is None and target is not None and target.device == "cpu":
            rules = bundled_rules(target.runtime)
        operators = _fused(network) if rules is None else ruled_kernels(network, rules)
    around = zip(operators, _after(operators), _distances(operators), strict=True)
    typed = rules is not None or has_own_rules(target)
    configurations = Configurations.of(configuration_of(*each, typed=typed) for each in around)
    for name in ("weights", "written"):
        configurations.column(f"network_{name}")[:] = configurations.column(name).sum()
    return GraphKernels(
        operators,
        configurations,
        np.array([operator.trips for operator in operators], dtype=np.float64),
    )


def _fused(network: Network) -> tuple[Operator, ...]:
    """The kernels by what runtimes share."""
    return tuple(op for op in fuse(network).operators if op.op_type not in VIEWS)


def has_own_rules(target: Target | None) -> bool:
    """Whether a target's kernels are those of ONNX Runtime's optimiser, and not learnt.

    On the processor of a computer, and by its own kernels.
    """
    if target is None:
        return False
    kind = target.device.partition(":")[0]
    own = not any(word.startswith("provider-") for word in target.mode.split(","))
    return kind in ("cpu", "ssh") and target.runtime == "onnxruntime" and own


def _level_of(target: Target) -> OptimizationLevel:
    """How far the graph is optimised, by the words of the mode."""
    words = target.mode.split(",")
    levels: tuple[OptimizationLevel, ...] = ("off", "basic", "extended")
    return next((level for level in levels if f"opt-{level}" in words), "all")


def block_of(device_name: str) -> int:
    """Channels in a block of the blocked layout; none on ARM, which has kernels of its own for it.

    By the vector instructions that a target's name has, else by the processor's model: eight,
    unless it is known to be one with AVX-512.
    """
    if _ARM.search(device_name):
        return 0
    told = {*_VECTORS.findall(device_name)}
    has_wide = "avx512" in told or (not told and _AVX512.search(device_name))
    return AVX512_BLOCK if has_wide else AVX2_BLOCK


#: ARM's processors, whose names have no family but implementer and part of each kind of core.
_ARM = re.compile(r"\b\dx 0x[0-9a-f]+/0x|\bneon\b")
#: Vector instructions that a name tells of, the widest ones among them.
_VECTORS = re.compile(r"\bavx(?:512|2)\b")
#: Processors with AVX-512, by their models.
_AVX512 = re.compile(r"Xeon.*(?:Platinum|Gold|Silver|W-[23])|EPYC (?:9\d\d\d|4\d\d4)")
#: Families whose kernels write the layout of convolutions, and those that keep what they read.
_BLOCKED = frozenset({"conv", "depthwise", "grouped"})
_KEEPING = frozenset({"elementwise", "activation", "transcendental", "pool", "reduction", "parts"})


def _after(operators: Sequence[Operator]) -> list[int]:
    """What made each operator's first input: 0 the caller, 1 a convolution, 2 anything else."""
    made: dict[str, int] = {}
    found = []
    for operator in operators:
        before = max((made.get(name, 0) for name in operator.reads[:1]), default=0)
        found.append(before)
        family = family_of(operator)
        own = 1 if family in _BLOCKED else before if family in _KEEPING else 2
        made.update(dict.fromkeys(operator.writes, own))
    return found


def _distances(operators: Sequence[Operator]) -> list[float]:
    """Elements that kernels touched since each operator's oldest input was written.

    Inputs of the network count as written just before it begins.
    """
    made: dict[str, float] = {}
    touched, found = 0.0, []
    for operator in operators:
        found.append(touched - min((made.get(name, 0.0) for name in operator.reads), default=0.0))
        sizes = (*operator.output_shapes, *operator.weight_shapes)
        touched += sum(map(math.prod, sizes))
        made.update(dict.fromkeys(operator.writes, touched))
    return found
