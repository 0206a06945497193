"""Opens the parts of an engine from the files of a verified bundle: its tokenizer and its graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from onyxrank.architectures.registry import ARCHITECTURES
from onyxrank.bundle.entries import Variant
from onyxrank.bundle.opening import Bundle
from onyxrank.errors import BundleError, InvalidInput, ProviderUnavailable
from onyxrank.loading.setting import Setting
from onyxrank.machine.cpus import machine_family, usable_cpus
from onyxrank.request.apart import ApartEncoder
from onyxrank.request.encoding import TextEncoder
from onyxrank.request.item_tokens import ItemTokens
from onyxrank.sessions.ort_session import OrtSession, input_shapes
from onyxrank.sessions.pool import SessionPool
from onyxrank.sessions.providers import PROVIDERS
from onyxrank.sessions.session import Session
from onyxrank.sessions.shape_buckets import Bucketed, Sizes
from onyxrank.sessions.tensorrt import engine_options


def load_encoder(bundle: Bundle, cache: ItemTokens | None = None) -> TextEncoder:
    """Load the bundle's tokenizer as an encoder with the manifest's limits.

    Args:
        bundle: the bundle.
        cache: cache in which the encoder keeps encoded items, or None to keep none.

    Raises:
        BundleError: if the file is not a tokenizer, the tokenizer lacks the special tokens, or the items that the
            model knows cannot be read.

    """
    spec = bundle.manifest.tokenizer
    path = bundle.path(spec.file)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself, no class of its own
        raise BundleError(f"tokenizers cannot read {path}; export the bundle again") from error
    known = ARCHITECTURES[bundle.manifest.architecture].known_items(bundle.folder)
    options: dict[str, Any] = {
        "cls_token": spec.cls_token,
        "sep_token": spec.sep_token,
        "prefix_safe": spec.prefix_safe,
        "cache": cache,
    }
    try:
        if known is not None:
            return ApartEncoder(tokenizer, bundle.manifest.limits, known, **options)
        return TextEncoder(tokenizer, bundle.manifest.limits, **options)
    except InvalidInput as error:
        raise BundleError(f"{path}: {error}; export the bundle again") from error


def open_sessions(bundle: Bundle, variant: Variant, setting: Setting) -> dict[str, Session]:
    """Open every graph of a variant, and return the sessions by role.

    If a graph cannot be opened, those that were opened before it are closed.

    Args:
        bundle: the bundle.
        variant: the variant, which `setting` names.
        setting: the provider, the threads and sessions, and the size of a micro-batch.

    Raises:
        BundleError: if a graph cannot be loaded.
        ProviderUnavailable: if a session does not really run on the setting's provider.

    """
    architecture = ARCHITECTURES[bundle.manifest.architecture]
    provider = PROVIDERS[setting.provider]
    # With int8 graphs that were made for another machine family, the kernels of this machine may saturate. Such a
    # variant runs only if it was asked for by name, and must then compute what the quality gate has judged.
    exact_sums = not variant.runs_on(machine_family())
    opened: list[OrtSession] = []
    sessions: dict[str, Session] = {}
    try:
        for role, graph in architecture.graphs.items():
            layout = architecture.layout(role, setting.threads, setting.sessions)
            threads = max(setting.threads, min(layout.threads, usable_cpus()))
            # A session with one thread computes on the threads that call it, any number at once. It needs no copies.
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
    """Make TensorRT's options for one graph.

    Args:
        bundle: the bundle; the engines that TensorRT builds are kept in its folder.
        variant: the variant that the graph belongs to.
        role: role of the graph.
        sizes: sizes of the largest arrays that the graph will run on, or None if the architecture does not know them.
        setting: the setting, for the size of a micro-batch.

    Raises:
        ProviderUnavailable: if `sizes` is None, or if the engines cannot be kept.

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
