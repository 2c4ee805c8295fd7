"""Search spaces, and measured latencies of their architectures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.common.lazy import lazy_names

if TYPE_CHECKING:
    from latprof.datasets.published.loading import (
        dataset_names,
        datasheet,
        load,
        load_kernels,
        load_visits,
    )
    from latprof.datasets.spaces.fbnet import FBNetSpace
    from latprof.datasets.spaces.mnasnet import MnasNetSpace
    from latprof.datasets.spaces.named import get_space, space_names
    from latprof.datasets.spaces.nasbench201 import NASBench201Space
    from latprof.datasets.spaces.nasbench_macro import NASBenchMacroSpace
    from latprof.datasets.spaces.ofa_mobilenetv3 import OFAMobileNetV3Space
    from latprof.datasets.spaces.proxyless import ProxylessSpace
    from latprof.datasets.spaces.proxyless_cifar import ProxylessCifarSpace

__all__ = [
    "FBNetSpace",
    "MnasNetSpace",
    "NASBench201Space",
    "NASBenchMacroSpace",
    "OFAMobileNetV3Space",
    "ProxylessCifarSpace",
    "ProxylessSpace",
    "dataset_names",
    "datasheet",
    "get_space",
    "load",
    "load_kernels",
    "load_visits",
    "space_names",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "published.loading": [
                "dataset_names",
                "datasheet",
                "load",
                "load_kernels",
                "load_visits",
            ],
            "spaces.fbnet": ["FBNetSpace"],
            "spaces.mnasnet": ["MnasNetSpace"],
            "spaces.named": ["get_space", "space_names"],
            "spaces.nasbench201": ["NASBench201Space"],
            "spaces.nasbench_macro": ["NASBenchMacroSpace"],
            "spaces.ofa_mobilenetv3": ["OFAMobileNetV3Space"],
            "spaces.proxyless": ["ProxylessSpace"],
            "spaces.proxyless_cifar": ["ProxylessCifarSpace"],
        },
    )
