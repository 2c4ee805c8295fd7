"""How well the kernels that rules expect of networks are those that ran."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latprof.common.checked_json import Fields


@dataclass(frozen=True)
class KernelAgreement:
    """What became of the kernels that a runtime told, and of those that were expected.

    Parameters
    ----------
    kernels, matched : int
        Kernels on either side, and those that ran just the operators that were expected in one.
    timed, unexplained : int
        Kernels that the runtime told, and those of them that no operator explains, such as changes
        of layout: their times count with the kernels that follow them.
    unexplained_share : float
        Part of the told time in these, from 0 to 1.
    expected, missing : int
        Kernels that were expected, and those of them that did not run.
    """

    kernels: int
    matched: int
    timed: int
    unexplained: int
    unexplained_share: float
    expected: int
    missing: int

    @property
    def matched_share(self) -> float:
        """Part of the kernels that match, from 0 to 1."""
        return self.matched / self.kernels if self.kernels else 0.0

    @classmethod
    def of_networks(cls, each: Iterable[KernelAgreement]) -> KernelAgreement | None:
        """Several networks as one, whose shares count alike; None for none."""
        found = list(each)
        if not found:
            return None
        return cls(
            sum(a.kernels for a in found),
            sum(a.matched for a in found),
            sum(a.timed for a in found),
            sum(a.unexplained for a in found),
            sum(a.unexplained_share for a in found) / len(found),
            sum(a.expected for a in found),
            sum(a.missing for a in found),
        )

    def describe(self) -> str:
        """One line, for people."""
        return (
            f"{self.matched_share:.1%} of {self.kernels:,} kernels, changes of layout among them, "
            f"ran as expected; {self.unexplained:,} are of no operator "
            f"({self.unexplained_share:.1%} of the time), "
            f"{self.missing:,} expected ones did not run"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON values."""
        return asdict(self)

    @classmethod
    def of_fields(cls, fields: Fields) -> KernelAgreement:
        """Rebuild it; raises the fields' error for anything else."""
        return cls(
            fields.integer("kernels"),
            fields.integer("matched"),
            fields.integer("timed"),
            fields.integer("unexplained"),
            fields.number("unexplained_share", 0.0, 1.0),
            fields.integer("expected"),
            fields.integer("missing"),
        )
