"""What a network is: its operators with shapes and work, read from ONNX; kernels by fusion.

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.common.lazy import lazy_names

if TYPE_CHECKING:
    from latprof.graph.convert.quantization import to_float16, to_int8
    from latprof.graph.convert.to_tflite import tflite_bytes
    from latprof.graph.convert.to_torch import torch_module
    from latprof.graph.fusion import fuse
    from latprof.graph.operators import Network, Operator
    from latprof.graph.reader import load_model, read_network
    from latprof.graph.static_shapes import parse_shape

__all__ = [
    "Network",
    "Operator",
    "fuse",
    "load_model",
    "parse_shape",
    "read_network",
    "tflite_bytes",
    "to_float16",
    "to_int8",
    "torch_module",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "convert.quantization": ["to_float16", "to_int8"],
            "convert.to_tflite": ["tflite_bytes"],
            "convert.to_torch": ["torch_module"],
            "fusion": ["fuse"],
            "operators": ["Network", "Operator"],
            "reader": ["load_model", "read_network"],
            "static_shapes": ["parse_shape"],
        },
    )
