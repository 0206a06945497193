"""sentence-transformers' CrossEncoder on each of its backends."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from base import Batched, versions
from sentence_transformers import CrossEncoder
from sentence_transformers.backend import export_dynamic_quantized_onnx_model

_CALIBRATION_TOKENS = 256


def _peer(model: CrossEncoder, packages: tuple[str, ...], **settings: object) -> Batched:
    def score(query: str, texts: Any, batch: int) -> Any:
        return model.predict([(query, text) for text in texts], batch_size=batch, show_progress_bar=False)

    return Batched(score, {"versions": versions("sentence-transformers", *packages), **settings})


def _torch(dtype: str) -> Callable[[str, int], Batched]:
    def load(folder: str, threads: int) -> Batched:
        torch.set_num_threads(threads)
        model = CrossEncoder(folder, device="cpu", model_kwargs={"torch_dtype": getattr(torch, dtype)})
        return _peer(model, ("torch",), precision=dtype, threads=threads)

    return load


def _onnx(folder: str, threads: int) -> Batched:
    model = CrossEncoder(folder, device="cpu", backend="onnx", model_kwargs={"file_name": "onnx/model.onnx"})
    return _peer(model, ("onnxruntime", "optimum-onnx"), precision="fp32")


def _onnx_int8(folder: str, threads: int) -> Batched:
    kind = _instructions()
    name = f"onnx/model_int8_{kind}.onnx"
    if not (Path(folder) / name).exists():
        plain = CrossEncoder(folder, device="cpu", backend="onnx", model_kwargs={"file_name": "onnx/model.onnx"})
        export_dynamic_quantized_onnx_model(plain, kind, folder, file_suffix=f"int8_{kind}")
    model = CrossEncoder(folder, device="cpu", backend="onnx", model_kwargs={"file_name": name})
    return _peer(model, ("onnxruntime", "optimum-onnx"), precision=f"int8 dynamic, {kind}")


def _instructions() -> str:
    """Return the library's name for the quantization that is made for this processor."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "arm64"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        flags = []
    return next((kind for kind in ("avx512_vnni", "avx512f", "avx2") if kind in flags), "avx2").replace("512f", "512")


def _openvino(folder: str, threads: int) -> Batched:
    model = CrossEncoder(folder, device="cpu", backend="openvino", model_kwargs={"export": True})
    return _peer(model, ("openvino", "optimum-intel"), precision="openvino's own choice")


def _openvino_int8(folder: str, threads: int) -> Batched:
    name = "openvino_model_qint8.xml"
    target = Path(folder).parent / f"{Path(folder).name}-openvino-int8"
    if not (target / "openvino" / name).exists():
        _quantize(folder, target)
    model = CrossEncoder(str(target), device="cpu", backend="openvino")
    return _peer(model, ("openvino", "optimum-intel", "nncf"), precision="int8 static by NNCF")


def _quantize(folder: str, target: Path) -> None:
    """Quantize as sentence-transformers does, on the calibration pairs instead of a data set of the hub."""
    import json

    from datasets import Dataset
    from optimum.intel.openvino import OVConfig, OVQuantizationConfig, OVQuantizer

    model = CrossEncoder(folder, device="cpu", backend="openvino", model_kwargs={"export": True})
    pairs = json.loads((Path(folder) / "calibration.json").read_text(encoding="utf-8"))
    encoded = model.tokenizer(
        [pair[0] for pair in pairs],
        [pair[1] for pair in pairs],
        padding="max_length",
        max_length=_CALIBRATION_TOKENS,
        truncation=True,
    )
    data = Dataset.from_dict(dict(encoded))
    quantizer = OVQuantizer.from_pretrained(model.transformers_model)
    config = OVConfig(quantization_config=OVQuantizationConfig(num_samples=len(pairs)))
    quantizer.quantize(data, save_directory=target, ov_config=config)
    model.tokenizer.save_pretrained(target)


WAYS = {
    "sentence-transformers torch fp32": _torch("float32"),
    "sentence-transformers torch bf16": _torch("bfloat16"),
    "sentence-transformers onnx": _onnx,
    "sentence-transformers onnx int8": _onnx_int8,
    "sentence-transformers openvino": _openvino,
    "sentence-transformers openvino int8": _openvino_int8,
}
