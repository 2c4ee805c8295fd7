"""Telemetry of the runtimes, switched off before any of them is imported."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

#: What each runtime or library reads. ONNX Runtime's own (1.31 asks DNS for its maker's host within
#: seconds) heeds the variable alone, when it is imported; its function comes too late.
SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, which litert-torch brings
    "DO_NOT_TRACK": "1",  # huggingface_hub and others
}


def switch_off(
    environment: MutableMapping[str, str] = os.environ, *, whatever_is_set: bool = False
) -> None:
    """Set :data:`SWITCHES`; what is set already stays unless ``whatever_is_set``.

    The command line and the processes that latprof starts set them whatever was set: telemetry runs
    beside what is measured. In a library user's process an explicit setting is the user's.
    """
    for name, value in SWITCHES.items():
        if whatever_is_set:
            environment[name] = value
        else:
            environment.setdefault(name, value)
