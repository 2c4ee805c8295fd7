"""Measuring a network that was searched for, beside its prediction and the limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latprof.workflows.arguments import PackLike, open_pack

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture
    from latprof.searchers.verification import Verification


def verify(
    pack: PackLike,
    architecture: Architecture | str,
    *,
    limit_ms: float = math.inf,
    visits: int = 16,
    precision: float = 0.01,
    other_target: bool = False,
    timeout_s: float = 300.0,
) -> Verification:
    """Measure an architecture as the pack's measurements were made, with the paired protocol."""
    from latprof.searchers.verification import verify as measure

    loaded = open_pack(pack)
    if isinstance(architecture, str):
        architecture = loaded.space.parse(architecture)
    return measure(
        loaded,
        architecture,
        limit_ms=limit_ms,
        visits=visits,
        precision=precision,
        other_target=other_target,
        timeout_s=timeout_s,
    )
