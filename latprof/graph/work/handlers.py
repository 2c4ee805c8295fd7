"""Handlers of operators: what one has to do, from its shapes; latprof's own, and users'.

A handler is found by an operator's domain and type. latprof knows ONNX's operators and those of
ONNX Runtime; another package adds its own through the entry point group ``latprof.operators``, a
script through :func:`register_operator`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from latprof.common.own_code.calling import called
from latprof.errors import InvalidValueError, shown, words_of
from latprof.graph.work.attention import ATTENTION, ATTENTION_SHAPES
from latprof.graph.work.data_movement import MOVES_DATA
from latprof.graph.work.machine_learning import LEARNED
from latprof.graph.work.products import PRODUCTS
from latprof.registry import OPERATORS

if TYPE_CHECKING:
    from latprof.graph.operators import Shape
    from latprof.graph.work.graph_node import GraphNode, MacCounter, ShapeRule


class OperatorHandler:
    """Counts the work of one operator. Subclass it, set ``name``, and override what applies.

    Every method is called with shapes that may be missing: :meth:`GraphNode.shape` raises
    LookupError then, and the operator's work counts as not known. Any other exception does too.
    """

    #: Domain and type, ``"com.example:MyOp"``; the type alone for ONNX's own domain.
    name: ClassVar[str] = ""

    def macs(self, node: GraphNode) -> int:
        """Multiply-accumulates of one run."""
        raise NotImplementedError

    def kind(self, node: GraphNode) -> str:
        """The kind of kernel; the operator's type in lower case unless overridden."""
        return node.op_type.lower()

    def output_shapes(self, node: GraphNode) -> Sequence[Shape] | None:  # noqa: ARG002 - overridden
        """Shapes of the outputs, for operators that ONNX's shape inference does not know."""
        return None


@dataclass(frozen=True)
class _Counted(OperatorHandler):
    """One of latprof's own, which counts with a function; its kind is the operator's own."""

    count: MacCounter
    shapes: ShapeRule | None = None

    def macs(self, node: GraphNode) -> int:
        return self.count(node)

    def kind(self, node: GraphNode) -> str:  # noqa: ARG002 - the operator says
        return ""

    def output_shapes(self, node: GraphNode) -> Sequence[Shape] | None:
        return self.shapes(node) if self.shapes else None


Handler = TypeVar("Handler", bound=type[OperatorHandler])

_own: Mapping[str, OperatorHandler] = {
    **dict.fromkeys(MOVES_DATA, _Counted(lambda _: 0)),
    **{
        name: _Counted(count, ATTENTION_SHAPES.get(name))
        for name, count in {**PRODUCTS, **ATTENTION}.items()
    },
    **{name: _Counted(*both) for name, both in LEARNED.items()},
}
registered: dict[str, OperatorHandler] = {}
_foreign: dict[str, OperatorHandler | None] = {}


def register_operator(handler: Handler) -> Handler:
    """Use a handler for its operator in this process; also as a decorator of its class.

    Raises InvalidValueError for what is no subclass of :class:`OperatorHandler` with a name.
    """
    named = isinstance(handler, type) and issubclass(handler, OperatorHandler) and handler.name
    if not named:
        raise InvalidValueError(
            "not an operator handler",
            field="handler",
            expected='a subclass of OperatorHandler whose `name` is "domain:Type"',
            got=repr(handler)[:100],
        )
    registered[handler.name] = handler()
    return handler


def handler_of(op_type: str, domain: str) -> OperatorHandler | None:
    """The handler of an operator; None where nobody has one.

    Raises EntryPointError for another package's that cannot be loaded.
    """
    name = full_name(op_type, domain)
    found = registered.get(name) or _own.get(name)
    if found is None:
        if name not in _foreign:
            known = name in OPERATORS
            with called(f"the handler of {name}"):
                _foreign[name] = OPERATORS.load(name, OperatorHandler)() if known else None
        found = _foreign[name]
    return found


def full_name(op_type: str, domain: str) -> str:
    """``"com.microsoft:QGemm"``, or the type alone in ONNX's own domain."""
    return op_type if domain in ("", "ai.onnx") else f"{domain}:{op_type}"


#: More than any processor will have done.
_MOST_MACS = 1 << 62


@dataclass(frozen=True)
class Work:
    """What a handler says of one operator; ``unknown`` is why it says nothing."""

    macs: int = 0
    kind: str = ""
    unknown: str = ""


def work_of_node(node: GraphNode) -> Work:
    """Ask an operator's handler; a handler that fails makes the work unknown."""
    name = full_name(node.op_type, node.domain)
    handler = handler_of(node.op_type, node.domain)
    if handler is None:
        return Work(unknown=f"{name} has no handler")
    try:
        macs, kind = int(handler.macs(node)), handler.kind(node)
        if not isinstance(kind, str) or macs > _MOST_MACS:
            raise TypeError(f"its handler says {shown(macs)} MACs and {shown(kind)}")
        return Work(max(macs, 0), kind)
    except LookupError:
        return Work(unknown=f"{name} has shapes that are not known")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a handler may be anybody's
        return Work(unknown=f"{name} cannot be counted ({words_of(error)})"[:200])
