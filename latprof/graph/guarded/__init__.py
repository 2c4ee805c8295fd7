"""ONNX files that nobody vouches for: bounded before they are parsed, inferred in a child."""
