"""OpenTelemetry traces, configured by its own variables; needs the extra `otel`.

A server span for each request, a client span for each request to the provider, by the semantic
conventions for HTTP. Left out is what would tell a phone or a credential: path, query, headers.
Nothing of the library is imported before somebody wants traces.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from gateway import __version__
from gateway.errors import GatewayError
from gateway.model.records import DetailLevel, StatusKey
from gateway.smsc.row import Row
from gateway.upstream.dispatcher import Provider

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

log = logging.getLogger(__name__)

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Where a collector listens (OTLP over HTTP); set, they switch traces on."""

DISABLED: Final = "OTEL_SDK_DISABLED"

_SERVICE: Final = "smsc-gateway"
_INSTANCE: Final = "service.instance.id"
_INSTANCE_ID: Final = str(uuid4())
_SERVER_FAULT: Final = 500


def create_tracing(environ: Mapping[str, str]) -> "Tracing | None":
    """Traces as the environment wants them; None: it wants none.

    These variables are often set for a whole cluster, so that a missing extra stops nobody.
    """
    wanted = any(environ.get(name) for name in ENDPOINTS)
    if not wanted or environ.get(DISABLED, "").strip().lower() == "true":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above

        resource = create_resource(environ)
    except ImportError:
        log.warning("no traces: they need the extra otel (pip install 'smsc-gateway[otel]')")
        return None
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


def create_resource(environ: Mapping[str, str]) -> "Resource":
    """What traces and metrics tell of who sends them.

    Each process is an instance of its own: counts of two are never taken for those of one.
    """
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra

    attributes = {"service.version": __version__}
    if not environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = _SERVICE
    if _INSTANCE not in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        attributes[_INSTANCE] = _INSTANCE_ID
    return Resource.create(attributes)


class Tracing:
    """Begins spans, and ends them."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import context, trace  # noqa: PLC0415 - an extra
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - as above
            TraceContextTextMapPropagator,
        )

        self._provider = provider
        self._tracer = provider.get_tracer(_SERVICE, __version__)
        self._context, self._trace = context, trace
        self._propagator = TraceContextTextMapPropagator()

    def begin(
        self, method: str, scheme: str, headers: Iterable[tuple[bytes, bytes]]
    ) -> "ServerSpan":
        """Begin the span of a request, which goes on a trace that its caller began."""
        carrier = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if name in {b"traceparent", b"tracestate"}
        }
        parent = self._propagator.extract(carrier) if carrier else None
        span = self._tracer.start_span(
            method,
            context=parent,
            kind=self._trace.SpanKind.SERVER,
            attributes={"http.request.method": method, "url.scheme": scheme},
        )
        token = self._context.attach(self._trace.set_span_in_context(span))
        return ServerSpan(self, span, token)

    def end(self, span: "Span", token: Any, route: str | None, status: int) -> None:  # noqa: ANN401 - the library's
        """End the span of a request."""
        self._context.detach(token)
        if route is not None:
            span.set_attribute("http.route", route)
            method = getattr(span, "name", "")
            span.update_name(f"{method} {route}")
        span.set_attribute("http.response.status_code", status)
        if status >= _SERVER_FAULT:
            self.failed(span, str(status))
        span.end()

    @contextmanager
    def to_provider(self, kind: str, messages: int, host: str) -> Iterator["Span"]:
        """The span of a request to the provider.

        It is part of the trace that caused it, unless that is over: what is polled for a stream or
        in the background outlives who asked first. Then it is one of its own, with a link.
        """
        current = self._trace.get_current_span()
        cause = current.get_span_context()
        is_over = cause.is_valid and cause.trace_flags.sampled and not current.is_recording()
        span = self._tracer.start_span(
            "POST status.php",
            context=self._context.Context() if is_over else None,
            links=[self._trace.Link(cause)] if is_over else None,
            kind=self._trace.SpanKind.CLIENT,
            attributes={
                "http.request.method": "POST",
                "server.address": host,
                "smsc.request.kind": kind,
                "smsc.request.messages": messages,
            },
        )
        try:
            yield span
        except GatewayError as error:
            self.failed(span, error.code)
            raise
        except BaseException as error:
            self.failed(span, type(error).__name__)
            raise
        finally:
            span.end()

    def failed(self, span: "Span", why: str) -> None:
        """Mark a span. Texts of errors stay out: they may tell what callers or providers wrote."""
        span.set_attribute("error.type", why)
        span.set_status(self._trace.StatusCode.ERROR)

    def close(self) -> None:
        """Send what waits, for as long as the library's variables say."""
        self._provider.shutdown()


class ServerSpan:
    """The span of one request."""

    __slots__ = ("_span", "_token", "_tracing")

    def __init__(self, tracing: Tracing, span: "Span", token: object) -> None:
        self._tracing = tracing
        self._span = span
        self._token = token

    @property
    def trace_id(self) -> str:
        """The trace it is part of, in hex."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def end(self, route: str | None, status: int) -> None:
        """It is answered; `route` is the template, None where there is none."""
        self._tracing.end(self._span, self._token, route, status)


class TracedProvider:
    """A provider, each request to which is a span."""

    def __init__(self, provider: Provider, tracing: Tracing, host: str) -> None:
        self._provider = provider
        self._tracing = tracing
        self._host = host

    async def ask(self, keys: Sequence[StatusKey], detail: DetailLevel) -> Mapping[StatusKey, Row]:
        kind = "mass" if len(keys) > 1 else "single"
        with self._tracing.to_provider(kind, len(keys), self._host):
            return await self._provider.ask(keys, detail)

    async def delete(self, key: StatusKey) -> None:
        with self._tracing.to_provider("delete", 1, self._host):
            await self._provider.delete(key)
