"""The execution providers that a caller may ask for by name, and the check that the one asked for really runs.

1. A provider that is asked for by name must be offered by the installed onnxruntime, must be the first in the list
   that the finished session itself reports, and must have some of the graph's nodes, where onnxruntime tells (from
   1.24 on): a session names a provider that left every node to the CPU. Anything else is an error, which says what to
   install.
2. ``auto`` tries those offered providers that compute the same as fp32 on the CPU, fastest first, and ends at the
   CPU. `Ranker.info` says which one was taken and why. The other providers run only when they are asked for, or when
   `onyxrank tune` has found them to be the fastest.

To add a provider, add an entry to `_TABLE`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from onyxrank.errors import InvalidInput, ProviderUnavailable

_PRECISION = "INFERENCE_PRECISION_HINT"
"""OpenVINO's name for the precision in which a device computes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An execution provider: what runs a graph's operators, on which device and with which options.

    Attributes:
        name: public name, by which a caller asks for the provider.
        ort_name: onnxruntime's name for the provider.
        install: how to get an onnxruntime that offers the provider, for error messages.
        gains_from: the precision that is faster than plain fp32 on this provider: ``int8`` or ``fp16`` for graphs in
            that precision, ``bf16`` where the provider computes fp32 graphs in bfloat16.
        options: provider options with which its sessions are made.
        unasked: whether ``auto`` may take the provider.
        plugin: Python package that brings the provider; empty if onnxruntime itself does.
        device: the one of the plugin's devices to run on; empty without a plugin.
        config: configuration of OpenVINO's device, except for the number of threads.
        memory: onnxruntime's name for the device whose memory holds a run's inputs; empty for the host's memory.
        beneath: onnxruntime's names of the providers that run those operators which this one cannot, in order of
            preference; the CPU always comes last and is not listed.

    """

    name: str
    ort_name: str
    install: str
    gains_from: str
    options: Mapping[str, str] = field(default_factory=dict)
    unasked: bool = False
    plugin: str = ""
    device: str = ""
    config: Mapping[str, str] = field(default_factory=dict)
    memory: str = ""
    beneath: tuple[str, ...] = ()

    @property
    def needs_bf16(self) -> bool:
        """Whether the CPU must have bfloat16; on one that lacks it the provider would silently compute in fp32."""
        return self.gains_from == "bf16"

    @property
    def on_cpu(self) -> bool:
        """Whether the provider runs on the CPU, so that PyTorch on the CPU is a fair comparison."""
        return self.name == "cpu" or self.device == "CPU"

    @property
    def pays_for_shapes(self) -> bool:
        """Whether the first run with new input shapes takes longer than later ones with the same shapes."""
        return bool(self.memory or self.plugin)

    def takes(self, precision: str) -> bool:
        """Say whether variants of a precision may be tried on the provider.

        They may if it gains from the precision. fp32 variants may too, except on a provider that computes in bf16:
        there the gate has judged the bf16 variant alone.
        """
        return precision.partition("_")[0] in (self.gains_from, "bf16" if self.needs_bf16 else "fp32")

    def session_options(self, threads: int) -> dict[str, str]:
        """Return the provider options for a session whose runs use a number of CPU threads."""
        if not self.config:
            return dict(self.options)
        config = {self.device: {**self.config, "INFERENCE_NUM_THREADS": str(threads)}}
        return {**self.options, "load_config": json.dumps(config)}


_TABLE = (
    Provider(
        name="cuda",
        ort_name="CUDAExecutionProvider",
        # The packages for CPU and GPU own the same folder. Uninstalling the CPU's takes files of the other one with
        # it, which must therefore be installed again.
        install=(
            "pip install 'onyxrank[gpu]', then pip uninstall onnxruntime and "
            "pip install --force-reinstall --no-deps onnxruntime-gpu, on a machine with CUDA and cuDNN"
        ),
        gains_from="fp16",
        # TensorFloat-32 keeps only 10 bits of each factor's mantissa, so that scores would differ from the CPU's.
        options={"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"},
        unasked=True,
        memory="cuda",
    ),
    Provider(
        name="cpu",
        ort_name="CPUExecutionProvider",
        install="pip install onnxruntime",
        gains_from="int8",
        unasked=True,
    ),
    *(
        Provider(
            name=name,
            ort_name="OpenVINOExecutionProvider",
            install="pip install 'onyxrank[openvino]', on a machine with an Intel processor",
            gains_from=gains_from,
            plugin="onnxruntime_ep_openvino",
            device="CPU",
            config={_PRECISION: precision},
        )
        for name, precision, gains_from in (("openvino", "f32", "int8"), ("openvino_bf16", "bf16", "bf16"))
    ),
    Provider(
        name="tensorrt",
        ort_name="TensorrtExecutionProvider",
        install="pip install 'onyxrank[gpu]' and TensorRT, on a machine with an NVIDIA GPU",
        gains_from="fp16",
        memory="cuda",
        beneath=("CUDAExecutionProvider",),
    ),
    Provider(
        name="coreml",
        ort_name="CoreMLExecutionProvider",
        install="pip install onnxruntime, on a Mac",
        gains_from="fp16",
        options={"ModelFormat": "MLProgram", "RequireStaticInputShapes": "0"},
    ),
    Provider(
        name="directml",
        ort_name="DmlExecutionProvider",
        install="pip install onnxruntime-directml in place of onnxruntime, on Windows",
        gains_from="fp16",
    ),
)

AUTO = "auto"
PROVIDERS: Mapping[str, Provider] = {provider.name: provider for provider in _TABLE}
"""Providers by public name. ``auto`` tries those that it may take in this order."""


def candidates(asked: str, offered: Sequence[str]) -> list[Provider]:
    """List the providers to try, in order.

    Args:
        asked: public name of a provider, or ``auto``.
        offered: onnxruntime's names of the providers that it and its plugins offer on this machine.

    Raises:
        InvalidInput: if no provider has that name.
        ProviderUnavailable: if the provider that was asked for is not offered here.

    """
    if asked == AUTO:
        return [provider for provider in PROVIDERS.values() if provider.unasked and provider.ort_name in offered]
    if asked not in PROVIDERS:
        raise InvalidInput(
            f"there is no provider {asked!r}; choose one of {', '.join([AUTO, *PROVIDERS])}", field="provider"
        )
    provider = PROVIDERS[asked]
    if provider.ort_name not in offered:
        raise unavailable(provider, f"this onnxruntime offers {', '.join(offered)} only")
    return [provider]


def check_running(provider: Provider, running: Sequence[str]) -> None:
    """Check that a session runs on the provider that it was made for.

    Args:
        provider: the provider that the session was made for.
        running: what the session's own ``get_providers()`` returns.

    Raises:
        ProviderUnavailable: if another provider comes first there.

    """
    if not running or running[0] != provider.ort_name:
        raise unavailable(provider, f"the session runs on {', '.join(running) or 'nothing'} instead")


def check_nodes(provider: Provider, nodes: Mapping[str, int]) -> None:
    """Check that some of a graph's nodes run on the provider that its session was made for.

    Args:
        provider: the provider that the session was made for.
        nodes: number of nodes by onnxruntime's name of the provider that runs them; empty if onnxruntime does not
            tell.

    Raises:
        ProviderUnavailable: if all of them run on others.

    """
    if nodes and not nodes.get(provider.ort_name):
        others = ", ".join(f"{count} on {name}" for name, count in nodes.items())
        raise unavailable(provider, f"it takes no node of the graph ({others})")


def unavailable(provider: Provider, reason: str) -> ProviderUnavailable:
    """Make the error that says why a provider does not run and how to get it."""
    return ProviderUnavailable(
        f"provider {provider.name!r} is not available: {reason}. To use it: {provider.install}; "
        f"or ask for provider='{AUTO}'"
    )
