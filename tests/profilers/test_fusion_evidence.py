"""What times and kernels say of fusion, and the models that are timed."""

import numpy as np
import onnxruntime
import pytest

from latprof.graph.operators import Operator
from latprof.graph.reader import read_network
from latprof.measurement.records import KernelTime
from latprof.profilers.fusion_chains import NOTHING, chain_model, chains, parts_of
from latprof.profilers.fusion_evidence import ChainEvidence, agreement, ran_fused


def kernel(*operators):
    return KernelTime(0, "conv", operators[0] if operators else "layout", operators, 1.0)


@pytest.mark.parametrize(("together", "fused"), [(1.01, True), (1.19, False)])
def test_a_chain_is_fused_that_saves_half_of_its_shorter_part(together, fused):
    found = ChainEvidence(("Conv", "Relu"), 1.0, 0.2, together, None)
    assert found.fused_by_time is fused
    assert found.fused is fused


def test_the_kernels_decide_where_they_are_told():
    assert ChainEvidence(("Conv", "Relu"), 1.0, 0.2, 1.2, ran_fused=True).fused
    assert not ChainEvidence(("Conv", "Relu"), 1.0, 0.2, 1.0, ran_fused=False).fused


def test_an_operator_ran_fused_where_it_has_no_kernel_of_its_own():
    assert ran_fused([kernel("a", "b")], "b") is True
    assert ran_fused([kernel("a"), kernel("b")], "b") is False
    assert ran_fused([kernel("a")], "b") is True
    assert ran_fused([kernel("b"), kernel()], "b") is True
    assert ran_fused([kernel()], "b") is None
    assert ran_fused([], "b") is None


def test_kernels_of_a_network_match_by_their_operators():
    ran = [kernel("a", "b"), kernel("c"), kernel(), kernel("d")]
    rules = [
        Operator("a", "Conv", (), (), parts=("a", "b")),
        Operator("c", "Conv", (), (), parts=("c", "d")),
        Operator("unnamed", "Relu", (), ()),
    ]
    found = agreement("n", ran, rules)
    assert (found.matched, found.kernels) == (1, 3)
    assert agreement("n", ran, [rules[0]]).matched == 1


def test_every_chain_and_part_is_a_model_that_runs():
    tried = dict.fromkeys([NOTHING, *chains()[::6], *(p for c in chains() for p in parts_of(c))])
    for chain in tried:
        found = chain_model(chain)
        assert len(found.operators) == len(chain)
        session = onnxruntime.InferenceSession(
            found.model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        feed = {i.name: np.ones(i.shape, np.float32) for i in session.get_inputs()}
        assert session.run(None, feed)[0].shape == tuple(session.get_outputs()[0].shape)


def test_chains_are_distinct_and_read_as_their_operators():
    assert len(set(chains())) == len(chains())
    for chain in chains()[::7]:
        found = chain_model(chain)
        assert [op.name for op in read_network(found.model).operators] == [*found.operators]
