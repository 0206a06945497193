"""Training, conversion, quantization, the quality gate and evaluation. Needs the extra ``export``."""
