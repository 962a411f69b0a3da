"""
Spans of what this process does, sent to a collector; ``telemetry`` alone imports this, where it is asked for.

Libraries make the spans of requests, queries and calls to other engines. Those of gRPC methods and tasks are
made in our own guard and signals: the instrumentation of asyncio servers knows no method that writes its
answers, and Celery's leaves its span open in a thread whose message the broker did not take.
"""

import os
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TraceState, get_current_span
from opentelemetry.util.types import Attributes
from structlog.contextvars import get_contextvars

from clearing_project import trace as ours

QUIET = r"[^/]/(health|metrics|static)\b"  # asked for all the time
SEND_SECONDS = 3.0  # a collector that is away holds nobody up for longer, and nobody but the sender
ATTRIBUTES = (*ours.IDS, "task_id")
TRACER = trace.get_tracer("clearing")
KINDS = {kind.name.lower(): kind for kind in SpanKind}

_is_instrumented = False
_provider: TracerProvider | None = None


def instrument() -> None:
    """Prepare Django, psycopg and the clients; twice is once."""
    global _is_instrumented  # noqa: PLW0603  of this process
    if _is_instrumented:
        return
    _is_instrumented = True
    is_chosen = {"OTEL_PYTHON_DJANGO_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS"} & set(os.environ)
    DjangoInstrumentor().instrument(excluded_urls=None if is_chosen else QUIET)
    PsycopgInstrumentor().instrument(capture_parameters=False, enable_commenter=False)
    HTTPXClientInstrumentor().instrument()
    # Of a stream it would hand back a generator, which can neither be asked nor cancelled.
    client = GrpcInstrumentorClient(filter_=lambda call: not getattr(call, "is_server_stream", False))  # type: ignore[no-untyped-call]
    client.instrument()


def start(process: str) -> None:
    """Send spans of this process, ``clearing-PROCESS`` unless OTEL_SERVICE_NAME names it; twice is once."""
    global _provider  # noqa: PLW0603  of this process
    if _provider is not None:
        return
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: f"clearing-{process}"}
    instance = {SERVICE_INSTANCE_ID: f"{os.uname().nodename}:{os.getpid()}"}
    _provider = TracerProvider(resource=Resource.create({**instance, **named}))
    _provider.sampler = OfWork(_provider.sampler)
    _provider.add_span_processor(Bound())
    is_timed = {"OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"} & set(os.environ)
    exporter = OTLPSpanExporter() if is_timed else OTLPSpanExporter(timeout=SEND_SECONDS)
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(_provider)
    ours.follow(OpenTelemetry())


def stop() -> None:
    """Send what waits and end the sender's thread."""
    if _provider is not None:
        _provider.shutdown()


class OpenTelemetry:
    """What ``trace`` asks for."""

    @contextmanager
    def span(self, name: str, kind: str, carrier: Mapping[str, Any]) -> Iterator[None]:
        """Do a piece of work in a span, a part of the caller's trace if *carrier* names one."""
        asked = propagate.extract(carrier)
        with TRACER.start_as_current_span(name, context=asked, kind=KINDS[kind], record_exception=False):
            yield

    def mark(self, fields: Mapping[str, Any]) -> None:
        """Write those of *fields* that are told outside into the span at hand."""
        get_current_span().set_attributes(_told(fields))

    def fail(self, failure: BaseException) -> None:
        """Say that the span at hand failed, and of what kind of failure; its text is for the log."""
        get_current_span().set_status(Status(StatusCode.ERROR, type(failure).__name__))

    def inject(self, carrier: MutableMapping[str, str]) -> None:
        """Put the context of the span at hand into *carrier*."""
        propagate.inject(carrier)


class Bound(SpanProcessor):
    """Gives each span the ids of the work it is a part of."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Write what is bound."""
        span.set_attributes(_told(get_contextvars()))


class OfWork(Sampler):
    """Leaves out queries and calls that are part of no work: those of who looks for some all the time."""

    def __init__(self, chosen: Sampler) -> None:
        self._chosen = chosen

    def should_sample(  # noqa: PLR0917  the SDK's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Drop a call that begins a trace; of the rest decides what OTEL_TRACES_SAMPLER chose."""
        parent = get_current_span(parent_context or context.get_current()).get_span_context()
        if kind == SpanKind.CLIENT and not parent.is_valid:
            return SamplingResult(Decision.DROP)
        return self._chosen.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        """Say what decides."""
        return f"OfWork({self._chosen.get_description()})"


def _told(fields: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(fields[name]) for name in ATTRIBUTES if fields.get(name) is not None}
