"""The zoo: networks of the field as ONNX models, at any width, resolution and batch size.

``__init__.pyi`` lists the names; each is loaded when it is first used.
"""

from latprof.common.lazy import lazy_names

__getattr__, __dir__ = lazy_names(__name__)
