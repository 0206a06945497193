"""``onyxrank serve``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from onyxrank.cli.load_options import with_load_options
from onyxrank.loading.options import SERVER_OPTIONS, LoadOptions
from onyxrank.machine import extras


@with_load_options(SERVER_OPTIONS)
def command(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    host: Annotated[str, typer.Option(help="Address to listen on; beyond this machine with a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.")] = 8080,
    workers: Annotated[int, typer.Option(help="Processes, each with a model of its own.")] = 1,
    name: Annotated[str, typer.Option(help="Name of the model in answers; by default the folder's.")] = "",
    api_key_file: Annotated[Path | None, typer.Option(help="File of keys, one a line, for clients.")] = None,
    admin_key_file: Annotated[Path | None, typer.Option(help="File of keys that open /admin/reload.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Listen beyond this machine without a key.")] = False,
    ssl_certfile: Annotated[Path | None, typer.Option(help="PEM file of a certificate, to serve TLS.")] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None,
    cors_origin: Annotated[
        list[str] | None, typer.Option(help="Origin whose pages may ask from a browser; may be given again.")
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="Name that requests may be for, or *; by default loopback names without a key, else any."),
    ] = None,
    items: Annotated[Path | None, typer.Option(help="Catalogue of the page at /: jsonl, csv, parquet.")] = None,
    max_items: Annotated[int, typer.Option(help="Most items of a request.")] = 10_000,
    max_text_chars: Annotated[int, typer.Option(help="Most characters of one text.")] = 100_000,
    max_body_mb: Annotated[int, typer.Option(help="Most MiB of a request's body.")] = 32,
    timeout: Annotated[float, typer.Option(help="Deadline of requests that name none, in seconds.")] = 30.0,
    header_timeout: Annotated[float, typer.Option(help="Most seconds for a request's headers to come in.")] = 10.0,
    body_timeout: Annotated[float, typer.Option(help="Most seconds for a request's body to come in.")] = 30.0,
    send_timeout: Annotated[float, typer.Option(help="Most seconds for a client to take its answer.")] = 60.0,
    keep_alive: Annotated[float, typer.Option(help="Seconds a connection waits for its next request.")] = 75.0,
    drain: Annotated[float, typer.Option(help="Most seconds for requests in flight at the end.")] = 30.0,
    *,
    load: LoadOptions,
) -> None:
    """Serve a bundle over HTTP: its own API, and what clients of TEI, Cohere, Jina and Open Inference speak."""
    # prometheus_client reads these when imported. Several workers get a folder of their own, and one needs none.
    for variable in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
        os.environ.pop(variable, None)
    run = extras.load("onyxrank.serve.run", extra="serve", purpose="the server")
    settings = extras.load("onyxrank.serve.settings", extra="serve", purpose="the server").ServeSettings(
        bundle=str(bundle.resolve()),
        name=name,
        host=host,
        port=port,
        workers=workers,
        api_key_file=_path(api_key_file),
        admin_key_file=_path(admin_key_file),
        insecure=insecure,
        ssl_certfile=_path(ssl_certfile),
        ssl_keyfile=_path(ssl_keyfile),
        items_file=_path(items),
        cors_origins=tuple(cors_origin or ()),
        allowed_hosts=tuple(allowed_host or ()),
        load=load,
        max_items=max_items,
        max_text_chars=max_text_chars,
        max_body_bytes=max_body_mb * 2**20,
        timeout_s=timeout,
        header_timeout_s=header_timeout,
        body_timeout_s=body_timeout,
        send_timeout_s=send_timeout,
        keep_alive_s=keep_alive,
        drain_s=drain,
    )
    run.run(settings)


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())
