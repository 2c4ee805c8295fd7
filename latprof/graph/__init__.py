"""What a network is: its operators with shapes and work, read from ONNX; kernels by fusion.

``__init__.pyi`` lists the names; each is loaded when it is first used.
"""

from latprof.common.lazy import lazy_names

__getattr__, __dir__ = lazy_names(__name__)
