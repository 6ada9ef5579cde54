"""ONNX files: a float and an INT8 writer, and what runs them."""
