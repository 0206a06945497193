"""From a checkpoint to a bundle: ONNX, quantization, parity, the quality gate."""
