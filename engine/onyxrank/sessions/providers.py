"""Execution providers: the names a caller may ask for, and whether what runs is what was asked.

1. A provider asked for by name must be offered by the installed onnxruntime, and be the first in the list
   that the finished session itself reports; anything else is an error that says what to install.
2. ``auto`` tries the offered providers that compute what fp32 on the CPU does, fastest first, and ends at the CPU;
   `Ranker.info` says why. The others run when asked for, or when `onyxrank tune` has found them the fastest.

To add a provider, add a line to the table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from onyxrank.errors import InvalidInput, ProviderUnavailable

_PRECISION = "INFERENCE_PRECISION_HINT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One line of the table.

    Attributes:
        name: what the caller asks for.
        ort_name: what onnxruntime calls it.
        install: how to get an onnxruntime that offers it.
        gains_from: ``int8`` or ``fp16``, where such graphs run faster there than fp32 ones; ``bf16`` where the CPU
            computes fp32 ones in bfloat16.
        options: provider options of the session.
        unasked: whether ``auto`` may take it.
        plugin: Python package of a provider that is not part of onnxruntime itself; empty for one that is.
        device: of a plugin's devices, the one to run on.
        config: of OpenVINO's device, threads excepted.
        memory: the device whose memory runs are bound to, by onnxruntime's name; empty for the host's.
        beneath: onnxruntime's names of those that run the nodes it cannot; the CPU is always the last.

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
        """Whether the CPU must compute in bfloat16: it would silently take fp32 otherwise."""
        return self.gains_from == "bf16"

    @property
    def on_cpu(self) -> bool:
        """Whether it runs on the CPUs that PyTorch on the CPU would run on."""
        return self.name == "cpu" or self.device == "CPU"

    @property
    def pays_for_shapes(self) -> bool:
        """Whether the first run of every shape takes longer."""
        return bool(self.memory or self.plugin)

    def takes(self, precision: str) -> bool:
        """Whether variants of a precision may be tried on it: what it gains from, and fp32 where it computes that."""
        return precision.partition("_")[0] in (self.gains_from, "bf16" if self.needs_bf16 else "fp32")

    def session_options(self, threads: int) -> dict[str, str]:
        """Provider options of a session with that many threads."""
        if not self.config:
            return dict(self.options)
        config = {self.device: {**self.config, "INFERENCE_NUM_THREADS": str(threads)}}
        return {**self.options, "load_config": json.dumps(config)}


_TABLE = (
    Provider(
        name="cuda",
        ort_name="CUDAExecutionProvider",
        # The two packages own the same folder, so the CPU one has to go, and the other be put back whole.
        install=(
            "pip install 'onyxrank[gpu]', then pip uninstall onnxruntime and "
            "pip install --force-reinstall --no-deps onnxruntime-gpu, on a machine with CUDA and cuDNN"
        ),
        gains_from="fp16",
        # TensorFloat-32 keeps 10 bits of a factor: scores would no longer be those of the CPU.
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
"""Providers by public name; ``auto`` tries those it may take in this order."""


def candidates(asked: str, offered: Sequence[str]) -> list[Provider]:
    """List the providers to try, in order.

    Args:
        asked: a public name, or ``auto``.
        offered: names of the providers that this machine's onnxruntime and its plugins offer.

    Raises:
        InvalidInput: if there is no such name.
        ProviderUnavailable: if this onnxruntime does not offer what was asked for.

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
    """Compare what a session reports with what it was made for.

    Args:
        provider: what was asked for.
        running: the session's own ``get_providers()``.

    Raises:
        ProviderUnavailable: if another provider is first.

    """
    if not running or running[0] != provider.ort_name:
        raise unavailable(provider, f"the session runs on {', '.join(running) or 'nothing'} instead")


def unavailable(provider: Provider, reason: str) -> ProviderUnavailable:
    """Make the error that says why a provider does not run and what to do."""
    return ProviderUnavailable(
        f"provider {provider.name!r} is not available: {reason}. To use it: {provider.install}; "
        f"or ask for provider='{AUTO}'"
    )
