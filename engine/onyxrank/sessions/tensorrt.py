"""TensorRT's options: the ranges of shapes that its engines are built for, and where these are kept.

An engine takes minutes to build and serves a range of shapes, here up to the bundle's limits: no request builds one.
It belongs to a machine, as a profile does, and to a graph: TensorRT finds its engines by names and shapes, not by
weights. So it lies beside the profile in ``profiles/tensorrt-<digest of the fingerprint>-<start of the graph's>``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onyxrank.errors import ProviderUnavailable
from onyxrank.machine.fingerprint import PROFILE_FOLDER, Fingerprint, digest, machine_fingerprint
from onyxrank.sessions.shape_buckets import Sizes

Shapes = Mapping[str, Sequence[int | str | None]]
"""Of a graph's inputs, by name; what is no number varies."""


def engine_folder(bundle: Path, fingerprint: Fingerprint, sha256: str) -> Path:
    """Where a bundle keeps a machine's engines of the graph with that hash."""
    return bundle / PROFILE_FOLDER / f"tensorrt-{digest(fingerprint)}-{sha256[:12]}"


def engine_options(
    shapes: Shapes, sizes: Sizes, micro_batch_tokens: int, bundle: Path, sha256: str, *, half: bool = False
) -> dict[str, str]:
    """Options of a session, by onnxruntime's names.

    Args:
        shapes: of the graph's inputs.
        sizes: its largest arrays.
        micro_batch_tokens: as many as most runs have.
        bundle: the folder that keeps the engines.
        sha256: of the graph.
        half: whether the graph is in fp16, which TensorRT must be allowed.

    Raises:
        ProviderUnavailable: if the engines cannot be kept there.

    """
    folder = engine_folder(bundle, machine_fingerprint(), sha256)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProviderUnavailable(
            f"tensorrt cannot keep its engines in {folder} ({error.strerror}); make the bundle's folder writable, "
            "or ask for provider='cuda'"
        ) from error
    usual = Sizes(min(sizes.rows, max(1, micro_batch_tokens // sizes.tokens)), sizes.tokens, sizes.state)
    ranges = {"min": Sizes(1, 1, min(1, sizes.state)), "opt": usual, "max": sizes}
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        **{f"trt_profile_{name}_shapes": _told(shapes, extent) for name, extent in ranges.items()},
        **({"trt_fp16_enable": "1"} if half else {}),
    }


def _told(shapes: Shapes, sizes: Sizes) -> str:
    """All inputs with their varying axes at these sizes, as TensorRT reads them."""
    told = []
    for name, shape in shapes.items():
        # Token ids are [rows, tokens]; all that varies in keys and values is the state's length.
        varying = (sizes.rows, sizes.tokens) if len(shape) == 2 else (sizes.state,) * len(shape)
        axes = [have if isinstance(have, int) else want for have, want in zip(shape, varying, strict=True)]
        told.append(f"{name}:{'x'.join(map(str, axes))}")
    return ",".join(told)
