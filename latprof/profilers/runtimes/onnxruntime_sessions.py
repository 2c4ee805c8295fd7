"""What is chosen of an ONNX Runtime session beyond its defaults, by words of the mode."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from latprof.errors import DeviceError

_LEVELS = {
    "opt-off": ("ORT_DISABLE_ALL", "graph optimisation off"),
    "opt-basic": ("ORT_ENABLE_BASIC", "constants and normalisations folded, no fused kernels"),
    "opt-extended": ("ORT_ENABLE_EXTENDED", "fused kernels too, but no blocked layout"),
}
_PROVIDERS = {
    "provider-acl": ("ACLExecutionProvider", "Arm Compute Library"),
    "provider-dnnl": ("DnnlExecutionProvider", "oneDNN"),
    "provider-openvino": ("OpenVINOExecutionProvider", "OpenVINO"),
    "provider-xnnpack": ("XnnpackExecutionProvider", "XNNPACK"),
}
_CPU = "CPUExecutionProvider"
#: Words for the graph optimisation level; the default is the highest.
LEVELS: Mapping[str, str] = MappingProxyType(
    {word: meaning for word, (_, meaning) in _LEVELS.items()}
)
#: Words for execution providers of a computer's processor, of which an ONNX Runtime has some.
PROVIDERS: Mapping[str, str] = MappingProxyType(
    {
        word: f"execution provider {name.removesuffix('ExecutionProvider')}: {library}'s kernels"
        for word, (name, library) in _PROVIDERS.items()
    }
)


def set_level(options: Any, mode: Collection[str]) -> None:
    """Give a session's options the graph optimisation level that the mode asks for."""
    import onnxruntime

    for word in mode:
        if word in _LEVELS:
            level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[word][0])
            options.graph_optimization_level = level


def providers_of(mode: Collection[str], threads: int) -> list[Any]:
    """The execution providers that the mode asks for, as ``InferenceSession`` takes them.

    ONNX Runtime's own kernels run what the other provider has none for. Raises DeviceError where
    this ONNX Runtime lacks the provider.
    """
    import onnxruntime

    for word in mode:
        if word in _PROVIDERS:
            name = _PROVIDERS[word][0]
            if name not in onnxruntime.get_available_providers():
                raise missing_provider(word, onnxruntime.get_available_providers())
            options = {
                "provider-openvino": {"device_type": "CPU", "num_of_threads": str(threads)},
                "provider-xnnpack": {"intra_op_num_threads": str(threads)},
            }
            return [(name, options.get(word, {})), _CPU]
    return [_CPU]


def check_providers(session: Any, mode: Collection[str]) -> None:
    """Raise DeviceError where a session runs without the provider that was asked for.

    ONNX Runtime leaves a provider out whose library cannot be loaded, and says nothing.
    """
    for word in mode:
        if word in _PROVIDERS and _PROVIDERS[word][0] not in session.get_providers():
            raise missing_provider(word, session.get_providers())


def missing_provider(word: str, there: Collection[str]) -> DeviceError:
    """What says that an ONNX Runtime lacks an execution provider."""
    return DeviceError(
        f"this ONNX Runtime cannot use {_PROVIDERS[word][0]}",
        field="mode",
        expected=f"one of {', '.join(there)}",
        got=word,
        hint=f"install an ONNX Runtime that is built with it, or leave out {word}",
    )
