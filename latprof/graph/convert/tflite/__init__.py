"""TFLite models written directly from ONNX models, without torch or TensorFlow."""
