"""From an ONNX file to a model image: read and check, quantize, make canonical, prove, lower, pack."""
