"""Search spaces, and measured latencies of their architectures."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latprof.datasets.fbnet import FBNetSpace
    from latprof.datasets.mnasnet import MnasNetSpace
    from latprof.datasets.nasbench201 import NASBench201Space
    from latprof.datasets.nasbench_macro import NASBenchMacroSpace
    from latprof.datasets.ofa_mobilenetv3 import OFAMobileNetV3Space
    from latprof.datasets.proxyless import ProxylessSpace
    from latprof.datasets.proxyless_cifar import ProxylessCifarSpace
    from latprof.datasets.published import (
        dataset_names,
        datasheet,
        load,
        load_kernels,
        load_visits,
    )
    from latprof.datasets.registry import get_space, space_names

_MODULES = {
    "FBNetSpace": "fbnet",
    "MnasNetSpace": "mnasnet",
    "NASBench201Space": "nasbench201",
    "NASBenchMacroSpace": "nasbench_macro",
    "OFAMobileNetV3Space": "ofa_mobilenetv3",
    "ProxylessCifarSpace": "proxyless_cifar",
    "ProxylessSpace": "proxyless",
    "dataset_names": "published",
    "datasheet": "published",
    "get_space": "registry",
    "load": "published",
    "load_kernels": "published",
    "load_visits": "published",
    "space_names": "registry",
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
