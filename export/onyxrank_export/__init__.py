"""Training, conversion, quantization, the quality gate and evaluation. Needs the extra ``export``."""

from onyxrank.machine.onnx_runtime import decline_telemetry

# Several modules here import onnxruntime, and so do libraries that they use: this must come before any of them.
decline_telemetry()
