"""What a measurement is: records, the paired protocol, statistics, the store.

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.common.lazy import lazy_names

if TYPE_CHECKING:
    from latprof.measurement.comparison import (
        Comparison,
        Condition,
        compare_groups,
        compare_pairs,
        holm,
    )
    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.protocol import LoadedModel, measure_paired
    from latprof.measurement.records import (
        KernelProfile,
        KernelTime,
        PairedProtocol,
        PairedSamples,
        Subject,
        Target,
    )
    from latprof.measurement.side_by_side import SideBySide
    from latprof.measurement.statistics import (
        NoiseFloor,
        combine_visits,
        relative_half_width,
        visit_ratio,
        visit_ratios,
    )
    from latprof.measurement.store.store import Store, StoredTarget
    from latprof.measurement.store.trails import StoredSearch, Trails, TrailStep
    from latprof.measurement.summary import Summary, summarize
    from latprof.measurement.visits import Failure, Measurement, Visit, VisitCounts, VisitKey

__all__ = [
    "Comparison",
    "Condition",
    "Failure",
    "KernelProfile",
    "KernelTime",
    "LoadedModel",
    "Measurement",
    "NoiseFloor",
    "PairedProtocol",
    "PairedSamples",
    "SideBySide",
    "Store",
    "StoredSearch",
    "StoredTarget",
    "Subject",
    "Summary",
    "Target",
    "TargetLabels",
    "TrailStep",
    "Trails",
    "Visit",
    "VisitCounts",
    "VisitKey",
    "combine_visits",
    "compare_groups",
    "compare_pairs",
    "holm",
    "measure_paired",
    "relative_half_width",
    "summarize",
    "visit_ratio",
    "visit_ratios",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "comparison": ["Comparison", "Condition", "compare_groups", "compare_pairs", "holm"],
            "labels": ["TargetLabels"],
            "protocol": ["LoadedModel", "measure_paired"],
            "records": [
                "KernelProfile",
                "KernelTime",
                "PairedProtocol",
                "PairedSamples",
                "Subject",
                "Target",
            ],
            "side_by_side": ["SideBySide"],
            "statistics": [
                "NoiseFloor",
                "combine_visits",
                "relative_half_width",
                "visit_ratio",
                "visit_ratios",
            ],
            "store.store": ["Store", "StoredTarget"],
            "store.trails": ["StoredSearch", "TrailStep", "Trails"],
            "summary": ["Summary", "summarize"],
            "visits": ["Failure", "Measurement", "Visit", "VisitCounts", "VisitKey"],
        },
    )
