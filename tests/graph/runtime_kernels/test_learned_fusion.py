"""How a runtime fuses, learnt from the operators that its kernels ran."""

from __future__ import annotations

from latprof.graph.fusion_rules import FusionRules
from latprof.graph.operators import Network, Operator
from latprof.graph.runtime_kernels.learned_fusion import (
    RanNetwork,
    learned_rules,
    matching_kernels,
)
from latprof.graph.runtime_kernels.ruled_kernels import ruled_kernels

IMAGE, GATE, ROWS = (1, 8, 16, 16), (1, 8, 1, 1), (32, 64)


def operator(writes, op_type, reads, shape=IMAGE, **more):
    names = reads.split()
    shapes = tuple(more.pop("shapes", (shape,) * len(names)))
    return Operator(
        writes, op_type, shapes, (shape,), reads=tuple(names), writes=(writes,), **more
    )  # fmt: skip


def conv(writes, reads):
    return operator(writes, "Conv", reads, weight_shape=(8, 8, 3, 3), weight_shapes=((8, 8, 3, 3),))


def product(writes, reads):
    return operator(writes, "MatMul", reads, ROWS, weight_shape=(64, 64), counted_macs=10**6)


def network(*operators, inputs=("x", "z"), output="y"):
    shape = operators[-1].output_shapes[0]
    return Network("n", operators, tuple((name, shape) for name in inputs), ((output, shape),))


def ran(*operators, kernels, **more):
    return RanNetwork(network(*operators, **more), [tuple(each.split()) for each in kernels])


def made(rules, of):
    known = set().union(*of.kernels)
    return [
        known.intersection(each.parts or (each.name,)) for each in ruled_kernels(of.network, rules)
    ]


#: The sum joins the convolution before it, unless what it adds is read again.
RESIDUAL = ran(
    conv("a", "x"),
    operator("b", "Relu", "a"),
    conv("c", "b"),
    operator("d", "Add", "c b"),
    operator("y", "Relu", "d"),
    kernels=("", "a b", "c d y"),
)
KEPT = ran(
    conv("a", "x"),
    operator("b", "Relu", "a"),
    conv("c", "b"),
    operator("d", "Add", "c b"),
    operator("y", "Concat", "d b"),
    kernels=("a b", "c", "d", "y"),
)
#: A squeeze and excitation: the product of two shapes is a kernel of its own, its factor is not.
GATED = ran(
    conv("a", "x"),
    operator("p", "GlobalAveragePool", "a", GATE, shapes=(IMAGE,)),
    operator("g", "HardSigmoid", "p", GATE),
    operator("y", "Mul", "a g", IMAGE, shapes=(IMAGE, GATE)),
    kernels=("a", "p g", "y"),
)
#: A dense layer is called by its bias; a view and what reads it are called by either.
DENSE = ran(
    product("a", "x"),
    operator("b", "Add", "a", ROWS, weight_shapes=((64,),)),
    operator("v", "Reshape", "b", ROWS),
    operator("t", "Transpose", "v", ROWS),
    operator("y", "Add", "t z", ROWS),
    kernels=("b", "t", "y"),
)
#: Two factors that one kernel multiplies and adds.
TURNED = ran(
    operator("a", "Mul", "x", ROWS, weight_shapes=(ROWS,)),
    operator("b", "Mul", "z", ROWS, weight_shapes=(ROWS,)),
    operator("y", "Add", "a b", ROWS),
    kernels=("a b y",),
)
ALL = (RESIDUAL, KEPT, GATED, DENSE, TURNED)


def test_kernels_by_the_rules_are_those_that_ran():
    rules = learned_rules(ALL)
    for of in ALL:
        assert made(rules, of) == [set(names) for names in of.kernels if names]
        matched, kernels = matching_kernels(of.kernels, ruled_kernels(of.network, rules))
        assert matched == kernels == sum(map(bool, of.kernels))
    dense = ruled_kernels(DENSE.network, rules)[0]
    assert (dense.op_type, dense.macs, dense.activation) == ("MatMul", 10**6, "add")


def test_rules_say_what_was_learnt_and_come_back_from_a_file(tmp_path):
    rules = learned_rules(ALL, {"device": "cpu"})
    assert rules.chains["Conv", "Add"]
    assert not rules.chains["Conv", "Add kept"]
    assert rules.chains["Mul constant", "into", "Add"]
    assert "Reshape" in rules.absent
    assert "Transpose" not in rules.absent
    again = FusionRules.load(rules.save(tmp_path / "rules.json"))
    assert again == rules


def test_a_runtime_that_runs_every_operator_alone_has_a_kernel_of_each():
    operators = DENSE.network.operators
    alone = RanNetwork(DENSE.network, [(each.name,) for each in operators])
    rules = learned_rules([alone])
    assert made(rules, alone) == [{each.name} for each in operators]
    assert not any(rules.chains.values())
    assert rules.absent.isdisjoint({"Reshape", "Transpose"})


def test_what_mostly_happens_is_the_rule():
    apart = RanNetwork(RESIDUAL.network, [("a", "b"), ("c",), ("d", "y")])
    assert learned_rules([RESIDUAL, RESIDUAL, apart]).chains["Conv", "Add"]
    assert ("Conv", "Add") not in learned_rules([RESIDUAL, apart, apart]).chains


def test_operators_that_run_as_one_are_known_as_one():
    def gelu(kernels):
        return ran(
            product("a", "x"),
            operator("b", "Div", "a", ROWS, weight_shapes=((),), constants={1: (2**0.5,)}),
            operator("c", "Erf", "b", ROWS),
            operator("d", "Add", "c", ROWS, weight_shapes=((),), constants={1: (1.0,)}),
            operator("e", "Mul", "a d", ROWS),
            operator("y", "Mul", "e", ROWS, weight_shapes=((),), constants={1: (0.5,)}),
            kernels=kernels,
            inputs=("x",),
        )

    one, many = gelu(("a y",)), gelu(("a", "b", "c", "d", "e", "y"))
    rules = learned_rules([one])
    assert rules.patterns == {"gelu"}
    (kernel,) = ruled_kernels(one.network, rules)
    assert (kernel.op_type, kernel.activation) == ("MatMul", "gelu")
    assert not learned_rules([many]).patterns
    assert len(ruled_kernels(many.network, learned_rules([many]))) == len(many.kernels)


def test_without_a_name_of_an_operator_nothing_is_learnt():
    assert learned_rules([]) is None
    assert learned_rules([RanNetwork(RESIDUAL.network, [(), ()])]) is None
    assert matching_kernels([(), ()], RESIDUAL.network.operators) == (0, 0)
