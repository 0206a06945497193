"""The parts of an engine, opened from the files of a verified bundle: its tokenizer and its graphs."""

from __future__ import annotations

from collections.abc import Mapping

from tokenizers import Tokenizer

from onyxrank.architectures.registry import ARCHITECTURES
from onyxrank.bundle.manifest import Variant
from onyxrank.bundle.opening import Bundle
from onyxrank.errors import BundleError, InvalidInput, ProviderUnavailable
from onyxrank.loading.setting import Setting
from onyxrank.machine.cpus import machine_family, usable_cpus
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.item_tokens import ItemTokens
from onyxrank.sessions.ort_session import OrtSession, input_shapes
from onyxrank.sessions.pool import SessionPool
from onyxrank.sessions.providers import PROVIDERS
from onyxrank.sessions.session import Session
from onyxrank.sessions.shape_buckets import Bucketed, Sizes
from onyxrank.sessions.tensorrt import engine_options


def load_encoder(bundle: Bundle, cache: ItemTokens | None = None) -> TextEncoder:
    """Load the bundle's tokenizer under the manifest's limits; `cache` is where encoded items are kept, if anywhere.

    Raises:
        BundleError: if the file is not a tokenizer or lacks the special tokens.

    """
    spec = bundle.manifest.tokenizer
    path = bundle.path(spec.file)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise BundleError(f"tokenizers cannot read {path}; export the bundle again") from error
    try:
        return TextEncoder(
            tokenizer,
            bundle.manifest.limits,
            cls_token=spec.cls_token,
            sep_token=spec.sep_token,
            prefix_safe=spec.prefix_safe,
            cache=cache,
        )
    except InvalidInput as error:
        raise BundleError(f"{path}: {error}; export the bundle again") from error


def open_sessions(bundle: Bundle, variant: Variant, setting: Setting) -> dict[str, Session]:
    """Open every graph of a variant, by role; all or none.

    Raises:
        BundleError: if a graph cannot be loaded.
        ProviderUnavailable: if a session does not really run on the provider.

    """
    architecture = ARCHITECTURES[bundle.manifest.architecture]
    provider = PROVIDERS[setting.provider]
    # The kernels of another machine's int8 graphs may saturate here; such a graph runs only if it was asked for by
    # name, and must then compute what was judged.
    exact_sums = not variant.runs_on(machine_family())
    opened: list[OrtSession] = []
    sessions: dict[str, Session] = {}
    try:
        for role, graph in architecture.graphs.items():
            layout = architecture.layout(role, setting.threads, setting.sessions)
            threads = max(setting.threads, min(layout.threads, usable_cpus()))
            # One session of one thread runs on as many callers' threads as there are, and needs no copies.
            copies = layout.sessions if setting.threads > 1 or provider.plugin else 1
            sizes = architecture.largest(role, bundle.manifest.limits, setting.micro_batch_tokens)
            options = _engine_options(bundle, variant, role, sizes, setting) if provider.name == "tensorrt" else {}
            path = bundle.path(variant.files[role])
            own: list[Session] = []
            for _ in range(copies):
                opened.append(OrtSession(path, graph, provider, threads, options, exact_sums=exact_sums))
                if provider.pays_for_shapes and graph.is_masked and sizes is not None:
                    own.append(Bucketed(opened[-1], graph, sizes))
                else:
                    own.append(opened[-1])
            sessions[role] = own[0] if len(own) == 1 else SessionPool(own)
    except BaseException:
        for session in opened:
            session.close()
        raise
    return sessions


def _engine_options(
    bundle: Bundle, variant: Variant, role: str, sizes: Sizes | None, setting: Setting
) -> Mapping[str, str]:
    """TensorRT's options for one graph.

    Raises:
        ProviderUnavailable: if the architecture does not tell the graph's sizes, or its engines cannot be kept.

    """
    if sizes is None:
        raise ProviderUnavailable(
            f"tensorrt builds its engines for known sizes, and {bundle.manifest.architecture} tells none; ask for "
            "provider='cuda'"
        )
    name = variant.files[role]
    return engine_options(
        input_shapes(bundle.path(name)),
        sizes,
        setting.micro_batch_tokens,
        bundle.folder,
        bundle.manifest.files[name].sha256,
        half=variant.precision == "fp16",
    )
