"""What times and kernels say about fusion: of one chain, and of a whole network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latprof.graph.runtime_kernels.learned_fusion import matching_kernels

if TYPE_CHECKING:
    from latprof.graph.operators import Operator
    from latprof.measurement.records import KernelTime

#: Part of the shorter of two that has to be saved together: Zhang et al., nn-Meter, MobiSys 2021.
SAVED_SHARE = 0.5


@dataclass(frozen=True)
class ChainEvidence:
    """One chain, timed with and without its last operator, and the kernels that it ran as.

    Parameters
    ----------
    operators : tuple of str
        Operator types in order.
    before_ms, last_ms, together_ms : float
        Of the chain without its last operator, of that alone, and of the whole; without the time
        of a run that does nothing.
    ran_fused : bool or None
        Whether the last operator had no kernel of its own; None where the runtime does not tell.
    """

    operators: tuple[str, ...]
    before_ms: float
    last_ms: float
    together_ms: float
    ran_fused: bool | None

    @property
    def saved_share(self) -> float:
        """What the chain saves of the shorter of its two parts."""
        shorter = max(min(self.before_ms, self.last_ms), 1e-6)
        return (self.before_ms + self.last_ms - self.together_ms) / shorter

    @property
    def fused_by_time(self) -> bool:
        """Whether at least half of the shorter part is saved."""
        return self.saved_share > SAVED_SHARE

    @property
    def fused(self) -> bool:
        """Whether the last operator joins: by the kernels where they are told, else by time."""
        return self.fused_by_time if self.ran_fused is None else self.ran_fused

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON values."""
        return {
            "operators": list(self.operators),
            "before_ms": self.before_ms,
            "last_ms": self.last_ms,
            "together_ms": self.together_ms,
            "saved_share": self.saved_share,
            "fused_by_time": self.fused_by_time,
            "ran_fused": self.ran_fused,
            "fused": self.fused,
        }


@dataclass(frozen=True)
class NetworkAgreement:
    """How many of a network's kernels ran as the rules say; of ``kernels`` on either side."""

    network: str
    matched: int
    kernels: int

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON values."""
        return {"network": self.network, "matched": self.matched, "kernels": self.kernels}


def ran_fused(kernels: Sequence[KernelTime], last: str) -> bool | None:
    """Whether an operator ran in a kernel with others; None where no kernel names an operator.

    One that no kernel names was folded into another, or taken out. A kernel that runs alone may
    bear its name alone.
    """
    named = [kernel.operators for kernel in kernels if kernel.operators]
    if not named:
        return None
    own = [names for names in named if last in names]
    return not own or len(named) == 1 or any(len(names) > 1 for names in own)


def agreement(
    network: str, kernels: Sequence[KernelTime], expected: Sequence[Operator]
) -> NetworkAgreement:
    """Compare the kernels that ran with those that rules make of a network.

    A kernel matches by the operators in it. Kernels that the runtime added, such as changes of
    layout, are of no operator and do not count; neither do operators that no kernel names.
    """
    ran = [kernel.operators for kernel in kernels]
    return NetworkAgreement(network, *matching_kernels(ran, expected))
