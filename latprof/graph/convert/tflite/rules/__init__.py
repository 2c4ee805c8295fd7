"""How each operator of ONNX is written with operators of TFLite."""
