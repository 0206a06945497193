"""Registers execution providers that come in Python packages of their own and plug into the ordinary onnxruntime.

A plugin is registered once in a process, since onnxruntime refuses a second registration under the same name.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any

from onyxrank.machine.cpus import BF16, has_bf16
from onyxrank.sessions.providers import Provider, unavailable

_lock = threading.Lock()
_registered: set[str] = set()


def plugin_devices(provider: Provider, runtime: Any) -> list[Any]:
    """List the device that a plugin's provider is to run on, and register the plugin if that has not been done.

    Args:
        provider: a provider that has a plugin.
        runtime: the module ``onnxruntime``.

    Returns:
        The first device that fits, in a list, as onnxruntime takes it.

    Raises:
        ProviderUnavailable: if the plugin is not installed, cannot be registered or finds no such device here, or if
            the provider needs bf16 and the CPU lacks it.

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
            # onnxruntime's exceptions have no other base class, and older versions lack the function.
            except Exception as error:
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
