"""What spoils timings on this host."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latprof.common.short_reprs import ShortRepr
from latprof.errors import EXIT_FINDING, EXIT_OK

if TYPE_CHECKING:
    from latprof.profilers.host.checks import Check


@dataclass(frozen=True, repr=False)
class DoctorResult(ShortRepr):
    """What was checked on this host.

    ``checks`` are records with ``name``, ``status`` (``"OK"``, ``"WARN"``: timings are noisier than
    need be, or ``"FAIL"``: do not trust them), ``finding`` and ``remedy``.
    """

    checks: tuple[Check, ...]

    @property
    def exit_status(self) -> int:
        """1 where a check fails, else 0."""
        return EXIT_FINDING if any(c.status == "FAIL" for c in self.checks) else EXIT_OK

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the checks as plain JSON values."""
        return [dataclasses.asdict(check) for check in self.checks]


def doctor() -> DoctorResult:
    """Find what spoils timings on this host, with the remedy for each finding.

    Entry points of other packages whose names are taken are found too.
    """
    from latprof.profilers.host.checks import Check, run_checks
    from latprof.registry import entry_point_problems

    taken = [
        Check("other packages", "WARN", problem.problem, problem.hint or "")
        for problem in entry_point_problems()
    ]
    return DoctorResult((*run_checks(), *taken))
