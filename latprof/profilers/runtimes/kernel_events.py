"""Kernels as LiteRT's profiler notes them in one run."""

from __future__ import annotations

from dataclasses import dataclass

#: LiteRT's types of events: an operator of the model, and a kernel of a delegate.
OPERATOR_EVENT, DELEGATE_OPERATOR_EVENT = 2, 8


@dataclass(frozen=True)
class KernelEvent:
    """A kernel in one run: LiteRT's type of event, its time, the operator's number, its name."""

    kind: int
    duration_us: int
    operator: int
    name: str
