"""The box detector, run by ONNX Runtime or by Ultralytics."""
