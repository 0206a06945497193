"""From a checkpoint to a bundle: ONNX graphs, the check against PyTorch, quantization and the quality gate."""
