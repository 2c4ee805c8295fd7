"""The kernels of a network under ONNX Runtime on a CPU, in the order they run in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from latprof.graph.runtime_kernels import composed_operators, patterns
from latprof.graph.runtime_kernels.blocked_layout import NCHWC, BlockedLayout
from latprof.graph.runtime_kernels.function_bodies import expand_functions
from latprof.graph.runtime_kernels.kernel_graph import KernelGraph
from latprof.graph.runtime_kernels.quantized import products_of_few_bits, quantized_kernels
from latprof.graph.runtime_kernels.transposes import (
    VIEWS,
    join_transposes,
    transposes_past_elements,
    transposes_past_splits,
)

if TYPE_CHECKING:
    from latprof.graph.operators import Network, Operator

#: Values a block of channels on a processor with AVX2, and with AVX-512.
AVX2_BLOCK, AVX512_BLOCK = 8, 16
#: Operators that change a shape and copy nothing.
_FREE = VIEWS
#: Number formats without kernels on x86 processors.
_CAST = frozenset({"float16", "bfloat16"})

#: How far ONNX Runtime optimises a graph; each level has what those before it have.
OptimizationLevel: TypeAlias = Literal["off", "basic", "extended", "all"]


def onnxruntime_kernels(
    network: Network, *, block: int = AVX2_BLOCK, level: OptimizationLevel = "all"
) -> tuple[Operator, ...]:
    """What ONNX Runtime's CPU provider makes of a network.

    The rules are those of its graph transformers (onnxruntime/core/optimizer), version 1.31.
    ``python -m benchmarks.fusion`` compares them with what the runtime itself makes.

    Parameters
    ----------
    network : Network
        As :func:`latprof.graph.reader.read_network` reads it.
    block : int
        Channels a block of the processor: 8 with AVX2, 16 with AVX-512, 0 for no blocked layout.
    level : str
        Of the session's graph optimisation: ``"off"``, ``"basic"``, ``"extended"`` or ``"all"``.

    Returns
    -------
    tuple of Operator
        One for each kernel: its type and domain are the runtime's, ``activation`` what it applies
        (``"add+relu"`` for an addition and then Relu), ``parts`` the names of the operators that it
        runs; none for a change of layout. Operators that only change a shape are left out.
    """
    graph = KernelGraph(network)
    if level != "off":
        _basic(graph, more=level != "basic", signed=not block)
    cast = sum(operator.precision in _CAST for operator in network.operators)
    if 2 * cast < len(network.operators):
        _for_this_processor(graph, block, level)
    return tuple(graph.kernel(node) for node in graph.nodes if node.op_type not in _FREE)


def _basic(graph: KernelGraph, *, more: bool, signed: bool) -> None:
    """Rewrites whose results are operators of ONNX itself; ``more`` above this level."""
    patterns.remove_what_does_nothing(graph)
    patterns.choices_the_other_way_round(graph)
    patterns.merge_what_is_the_same(graph)
    quantized_kernels(graph, signed=signed)
    patterns.fold_into_convolutions(graph)
    patterns.sums_into_gemm(graph)
    patterns.products_with_a_bias(graph)
    if more:
        composed_operators.gelu(graph)
        composed_operators.splits(graph)
    transposes_past_splits(graph)
    composed_operators.layer_normalization(graph, merge=False)
    transposes_past_elements(graph)
    join_transposes(graph)
    composed_operators.layer_normalization(graph, merge=True)
    join_transposes(graph)


def _for_this_processor(graph: KernelGraph, block: int, level: OptimizationLevel) -> None:
    """What is done once operators are assigned to the CPU provider.

    In 16 bits most have no kernel there: they are cast to float32 afterwards, as they are.
    """
    if level in ("extended", "all"):
        products_of_few_bits(graph)
        patterns.activations(graph)
        composed_operators.simplified_layer_normalization(graph)
        patterns.scaled_and_transposed_products(graph)
        composed_operators.skip_layer_normalization(graph)
        composed_operators.fast_gelu(graph)
        composed_operators.quick_gelu(graph)
    expand_functions(graph)
    if level != "all":
        return
    if block and not any(node.domain == NCHWC for node in graph.nodes):
        BlockedLayout(graph, block).apply()
    patterns.sums_into_convolutions(graph)
