"""What architectures are made of, and their ONNX and torch models."""
