"""How networks are measured: runtimes, the schedule of visits, campaigns, what this host is.

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.common.lazy import lazy_names

if TYPE_CHECKING:
    from latprof.profilers.base import Availability, ProfiledModel, Profiler, RunOptions
    from latprof.profilers.campaign.campaign import CampaignResult, Progress
    from latprof.profilers.campaign.collection import Collection
    from latprof.profilers.campaign.plan import Plan
    from latprof.profilers.comparing import StoreComparison, compare_networks, compare_stores
    from latprof.profilers.host.checks import Check, run_checks
    from latprof.profilers.host.facts import host_facts
    from latprof.profilers.profiling import Profile
    from latprof.profilers.runtimes.tvm.tvm_build import PROCESSORS, export_module
    from latprof.profilers.targets import profiler_class, target_spellings

__all__ = [
    "PROCESSORS",
    "Availability",
    "CampaignResult",
    "Check",
    "Collection",
    "Plan",
    "Profile",
    "ProfiledModel",
    "Profiler",
    "Progress",
    "RunOptions",
    "StoreComparison",
    "compare_networks",
    "compare_stores",
    "export_module",
    "host_facts",
    "profiler_class",
    "run_checks",
    "target_spellings",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "base": ["Availability", "ProfiledModel", "Profiler", "RunOptions"],
            "campaign.campaign": ["CampaignResult", "Progress"],
            "campaign.collection": ["Collection"],
            "campaign.plan": ["Plan"],
            "comparing": ["StoreComparison", "compare_networks", "compare_stores"],
            "host.checks": ["Check", "run_checks"],
            "host.facts": ["host_facts"],
            "profiling": ["Profile"],
            "runtimes.tvm.tvm_build": ["PROCESSORS", "export_module"],
            "targets": ["profiler_class", "target_spellings"],
        },
    )
