"""Quantized networks without weights' values: what ONNX Runtime's quantiser writes of a graph."""
