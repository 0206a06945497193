"""Runs one graph on ONNX Runtime.

This is the only module that opens graphs with onnxruntime, and the exceptions of onnxruntime end here. What goes
wrong while loading becomes a `BundleError` or a `ProviderUnavailable`, and what goes wrong while running becomes an
`OnyxrankError`, each chained to its cause.

Memory: onnxruntime's arena keeps as much memory as the largest run needed, once for each run that goes on at the same
time. Micro-batches are bounded, and the longest of a request runs first, so the arena soon has its final size. Memory
patterns are switched off: onnxruntime would keep one for every shape, and shapes differ from run to run.

Threads: those of a session spin while a run goes on and stop when it ends, so that they do not take the CPUs from
whoever works next.
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
from onyxrank.machine.onnx_runtime import import_runtime
from onyxrank.sessions.arrays import ORT_TYPES, Array, Feeds
from onyxrank.sessions.bound import BoundRuns
from onyxrank.sessions.graph import Graph
from onyxrank.sessions.plugins import plugin_devices
from onyxrank.sessions.providers import PROVIDERS, Provider, check_nodes, check_running, unavailable
from onyxrank.sessions.session import SessionInfo

_CONFIG = {
    "session.set_denormal_as_zero": "1",
    # Without this, a session's threads spin long after a run and take the CPUs from whoever works next: the session
    # that runs the items after the history, the event loop, or another process (onnxruntime #11841).
    "session.force_spinning_stop": "1",
}
_EXACT_SUMS = {"session.x64quantprecision": "1"}
"""Makes onnxruntime multiply uint8 × uint8 instead of uint8 × int8 on x86 processors without VNNI.

There it adds pairs of uint8 × int8 products in 16 bits, and such a sum can saturate.
"""
_TELL_NODES = {"session.record_ep_graph_assignment_info": "1"}
"""Makes onnxruntime remember which provider each node of the graph was given to."""
_LOG_ERRORS = 3
"""onnxruntime's level of logging at which it prints errors, but no warnings."""


class OrtSession:
    """A `Session` that runs a graph's file on ONNX Runtime.

    Args:
        path: the ONNX file.
        graph: the inputs and outputs that the file must have.
        provider: the execution provider that the graph must run on.
        threads: number of CPU threads that one run may use.
        more: provider options for this graph, added to those that the provider always has.
        exact_sums: whether sums of int8 products must not saturate on any CPU. Runs take longer on those CPUs where
            they otherwise would.

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
        # scheduler's threads get it from `flush_denormals`). But it also sets that of the thread which makes the
        # first session of a process. If that were the caller's thread, the host's arithmetic would change.
        with ThreadPoolExecutor(1) as bystander:
            options = {**provider.session_options(threads), **(more or {})}
            config = {
                **_CONFIG,
                **(_EXACT_SUMS if exact_sums else {}),
                **(_TELL_NODES if provider.name != "cpu" else {}),
            }
            session = bystander.submit(_create, path, provider, threads, options, config).result()
        check_running(provider, session.get_providers())
        nodes = _nodes(session, provider)
        check_nodes(provider, nodes)
        _check_edges(path, graph, session)
        self._info = SessionInfo(
            providers=tuple(session.get_providers()),
            threads=threads,
            onnxruntime_version=import_runtime().__version__,
            options={**config, **options},
            nodes=nodes,
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
        """Report which providers, threads and options the session really uses."""
        return self._info

    def close(self) -> None:
        """Free the graph as soon as the runs that have begun are done."""
        self._session = self._bound = None


def offered_providers(asked: str) -> list[str]:
    """List onnxruntime's names of the providers that it offers here.

    Args:
        asked: public name of the provider that the caller wants, or ``auto``. A provider that comes with a plugin is
            listed only if it is the one asked for, since to find out means to register the plugin.

    Raises:
        ProviderUnavailable: if the provider asked for comes with a plugin that does not run here.

    """
    offered = list(import_runtime().get_available_providers())
    provider = PROVIDERS.get(asked)
    if provider is not None and provider.plugin:
        plugin_devices(provider, import_runtime())
        offered.append(provider.ort_name)
    return offered


def input_shapes(path: Path) -> dict[str, list[int | str | None]]:
    """Read the shapes of a graph's inputs.

    Returns:
        A list of axes for each input, by name. An axis whose length varies is a string or None.

    Raises:
        BundleError: if onnxruntime cannot load the file.

    """
    # This session is made without `_CONFIG`: it is made on the caller's thread, whose arithmetic must not change.
    session = _create(path, PROVIDERS["cpu"], 1, {}, {})
    return {node.name: list(node.shape) for node in session.get_inputs()}


def _create(
    path: Path, provider: Provider, threads: int, provider_options: Mapping[str, str], config: Mapping[str, str]
) -> Any:
    onnxruntime = import_runtime()
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
    """Load CUDA and cuDNN from where pip installed them, since the system's loader does not look there."""
    # Where NVIDIA's packages are not installed, onnxruntime would print what it misses. The system's own libraries
    # are then tried when the session is made.
    if hasattr(onnxruntime, "preload_dlls") and importlib.util.find_spec("nvidia"):
        onnxruntime.preload_dlls()


def _nodes(session: Any, provider: Provider) -> dict[str, int]:
    """Count a session's nodes by onnxruntime's name of the provider that runs them.

    Returns:
        The counts; empty for the CPU, which runs what it is given, and for an onnxruntime that does not tell.

    """
    if provider.name == "cpu" or not hasattr(session, "get_provider_graph_assignment_info"):
        return {}
    counts: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    return counts


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
