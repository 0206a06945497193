"""TensorRT's options: the ranges of shapes that its engines are built for, and the folder that keeps them.

TensorRT compiles a graph into an engine, which takes minutes, and which then serves a range of shapes. The range here
reaches up to the bundle's limits, so that no request has to wait for an engine.

An engine belongs to one machine, as a profile does, and to one graph. TensorRT finds engines by names and shapes but
not by weights, so each graph needs a folder of its own. It lies beside the profiles:
``profiles/tensorrt-<digest of the machine's fingerprint>-<start of the graph's SHA-256>``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onyxrank.errors import ProviderUnavailable
from onyxrank.machine.fingerprint import PROFILE_FOLDER, Fingerprint, digest, machine_fingerprint
from onyxrank.sessions.shape_buckets import Sizes

Shapes = Mapping[str, Sequence[int | str | None]]
"""The shapes of a graph's inputs by name; an axis whose length varies is a string or None."""


def engine_folder(bundle: Path, fingerprint: Fingerprint, sha256: str) -> Path:
    """Name the folder in which a bundle keeps a machine's engines of one graph.

    Args:
        bundle: the bundle's folder.
        fingerprint: the machine's fingerprint.
        sha256: SHA-256 of the graph's file.

    """
    return bundle / PROFILE_FOLDER / f"tensorrt-{digest(fingerprint)}-{sha256[:12]}"


def engine_options(
    shapes: Shapes, sizes: Sizes, micro_batch_tokens: int, bundle: Path, sha256: str, *, half: bool = False
) -> dict[str, str]:
    """Return a session's provider options, by onnxruntime's names, and make the folder for its engines.

    Args:
        shapes: the shapes of the graph's inputs.
        sizes: the sizes of the largest arrays that the graph is run on.
        micro_batch_tokens: number of tokens that most runs have; TensorRT optimises for it.
        bundle: the bundle's folder, in which the engines are kept.
        sha256: SHA-256 of the graph's file.
        half: whether the graph is in fp16, in which TensorRT computes only if it is allowed to.

    Raises:
        ProviderUnavailable: if the folder cannot be made.

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
        **{f"trt_profile_{name}_shapes": _format_shapes(shapes, extent) for name, extent in ranges.items()},
        **({"trt_fp16_enable": "1"} if half else {}),
    }


def _format_shapes(shapes: Shapes, sizes: Sizes) -> str:
    """Write the shapes of all inputs as TensorRT reads them, with the axes that vary at the given sizes."""
    formatted = []
    for name, shape in shapes.items():
        # Token ids are [rows, tokens]; the only axis that varies in keys and values is the state's length.
        varying = (sizes.rows, sizes.tokens) if len(shape) == 2 else (sizes.state,) * len(shape)
        axes = [have if isinstance(have, int) else want for have, want in zip(shape, varying, strict=True)]
        formatted.append(f"{name}:{'x'.join(map(str, axes))}")
    return ",".join(formatted)
