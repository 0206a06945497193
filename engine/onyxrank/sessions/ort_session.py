"""Runs one graph on ONNX Runtime.

This is the only module that opens graphs with onnxruntime. Its exceptions end here: what goes wrong while loading is
a `BundleError` or `ProviderUnavailable`, what goes wrong while running an `OnyxrankError`, chained.

Memory: onnxruntime's arena keeps what its largest run needed, once per concurrent run. Micro-batches are
bounded and the longest goes first, so it is sized once and stays. Patterns of allocation are not recorded:
shapes differ from run to run, and every shape would keep its own.

Threads spin while a run goes on and stop with it, so that they do not take the CPUs from whoever works next.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from onyxrank.checks import check_count
from onyxrank.errors import BundleError, OnyxrankError
from onyxrank.machine.c_library import exit_early_when_forked
from onyxrank.sessions.arrays import ORT_TYPES, Array, Feeds
from onyxrank.sessions.bound import BoundRuns
from onyxrank.sessions.graph import Graph
from onyxrank.sessions.plugins import plugin_devices
from onyxrank.sessions.providers import PROVIDERS, Provider, check_running, unavailable
from onyxrank.sessions.session import SessionInfo

_CONFIG = {
    "session.set_denormal_as_zero": "1",
    # The threads of a run would go on spinning for long after it and take the CPUs from whoever works next: another
    # session, such as the items after the history, the event loop, another process (onnxruntime #11841).
    "session.force_spinning_stop": "1",
}
_EXACT_SUMS = {"session.x64quantprecision": "1"}
"""Where pairs of uint8 × int8 products are added in 16 bits (x86 without VNNI), take uint8 × uint8 instead."""
_LOG_ERRORS = 3


class OrtSession:
    """A graph file on ONNX Runtime.

    Args:
        path: the ONNX file.
        graph: the inputs and outputs it must have.
        provider: what it must run on.
        threads: threads that one run may use.
        more: provider options of this graph, besides the provider's own.
        exact_sums: whether int8 sums must not saturate, on no CPU; slower on those where they would.

    Raises:
        BundleError: if onnxruntime cannot load the file, or its inputs or outputs are not the graph's.
        ProviderUnavailable: if the session does not really run on the provider.

    """

    def __init__(
        self,
        path: Path,
        graph: Graph,
        provider: Provider,
        threads: int,
        more: Mapping[str, str] | None = None,
        *,
        exact_sums: bool = False,
    ) -> None:
        self._path = path
        self._outputs = list(graph.outputs)
        check_count(threads, "threads")
        # To flush denormals, onnxruntime sets the floating-point mode of its own threads, which is wanted (the
        # scheduler's get it too, `flush_denormals`), and of the thread that makes a process's first session: there
        # the host's arithmetic would change.
        with ThreadPoolExecutor(1) as bystander:
            options = {**provider.session_options(threads), **(more or {})}
            config = {**_CONFIG, **(_EXACT_SUMS if exact_sums else {})}
            session = bystander.submit(_create, path, provider, threads, options, config).result()
        check_running(provider, session.get_providers())
        _check_edges(path, graph, session)
        self._info = SessionInfo(
            providers=tuple(session.get_providers()),
            threads=threads,
            onnxruntime_version=_runtime().__version__,
            options={**config, **options},
        )
        self._session: Any = session
        self._bound = BoundRuns(session, graph, provider.memory) if provider.memory else None
        exit_early_when_forked()

    def run(self, feeds: Feeds) -> list[Array]:
        """Run the graph; see `Session.run`.

        Raises:
            OnyxrankError: if the session is closed or onnxruntime fails.

        """
        session = self._session
        if session is None:
            raise OnyxrankError("this session is closed; load the bundle again")
        bound = self._bound
        try:
            return bound.run(feeds) if bound else list(session.run(self._outputs, dict(feeds)))
        except Exception as error:  # onnxruntime's exceptions have no other base class
            raise OnyxrankError(f"onnxruntime failed to run {self._path} ({type(error).__name__})") from error

    def info(self) -> SessionInfo:
        """Say what the session is and really runs on."""
        return self._info

    def close(self) -> None:
        """Free the graph once the runs in flight are done."""
        self._session = self._bound = None


def offered_providers(asked: str) -> list[str]:
    """List what onnxruntime offers, by its own names; a plugin's provider only where it is the one asked for.

    Raises:
        ProviderUnavailable: if a plugin was asked for and does not run here.

    """
    offered = list(_runtime().get_available_providers())
    provider = PROVIDERS.get(asked)
    if provider is not None and provider.plugin:
        plugin_devices(provider, _runtime())
        offered.append(provider.ort_name)
    return offered


def _runtime() -> Any:
    """Import onnxruntime when the first graph is opened: it is a quarter of the time of `import onyxrank`."""
    import onnxruntime

    return onnxruntime


def input_shapes(path: Path) -> dict[str, list[int | str | None]]:
    """Read the shapes of a graph's inputs; what is no number varies.

    Raises:
        BundleError: if onnxruntime cannot load the file.

    """
    # Without `_CONFIG`: a session on the caller's own thread must not change how that computes.
    session = _create(path, PROVIDERS["cpu"], 1, {}, {})
    return {node.name: list(node.shape) for node in session.get_inputs()}


def _create(
    path: Path, provider: Provider, threads: int, provider_options: Mapping[str, str], config: Mapping[str, str]
) -> Any:
    onnxruntime = _runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_mem_pattern = False
    options.log_severity_level = _LOG_ERRORS
    for key, value in config.items():
        options.add_session_config_entry(key, value)
    if provider.memory == "cuda":
        _load_cuda(onnxruntime)
    chosen: dict[str, Any] = {"providers": [(provider.ort_name, dict(provider_options)), *provider.beneath]}
    if provider.plugin:
        options.add_provider_for_devices(plugin_devices(provider, onnxruntime), dict(provider_options))
        chosen = {}
    try:
        # Without enable_fallback=0 onnxruntime itself would go on with the CPU and only print that it did.
        return onnxruntime.InferenceSession(path, options, **chosen, enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions have no other base class
        if provider.name != "cpu":
            raise unavailable(provider, f"onnxruntime could not start it ({type(error).__name__})") from error
        raise BundleError(
            f"onnxruntime {onnxruntime.__version__} cannot load {path} ({type(error).__name__}); "
            "upgrade onnxruntime or export the bundle again"
        ) from error


def _load_cuda(onnxruntime: Any) -> None:
    """Load CUDA and cuDNN where pip installed them, which is not where the system's loader looks."""
    # Without NVIDIA's packages onnxruntime would print what it misses; then the system's libraries are tried.
    if hasattr(onnxruntime, "preload_dlls") and importlib.util.find_spec("nvidia"):
        onnxruntime.preload_dlls()


def _check_edges(path: Path, graph: Graph, session: Any) -> None:
    types = {node.name: node.type for node in session.get_inputs()}
    wanted = {name: ORT_TYPES[kind] for name, kind in graph.inputs.items()}
    faults = [f"no input {name}" for name in wanted if name not in types]
    faults += [f"an unknown input {name}" for name in types if name not in wanted]
    faults += [
        f"input {name} of {types[name]}, not {kind}" for name, kind in wanted.items() if types.get(name, kind) != kind
    ]
    outputs = {node.name for node in session.get_outputs()}
    faults += [f"no output {name}" for name in graph.outputs if name not in outputs]
    if faults:
        raise BundleError(
            f"{path} has {', '.join(faults)}; export the bundle again from a BERT model with token types"
        )
