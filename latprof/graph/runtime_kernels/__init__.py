"""The kernels that ONNX Runtime's CPU provider makes of a graph, without asking it."""
