"""OpenTelemetry spans, where its API is installed: one a request, with counts and stages, never a text."""

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


@contextmanager
def request_span(method: str, headers: Mapping[str, str]) -> Iterator[Any]:
    """A span of the request, within the caller's trace if its headers name one; None without OpenTelemetry."""
    # With the API alone there is nobody to tell.
    if _tracer is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        yield None
        return
    context = propagate.extract(headers)
    with _tracer.start_as_current_span(
        method, context, trace.SpanKind.SERVER, record_exception=False, set_status_on_exception=False
    ) as span:
        yield span


def finish(span: Any, method: str, route: str, status: int) -> None:
    """Name the span after its route and tell its status."""
    if span is not None:
        span.update_name(f"{method} {route}")
        span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})


def tell_ranking(ranking: Ranking) -> None:
    """Add what a ranking took to the current span."""
    if _tracer is None:
        return
    span = trace.get_current_span()
    if not span.is_recording():
        return
    span.set_attributes({"onyxrank.items": ranking.total, "onyxrank.cold_start": ranking.cold_start})
    for stage, seconds in ranking.timings.as_record().items():
        span.set_attribute(f"onyxrank.{stage}_s", seconds)
