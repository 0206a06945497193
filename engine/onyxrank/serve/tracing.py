"""Makes an OpenTelemetry span for each request, if OpenTelemetry's API is installed.

A span has counts and the times of the stages, but never a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from onyxrank.request.ranking import Ranking

try:
    from opentelemetry import propagate, trace
except ImportError:
    _tracer = None
else:
    _tracer = trace.get_tracer("onyxrank")
_SERVER_ERROR = 500
"""Least status that is the server's fault; what clients do wrong is no error of a server's span."""


@contextmanager
def request_span(method: str, headers: Mapping[str, str]) -> Iterator[Any]:
    """Open a span for a request, within the caller's trace if the headers name one.

    Args:
        method: HTTP method of the request, which names the span until its route is known.
        headers: headers of the request.

    Returns:
        The span, or None if nobody collects spans.

    """
    # With the API alone, and no SDK that sets a provider, nobody would collect the spans.
    if _tracer is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        yield None
        return
    context = propagate.extract(headers)
    with _tracer.start_as_current_span(
        method, context, trace.SpanKind.SERVER, record_exception=False, set_status_on_exception=False
    ) as span:
        yield span


def finish(span: Any, method: str, route: str, status: int) -> None:
    """Name a span after the route of its request, and record the status of the answer; 5xx marks it as an error."""
    if span is not None:
        span.update_name(f"{method} {route}")
        span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
        if status >= _SERVER_ERROR:
            span.set_status(trace.StatusCode.ERROR)


def record_ranking(ranking: Ranking) -> None:
    """Add the number of a ranking's items and the time of its stages to the current span."""
    if _tracer is None:
        return
    span = trace.get_current_span()
    if not span.is_recording():
        return
    span.set_attributes({"onyxrank.items": ranking.total, "onyxrank.cold_start": ranking.cold_start})
    for stage, seconds in ranking.timings.as_record().items():
        span.set_attribute(f"onyxrank.{stage}_s", seconds)
