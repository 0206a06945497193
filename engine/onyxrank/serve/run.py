"""Starts the server: a single process, or a parent process with several workers."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from dataclasses import replace
from pathlib import Path

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from onyxrank.bundle.opening import open_bundle
from onyxrank.errors import OnyxrankError
from onyxrank.request.items_file import read_items
from onyxrank.serve import logs
from onyxrank.serve.app import SETTINGS
from onyxrank.serve.connection import Connection
from onyxrank.serve.files import most_connections
from onyxrank.serve.metrics import SHARED_FOLDER
from onyxrank.serve.settings import ServeSettings


class StartFailed(OnyxrankError):
    """The server did not come up."""


def run(settings: ServeSettings) -> None:
    """Serve until SIGTERM or SIGINT, and return when the requests in flight are answered.

    Bundle and catalogue are checked here first, so that a fault of theirs is one clear error, and not one of each
    worker.

    Raises:
        BundleError: if the bundle is missing or damaged.
        InvalidInput: if the catalogue cannot be read.
        StartFailed: if the address is taken, a worker did not start, or several have no folder to share.

    """
    open_bundle(settings.bundle)
    if settings.items_file is not None:
        read_items(Path(settings.items_file))
    if settings.workers == 1:
        _serve(settings)
        return
    with _shared_folder() as folder:
        os.environ[SHARED_FOLDER] = folder
        _serve(replace(settings, control_file=str(Path(folder) / "bundle")))


def _shared_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="onyxrank-serve-")
    except OSError as error:
        raise StartFailed(
            "several workers need a temporary folder that can be written, and there is none; set TMPDIR to one, or "
            "serve with --workers 1"
        ) from error


def _serve(settings: ServeSettings) -> None:
    os.environ[SETTINGS] = settings.to_json()
    connections = most_connections()
    config = uvicorn.Config(
        "onyxrank.serve.app:create",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http=Connection,
        ws="none",
        log_config=logs.CONFIG,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
        timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type]  # any number of seconds does
        limit_concurrency=connections,
        timeout_graceful_shutdown=int(max(1, settings.drain_s)),
    )
    listener = _bind(settings.host, settings.port)
    host, port = listener.getsockname()[:2]
    scheme = "http" if settings.ssl_certfile is None else "https"
    logs.log("starting", url=f"{scheme}://{host}:{port}", workers=settings.workers, connections=connections)
    if settings.workers > 1:
        parent = Multiprocess(config, sockets=[listener])
        parent.run()
        if any(worker.exitcode == STARTUP_FAILURE for worker in parent.processes):
            raise StartFailed("a worker did not start; the log above says why")
        return
    server = uvicorn.Server(config)
    # uvicorn sends itself the signal once more when it has drained. It would end the process with a failure, but this
    # is an orderly end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        server.run(sockets=[listener])
    except SystemExit as error:
        raise StartFailed("the server did not start; the log above says why") from error
    if not server.started:
        raise StartFailed("the server did not start; the log above says why")


def _bind(host: str, port: int) -> socket.socket:
    """Bind a socket to an address. It does not listen yet, so that no client waits for a server that may not start.

    Raises:
        StartFailed: if the address cannot be bound.

    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartFailed(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    listener.set_inheritable(True)
    return listener
