"""Search spaces, and measured latencies of their architectures."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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

_MODULES = {
    "FBNetSpace": "spaces.fbnet",
    "MnasNetSpace": "spaces.mnasnet",
    "NASBench201Space": "spaces.nasbench201",
    "NASBenchMacroSpace": "spaces.nasbench_macro",
    "OFAMobileNetV3Space": "spaces.ofa_mobilenetv3",
    "ProxylessCifarSpace": "spaces.proxyless_cifar",
    "ProxylessSpace": "spaces.proxyless",
    "dataset_names": "published.loading",
    "datasheet": "published.loading",
    "get_space": "spaces.named",
    "load": "published.loading",
    "load_kernels": "published.loading",
    "load_visits": "published.loading",
    "space_names": "spaces.named",
}

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


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
