"""Nodes as plain values: what each reads, and those of its bodies."""

import onnx
from onnx import helper

from latprof.graph.node_order import sort_nodes
from latprof.graph.plain_nodes import all_nodes, plain_nodes, with_inner


def _relu(read, written):
    return helper.make_node("Relu", [read], [written])


def _body(*nodes):
    return helper.make_graph(list(nodes), "body", [], [])


def _branched():
    """An If with an If in its first branch, then a node that leaves an input out."""
    inner = helper.make_node(
        "If", ["c"], ["i"], then_branch=_body(_relu("a", "b")), else_branch=_body(_relu("x", "d"))
    )
    outer = helper.make_node(
        "If", ["c"], ["y"], then_branch=_body(inner, _relu("i", "e")), else_branch=_body()
    )
    last = helper.make_node("Clip", ["y", "", "c"], ["z"], name="last", min=0.0)
    return helper.make_graph([outer, last], "g", [], [])


def test_a_node_has_its_fields_and_all_that_it_reads():
    graph = _branched()
    outer, last = plain_nodes(graph.node)

    assert (last.name, last.op_type, last.domain) == ("last", "Clip", "")
    assert (last.input, last.output, last.bodies) == (("y", "", "c"), ("z",), ())
    assert [attribute.name for attribute in last.attribute] == ["min"]
    assert list(last.reads) == ["y", "c"]
    assert outer.reads == ["c", "c", "x", "a", "i"]  # "else_branch" stands first
    assert outer.message is graph.node[0]
    assert [body.name for body in outer.bodies] == ["body", "body"]


def test_nodes_of_bodies_follow_theirs_in_the_order_of_the_file():
    graph = _branched()

    found = [node.message for node in with_inner(plain_nodes(graph.node))]

    assert [node.output[0] for node in found] == ["y", "i", "d", "b", "e", "z"]
    assert found == list(all_nodes(graph.node))


def test_a_name_is_held_once():
    nodes = plain_nodes([_relu("x", "y"), _relu("y", "z")])

    assert nodes[0].output[0] is nodes[1].input[0]
    assert nodes[0].op_type is nodes[1].op_type


def test_sorting_says_whether_the_nodes_are_others():
    graph = _body(_relu("y", "z"), _relu("x", "y"))
    graph.input.append(onnx.ValueInfoProto(name="x"))

    assert sort_nodes(graph, plain_nodes(graph.node), "m")
    assert [node.output[0] for node in graph.node] == ["y", "z"]
    assert not sort_nodes(graph, plain_nodes(graph.node), "m")
