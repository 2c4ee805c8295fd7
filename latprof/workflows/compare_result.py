"""What a comparison came to: verdicts, budgets, and what the host did meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from latprof.common.framed import Framed
from latprof.common.short_reprs import ShortRepr
from latprof.errors import EXIT_OK, EXIT_PARTIAL
from latprof.measurement.budgets import BudgetResult

if TYPE_CHECKING:
    from latprof.measurement.across.differing_conditions import DifferingCondition
    from latprof.measurement.comparison import Comparison
    from latprof.measurement.quiet.target_constant import Constant
    from latprof.measurement.records import Target
    from latprof.profilers.host.host_report import HostReport
    from latprof.workflows.kernel_pairs import KernelPair


@dataclass(frozen=True, repr=False)
class CompareResult(ShortRepr, Framed):
    """Verdicts on B against A.

    Parameters
    ----------
    comparisons : tuple of Comparison
        One for two networks; one a network for two stores.
    failed : tuple of Comparison
        Those that break a budget.
    missing : tuple of str
        Networks of store A without usable visits in store B.
    costs_unknown : mapping of str to str
        Models that are measured though their costs cannot be told, by name, and why.
    conditions : tuple of DifferingCondition
        Of two stores: what was different when they were filled, each with ``name``, ``a``, ``b``
        and ``kind``.
    targets : tuple of Target
        What A and B were measured on.
    host : HostReport or None
        For two networks: what the host did meanwhile.
    budgets : BudgetResult
        The verdicts on ``fail_if``, for each network in turn.
    kernels : tuple of KernelPair
        Of two networks: their kernels side by side, where they were asked for.
    reference : str
        For two networks: what they were measured against.
    constant : Constant or None
        What that takes on a quiet host.
    without_kernels : str
        Why their kernels could not be timed.
    """

    drawn: ClassVar = ("name", "effect", "low", "high")
    axis_label: ClassVar = "relative difference of B from A"

    comparisons: tuple[Comparison, ...]
    failed: tuple[Comparison, ...] = ()
    missing: tuple[str, ...] = ()
    costs_unknown: Mapping[str, str] = field(default_factory=dict)
    conditions: tuple[DifferingCondition, ...] = ()
    targets: tuple[Target, ...] = ()
    host: HostReport | None = None
    budgets: BudgetResult = field(default_factory=BudgetResult)
    kernels: tuple[KernelPair, ...] = ()
    reference: str = ""
    constant: Constant | None = None
    without_kernels: str = ""

    @property
    def exit_status(self) -> int:
        """1 or 5 for budgets that are not kept, else 5 where something is missing."""
        if self.budgets.exit_status:
            return self.budgets.exit_status
        lost = any(each.visits is not None and each.visits.failed for each in self.comparisons)
        return EXIT_PARTIAL if self.missing or lost or self.without_kernels else EXIT_OK

    def _repr_html_(self) -> str:
        from latprof.measurement.comparison import comparisons_html

        return comparisons_html(self.comparisons, self.missing)

    def frame_rows(self) -> list[dict[str, Any]]:
        """A row a network; effects and their ends are fractions of A's latency."""
        return [
            {
                "name": each.name,
                "a_ms": None if each.a is None else each.a.latency_ms,
                "b_ms": None if each.b is None else each.b.latency_ms,
                "effect": each.effect,
                "low": each.low,
                "high": each.high,
                "p_value": each.p_value,
                "adjusted_p_value": each.adjusted_p_value,
                "verdict": each.verdict,
            }
            for each in self.comparisons
        ]

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the comparisons as plain JSON values."""
        common: dict[str, Any] = {}
        if self.targets:
            common["target"] = self.targets[0].to_dict()
            if self.targets[1] != self.targets[0]:
                common["target_b"] = self.targets[1].to_dict()
        if self.host is not None:
            common["host"] = self.host.to_dict()
        if self.constant is not None:
            common["reference"] = self.reference
            common["reference_ms"] = self.constant.reference_ms
            common["constant"] = self.constant.to_dict()
        if self.costs_unknown:
            common["costs_unknown"] = dict(self.costs_unknown)
        if self.conditions:
            common["conditions"] = [condition.to_dict() for condition in self.conditions]
        if self.kernels:
            common["kernels"] = [pair.to_dict() for pair in self.kernels]
        if self.without_kernels:
            common["without_kernels"] = self.without_kernels
        found = self.comparisons
        return [
            comparison.to_dict() | common | self.budgets.shown(row, len(found))
            for row, comparison in enumerate(found)
        ]
