"""What the report of a search is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latprof.searchers.accuracy.accuracy_sources import accuracy_noun

if TYPE_CHECKING:
    from latprof.measurement.records import Target
    from latprof.searchers.base import Found, SearchProblem
    from latprof.searchers.studies.cross_target import CrossTarget
    from latprof.searchers.verification import Verification


@dataclass(frozen=True, eq=False)
class SearchReportData:
    """What the report of a search is made of.

    Parameters
    ----------
    method : str
    problem : SearchProblem
    found : Found
    seed : int
    latency, accuracy : str
        What the two sources are called.
    target : Target, optional
        What the milliseconds hold for.
    epochs : bool
        Whether a step of the trail is an epoch of one supernet.
    verification : Verification, optional
    cross_target : CrossTarget, optional
    title : str
    """

    method: str
    problem: SearchProblem
    found: Found
    seed: int = 0
    latency: str = ""
    accuracy: str = ""
    target: Target | None = None
    epochs: bool = False
    verification: Verification | None = None
    cross_target: CrossTarget | None = None
    title: str = "Search for a network under a latency limit"

    @property
    def noun(self) -> str:
        """What the larger is better is called, accuracy or score."""
        return accuracy_noun(self.accuracy)

    @property
    def step(self) -> str:
        """What a step of the trail is called."""
        return "epoch" if self.epochs else "evaluation"
