"""Execution providers that are packages of their own, beside the ordinary onnxruntime: each is registered once."""

from __future__ import annotations

import importlib
import threading
from typing import Any

from onyxrank.machine.cpus import BF16, has_bf16
from onyxrank.sessions.providers import Provider, unavailable

_lock = threading.Lock()
_registered: set[str] = set()


def plugin_devices(provider: Provider, runtime: Any) -> list[Any]:
    """The devices of a plugin that its provider runs on, registering it with onnxruntime the first time.

    Args:
        provider: one that has a plugin.
        runtime: the module ``onnxruntime``.

    Raises:
        ProviderUnavailable: if the plugin is not installed, cannot be registered, or offers no such device here; or
            the CPU lacks bf16 and the provider needs it.

    """
    if provider.needs_bf16 and not has_bf16():
        raise unavailable(provider, f"this CPU has none of {', '.join(sorted(BF16))}")
    try:
        plugin = importlib.import_module(provider.plugin)
    except ImportError as error:
        raise unavailable(provider, f"{provider.plugin} is not installed") from error
    with _lock:
        if provider.plugin not in _registered:
            try:
                runtime.register_execution_provider_library(provider.plugin, plugin.get_library_path())
            except (
                Exception
            ) as error:  # onnxruntime's exceptions have no other base class; older ones lack the function
                raise unavailable(
                    provider,
                    f"onnxruntime {runtime.__version__} does not take {provider.plugin} ({type(error).__name__})",
                ) from error
            _registered.add(provider.plugin)
    devices = [
        device
        for device in runtime.get_ep_devices()
        if device.ep_name == provider.ort_name and device.ep_metadata.get("ov_device") == provider.device
    ]
    if not devices:
        raise unavailable(provider, f"{provider.plugin} finds no {provider.device} here that it runs on")
    return devices[:1]
