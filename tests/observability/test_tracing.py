"""Spans, as the library's own exporter for tests gets them."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gateway.app import create_app
from gateway.observability.tracing import Tracing, create_tracing
from gateway.simulator import create_simulator, sample_world
from tests.support.clock import FakeClock
from tests.support.gateway import settings

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
URL = f"/v1/messages/1?phone={PHONE}"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Traced:
    """A gateway whose spans a test sees."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(provider)
        self.clock = FakeClock()
        self.http: httpx.AsyncClient
        self.provider: httpx.AsyncClient

    def spans(self, kind: SpanKind) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.kind is kind]


@asynccontextmanager
async def traced() -> AsyncIterator[Traced]:
    one = Traced()
    clock = one.clock
    simulator = create_simulator(
        sample_world(clock.time), monotonic=clock.monotonic, sleep=clock.sleep
    )
    provider = httpx.ASGITransport(simulator)
    app = create_app(settings(), clock=clock, transport=provider, tracing=one.tracing)
    async with (
        LifespanManager(app) as manager,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(manager.app), base_url="http://gateway.localhost"
        ) as one.http,
        httpx.AsyncClient(transport=provider, base_url="http://provider.test") as one.provider,
    ):
        yield one


def ids(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    assert context
    return context.trace_id, context.span_id


async def test_a_request_and_what_it_asks_the_provider_are_one_trace() -> None:
    async with traced() as one:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        assert (await one.http.get(URL, headers=headers)).status_code == 200
    (server,), (upstream,) = one.spans(SpanKind.SERVER), one.spans(SpanKind.CLIENT)
    assert server.name == "GET /v1/messages/{id}"
    assert dict(server.attributes or {}) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "http.route": "/v1/messages/{id}",
        "http.response.status_code": 200,
    }
    assert server.parent
    assert (server.parent.trace_id, server.parent.span_id) == (int(TRACE, 16), int(PARENT, 16))
    assert upstream.name == "POST status.php"
    assert dict(upstream.attributes or {}) == {
        "http.request.method": "POST",
        "server.address": "provider.test",
        "smsc.request.kind": "single",
        "smsc.request.messages": 1,
    }
    assert upstream.parent
    assert (upstream.parent.trace_id, upstream.parent.span_id) == ids(server)


async def test_a_trace_that_nobody_records_stays_unrecorded() -> None:
    async with traced() as one:
        await one.http.get(URL, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert one.exporter.get_finished_spans() == ()


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"kind": "error", "value": 2}, 502, "UPSTREAM_AUTH_FAILED"),
        ({"kind": "html"}, 502, "UPSTREAM_BAD_ANSWER"),
    ],
)
async def test_failures_are_named_by_their_codes(
    fault: dict[str, Any], status: int, code: str
) -> None:
    async with traced() as one:
        await one.provider.post("/control/fault", json=fault)
        await one.http.get(URL)
    (server,), (upstream,) = one.spans(SpanKind.SERVER), one.spans(SpanKind.CLIENT)
    assert (upstream.attributes or {})["error.type"] == code
    assert (server.attributes or {})["error.type"] == str(status)
    assert server.status.status_code is upstream.status.status_code is StatusCode.ERROR
    assert (upstream.status.description, upstream.events) == (None, ())


async def test_a_fault_of_the_callers_is_none_of_the_servers() -> None:
    async with traced() as one:
        await one.http.get("/v1/messages/1?phone=nonsense")
    (server,) = one.spans(SpanKind.SERVER)
    assert server.status.status_code is StatusCode.UNSET


async def test_many_messages_are_one_request() -> None:
    items = [{"id": str(20 + n), "phone": f"7999000002{n}"} for n in range(10)]
    async with traced() as one:
        await one.http.post("/v1/statuses/batch", json={"items": items})
        await one.http.delete(f"/v1/messages/1?phone={PHONE}")
    kinds = [
        (
            (span.attributes or {})["smsc.request.kind"],
            (span.attributes or {})["smsc.request.messages"],
        )
        for span in one.spans(SpanKind.CLIENT)
    ]
    assert kinds == [("mass", 10), ("delete", 1)]


async def test_what_outlives_its_cause_is_a_trace_of_its_own_with_a_link() -> None:
    one, is_over = Traced(), asyncio.Event()

    async def ask_later() -> None:
        await is_over.wait()
        with one.tracing.to_provider("single", 1, "provider.test"):
            pass

    request = one.tracing.begin("GET", "http", [])
    asking = asyncio.create_task(ask_later())
    request.end("/graphql", 200)
    is_over.set()
    await asking
    server, upstream = one.exporter.get_finished_spans()
    assert upstream.parent is None
    assert ids(upstream)[0] != ids(server)[0]
    assert [(link.context.trace_id, link.context.span_id) for link in upstream.links] == [
        ids(server)
    ]


async def test_no_span_tells_a_phone_or_a_credential() -> None:
    async with traced() as one:
        await one.http.get(URL)
        await one.http.get(f"/v1/messages/{PHONE}?phone={PHONE}")
        await one.http.get(f"/{PHONE}", headers={"authorization": "Bearer kEy"})
        query = f'query Of{PHONE} {{ message(id: 1, phone: "{PHONE}") {{ text }} }}'
        await one.http.post("/graphql", json={"query": query})
    told = " ".join(span.to_json() for span in one.exporter.get_finished_spans())
    assert len(one.spans(SpanKind.SERVER)) == 4
    for secret in (PHONE, "kEy", "demo", "Код"):
        assert secret not in told


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"},
    ],
)
async def test_traces_are_for_who_wants_them(environ: dict[str, str]) -> None:
    assert create_tracing(environ) is None


async def test_a_missing_extra_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with caplog.at_level(logging.WARNING):
        assert create_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}) is None
    assert "smsc-gateway[otel]" in caplog.text


async def test_nothing_is_imported_that_nobody_wants() -> None:
    script = (
        "import sys, gateway.cli.serve;"
        "from gateway.observability.tracing import create_tracing; create_tracing({});"
        "from gateway.web.ops.export import create_export; create_export({});"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(  # noqa: ASYNC221 - nothing else is to run meanwhile
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
