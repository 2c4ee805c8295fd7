"""Search spaces, measured latencies of their architectures, and files of other projects.

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.common.lazy import lazy_names

if TYPE_CHECKING:
    from latprof.datasets.importers.accuracies import (
        ImportedAccuracies,
        load_nasbench201_accuracies,
        load_nasbench_macro,
    )
    from latprof.datasets.importers.base import ImportedLatencies
    from latprof.datasets.importers.flags import detect_flags
    from latprof.datasets.importers.hat import load_hat
    from latprof.datasets.importers.help import help_devices, load_help
    from latprof.datasets.importers.hw_nas_bench import (
        hw_nas_bench_columns,
        load_hw_nas_bench,
        load_hw_nas_bench_table,
    )
    from latprof.datasets.importers.lookup_tables import (
        LookupTable,
        read_single_path_table,
        read_yaml_table,
    )
    from latprof.datasets.importers.mobile_ml import (
        ImportedOperators,
        load_mobile_ml,
        load_mobile_ml_operators,
        mobile_ml_columns,
    )
    from latprof.datasets.importers.tinynas import ConvolutionLatencies, load_tinynas
    from latprof.datasets.published.loading import (
        dataset_names,
        datasheet,
        load,
        load_kernels,
        load_visits,
    )
    from latprof.datasets.published.publishing import publish
    from latprof.datasets.published.splits import split_rows
    from latprof.datasets.spaces.base import Architecture, SearchSpace
    from latprof.datasets.spaces.fbnet import FBNetSpace
    from latprof.datasets.spaces.mixed_precision import MixedPrecisionSpace
    from latprof.datasets.spaces.mnasnet import MnasNetSpace
    from latprof.datasets.spaces.named import get_space, space_from_description, space_names
    from latprof.datasets.spaces.nasbench201 import NASBench201Space
    from latprof.datasets.spaces.nasbench_macro import NASBenchMacroSpace
    from latprof.datasets.spaces.ofa_mobilenetv3 import OFAMobileNetV3Space
    from latprof.datasets.spaces.proxyless import ProxylessSpace
    from latprof.datasets.spaces.proxyless_cifar import ProxylessCifarSpace
    from latprof.datasets.spaces.scaled import (
        MBConvStagesSpace,
        Scale,
        ScaledMBConv,
        ScaledNetwork,
        compound_scaling,
    )

__all__ = [
    "Architecture",
    "ConvolutionLatencies",
    "FBNetSpace",
    "ImportedAccuracies",
    "ImportedLatencies",
    "ImportedOperators",
    "LookupTable",
    "MBConvStagesSpace",
    "MixedPrecisionSpace",
    "MnasNetSpace",
    "NASBench201Space",
    "NASBenchMacroSpace",
    "OFAMobileNetV3Space",
    "ProxylessCifarSpace",
    "ProxylessSpace",
    "Scale",
    "ScaledMBConv",
    "ScaledNetwork",
    "SearchSpace",
    "compound_scaling",
    "dataset_names",
    "datasheet",
    "detect_flags",
    "get_space",
    "help_devices",
    "hw_nas_bench_columns",
    "load",
    "load_hat",
    "load_help",
    "load_hw_nas_bench",
    "load_hw_nas_bench_table",
    "load_kernels",
    "load_mobile_ml",
    "load_mobile_ml_operators",
    "load_nasbench201_accuracies",
    "load_nasbench_macro",
    "load_tinynas",
    "load_visits",
    "mobile_ml_columns",
    "publish",
    "read_single_path_table",
    "read_yaml_table",
    "space_from_description",
    "space_names",
    "split_rows",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "importers.accuracies": [
                "ImportedAccuracies",
                "load_nasbench201_accuracies",
                "load_nasbench_macro",
            ],
            "importers.base": ["ImportedLatencies"],
            "importers.flags": ["detect_flags"],
            "importers.hat": ["load_hat"],
            "importers.help": ["help_devices", "load_help"],
            "importers.hw_nas_bench": [
                "hw_nas_bench_columns",
                "load_hw_nas_bench",
                "load_hw_nas_bench_table",
            ],
            "importers.lookup_tables": ["LookupTable", "read_single_path_table", "read_yaml_table"],
            "importers.mobile_ml": [
                "ImportedOperators",
                "load_mobile_ml",
                "load_mobile_ml_operators",
                "mobile_ml_columns",
            ],
            "importers.tinynas": ["ConvolutionLatencies", "load_tinynas"],
            "published.loading": [
                "dataset_names",
                "datasheet",
                "load",
                "load_kernels",
                "load_visits",
            ],
            "published.publishing": ["publish"],
            "published.splits": ["split_rows"],
            "spaces.base": ["Architecture", "SearchSpace"],
            "spaces.fbnet": ["FBNetSpace"],
            "spaces.mixed_precision": ["MixedPrecisionSpace"],
            "spaces.mnasnet": ["MnasNetSpace"],
            "spaces.named": ["get_space", "space_from_description", "space_names"],
            "spaces.nasbench201": ["NASBench201Space"],
            "spaces.nasbench_macro": ["NASBenchMacroSpace"],
            "spaces.ofa_mobilenetv3": ["OFAMobileNetV3Space"],
            "spaces.proxyless": ["ProxylessSpace"],
            "spaces.proxyless_cifar": ["ProxylessCifarSpace"],
            "spaces.scaled": [
                "MBConvStagesSpace",
                "Scale",
                "ScaledMBConv",
                "ScaledNetwork",
                "compound_scaling",
            ],
        },
    )
