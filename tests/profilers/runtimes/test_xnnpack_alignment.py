"""XNNPACK's kernels beside the operators of a graph, by what they are called."""

from __future__ import annotations

from latprof.graph.operators import Operator
from latprof.profilers.runtimes.xnnpack_alignment import aligned

SHAPE = (1, 8, 16, 16)
CONV, DENSE = "Convolution (NHWC, F32) IGEMM", "Fully Connected (NC, F32) GEMM"


def chain(*op_types):
    """Operators one after the other, each called by its type and its number."""
    names = [f"{op_type}{number}" for number, op_type in enumerate(op_types)]
    reads = ["x", *names]
    return [
        Operator(name, op_type, (SHAPE,), (SHAPE,), reads=(before,), writes=(name,))
        for name, op_type, before in zip(names, op_types, reads, strict=False)
    ]


def found(names, op_types):
    ran = aligned(names, chain(*op_types))
    return [" ".join(operator.name for operator in each) for each in ran]


def test_what_is_fused_ran_with_the_operator_before_it():
    kernels = [CONV, DENSE, "Clamp (NC)"]
    op_types = ("Conv", "BatchNormalization", "Relu", "Conv", "Add", "Relu")
    # The sum has no kernel here, so what follows it is a kernel of its own.
    assert found(kernels, op_types) == ["Conv0 BatchNormalization1 Relu2", "Conv3", "Relu5"]
    assert found([CONV], ("Conv", "Sigmoid")) == ["Conv0"]


def test_an_operator_that_becomes_several_kernels_has_them_all():
    normalization = ["Mean (ND) Reduce2", "Subtract (ND)", "Mean Squared (ND) Reduce2", "Add (ND)",
                     "Reciprocal Square Root (NC)", "Multiply (ND)", "Multiply (ND)",
                     "Add (ND)"]  # fmt: skip
    kernels = [DENSE, *normalization, DENSE, "Add (ND)"]
    op_types = ("MatMul", "LayerNormalization", "MatMul", "Add")
    own = ["LayerNormalization1"] * len(normalization)
    assert found(kernels, op_types) == ["MatMul0", *own, "MatMul2", "Add3"]


def test_other_kernels_of_an_operator_may_come_before_its_own():
    order, scores = "Transpose (ND, X32) Transpose", "Batch Matrix Multiply (NC, F32) GEMM"
    kernels = [DENSE, order, order, scores, "Softmax (NC, F32)", order, scores, order]
    op_types = ("MatMul", "MatMul", "Softmax", "MatMul", "Transpose")
    products = ["MatMul0", *["MatMul1"] * 3, "Softmax2", *["MatMul3"] * 2, "Transpose4"]
    assert found(kernels, op_types) == products


def test_operators_that_litert_runs_itself_are_found_by_their_names():
    kernels = ["GATHER", DENSE, "RESIZE_NEAREST_NEIGHBOR", "Copy (NC, X32)", "Static Reshape (NC)"]
    op_types = ("Gather", "MatMul", "Transpose", "Resize", "Concat", "Reshape")
    assert found(kernels, op_types) == ["Gather0", "MatMul1", "Resize3", "Concat4", "Reshape5"]


def test_a_kernel_that_no_operator_can_be_is_of_none():
    assert found([CONV, "Quantum Leap (NC)"], ("Conv", "Relu")) == ["Conv0 Relu1", ""]
    assert found([CONV], ()) == [""]
    assert found([], ("Conv",)) == []


def test_a_value_that_others_read_too_is_not_fused_into():
    operators = chain("Conv", "Relu")
    operators.append(
        Operator("y", "Add", (SHAPE,) * 2, (SHAPE,), reads=("Conv0", "Relu1"), writes=("y",))
    )
    ran = aligned([CONV, "Clamp (NC)", "Add (ND)"], operators)
    assert [[operator.name for operator in each] for each in ran] == [["Conv0"], ["Relu1"], ["y"]]
    ran = aligned([CONV, "Add (ND)"], operators)
    assert [[operator.name for operator in each] for each in ran] == [["Conv0"], ["y"]]
