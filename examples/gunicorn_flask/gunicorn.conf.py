"""Settings of ``gunicorn --config examples/gunicorn_flask/gunicorn.conf.py``.

Every worker loads a ranker of its own after the fork, on its share of the CPUs. ``preload_app`` may be on, since the
app alone is imported before the fork, and no ranker.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parent))

import demo_shop  # noqa: E402 - of the folder above, which the line before this adds

wsgi_app = "shop_service:app"
chdir = str(_HERE)
bind = f"127.0.0.1:{os.environ.get('PORT', '8000')}"
workers = 2
worker_class = "gthread"
threads = 4
preload_app = True
control_socket_disable = True  # newer gunicorn puts one into the home folder, for its own control program


def on_starting(server: Any) -> None:
    """Once, before the workers: only the demo's bundle is made here, where none is named."""
    demo_shop.bundle()


def post_worker_init(worker: Any) -> None:
    """In each worker, after the fork and before its first request.

    ``post_fork`` would do, but there a worker does not yet heed the signal to stop.
    """
    import shop_service

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shop_service.open_ranker(demo_shop.bundle(), threads=max(1, cores // workers))


def worker_exit(server: Any, worker: Any) -> None:
    """In each worker, after its last request."""
    import shop_service

    shop_service.close_ranker()
