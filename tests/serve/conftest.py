"""A served bundle: on a thread of this process, or as a program of its own."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serving import ADMIN_KEY, API_KEY, PATIENCE, Served, end, free_port, serving

from onyxrank import Ranker


@pytest.fixture
def keys(tmp_path) -> dict[str, str]:
    """Files with a key for the API and one for the admin, by option."""
    for name, key in (("api", API_KEY), ("admin", ADMIN_KEY)):
        (tmp_path / name).write_text(f"# the {name}'s\n{key}\n")
    return {"api_key_file": str(tmp_path / "api"), "admin_key_file": str(tmp_path / "admin")}


@pytest.fixture
def fake_model(monkeypatch, make_tokenizer) -> str:
    """Whatever bundle servers of this process are told to load, it is a fake that answers at once; gives a name."""
    from engine_fakes import fake_ranker

    facts = {"architecture": "cross", "variant": "fake", "provider": "cpu", "threads": 1}

    def load(*_: object, **__: object) -> Ranker:
        ranker = fake_ranker(make_tokenizer())
        told = ranker.info
        ranker.info = lambda: told() | facts
        return ranker

    monkeypatch.setattr(Ranker, "load", load)
    return "fake"


@pytest.fixture(scope="module")
def client(trained_bundle) -> Iterator[httpx.Client]:
    """A client of a server in this process."""
    with serving(bundle=str(trained_bundle)) as url, httpx.Client(base_url=url, timeout=PATIENCE) as asking:
        yield asking


@pytest.fixture(scope="module")
def shop_url(trained_bundle, aisle_data) -> Iterator[str]:
    """Address of a server with a catalogue of 96 items, in this process."""
    with serving(bundle=str(trained_bundle), items_file=str(aisle_data / "items.parquet")) as url:
        yield url


@pytest.fixture(scope="module")
def chromium():
    """A browser; skips where there is none."""
    import browsing

    with browsing.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browsing.found_chromium(playwright))
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Open the page at an address."""
    import browsing

    return lambda url, **options: browsing.visiting(chromium, url, **options)


@pytest.fixture
def serve(tmp_path):
    """Start a server; gives it when it is ready."""
    with contextlib.ExitStack() as stack:

        def start(bundle: Path, *options: str, verify: ssl.SSLContext | bool = True) -> Served:
            port = free_port()
            log = tmp_path / f"serve-{port}.log"
            command = [sys.executable, "-m", "onyxrank", "serve", str(bundle), "--port", str(port), "--threads", "1"]
            with log.open("w") as file:
                process = subprocess.Popen([*command, *options], stderr=file, stdout=file, start_new_session=True)
            stack.callback(end, process)
            scheme = "https" if "--ssl-certfile" in options else "http"
            served = Served(process, f"{scheme}://127.0.0.1:{port}", log)
            deadline = time.monotonic() + PATIENCE
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(f"{served.url}/health/ready", verify=verify).status_code == 200:
                        return served
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)

        yield start
