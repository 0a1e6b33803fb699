"""Metrics over OTLP, as a real receiver gets them."""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from gateway.app import create_app
from gateway.simulator import create_simulator, sample_world
from gateway.web.ops.export import create_export
from gateway.web.ops.otlp import named
from tests.support.clock import FakeClock
from tests.support.collector import Collector
from tests.support.gateway import settings
from tests.support.server import serving
from tests.support.valkey import until

pytestmark = pytest.mark.anyio

PHONE = "79990000001"
URL = f"/v1/messages/1?phone={PHONE}"


class Exporting:
    """A gateway whose metrics a collector takes."""

    def __init__(self, collector: Collector, clock: FakeClock, http: httpx.AsyncClient) -> None:
        self.collector = collector
        self.clock = clock
        self.http = http


@asynccontextmanager
async def exporting(monkeypatch: pytest.MonkeyPatch, **environ: str) -> AsyncIterator[Exporting]:
    """`environ`: variables of OpenTelemetry's, without their prefix."""
    collector, clock = Collector(), FakeClock()
    simulator = create_simulator(
        sample_world(clock.time), monotonic=clock.monotonic, sleep=clock.sleep
    )
    with serving(collector.app) as address:
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": address}
        told |= {f"OTEL_{name}": value for name, value in environ.items()}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        export = create_export(told)
        assert export is not None
        transport = httpx.ASGITransport(simulator)
        app = create_app(settings(), clock=clock, transport=transport, export=export)
        async with (
            LifespanManager(app) as manager,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(manager.app), base_url="http://gateway.localhost"
            ) as http,
        ):
            yield Exporting(collector, clock, http)


def metrics(body: bytes) -> dict[str, Any]:
    """What one export told, by name."""
    request = ExportMetricsServiceRequest.FromString(body)
    [resource] = request.resource_metrics
    [scope] = resource.scope_metrics
    assert scope.scope.name == "smsc-gateway"
    assert len({one.name for one in scope.metrics}) == len(scope.metrics)
    return {one.name: one for one in scope.metrics}


def attributes(point: Any) -> dict[str, Any]:  # noqa: ANN401 - generated classes
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in point.attributes}


async def test_the_last_tell_all_that_prometheus_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with exporting(monkeypatch) as one:
        for _ in range(3):
            assert (await one.http.get(URL)).status_code == 200
        assert (await one.http.get("/v1/messages/404?phone=79990000404")).status_code == 404
        assert (await one.http.get("/nowhere")).status_code == 404
        lines = (await one.http.get("/metrics")).text.splitlines()
    [body] = one.collector.metrics
    told = metrics(body)
    families = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert len(told) == len(families) - 1  # the version is the resource's
    answers = told["smsc_gateway.answers"]
    assert (answers.unit, answers.sum.is_monotonic) == ("1", True)
    given = {attributes(point)["source"]: point.as_double for point in answers.sum.data_points}
    assert given["cache"] == 2.0
    assert all(point.start_time_unix_nano for point in answers.sum.data_points)
    durations = told["smsc_gateway.provider_request_duration"]
    assert durations.unit == "s"
    assert {attributes(one)["kind"]: one.count for one in durations.histogram.data_points} == {
        "single": 3,  # one of them for the other spelling of a number
        "mass": 0,
    }
    left = {
        attributes(point)["limit"]: point.as_double
        for point in told["smsc_gateway.budget_left"].gauge.data_points
    }
    assert left == {"mass": 1.0, "concurrency": 4.0}


async def test_requests_of_callers_are_told_by_the_conventions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with exporting(monkeypatch) as one:
        for _ in range(3):
            await one.http.get(URL)
        await one.http.get(f"/v1/messages/404?phone={PHONE}")
        await one.http.request("BREW", "/nowhere")
    duration = metrics(one.collector.metrics[-1])["http.server.request.duration"]
    assert duration.unit == "s"
    points = {
        (told.get("http.route"), told["http.response.status_code"]): (told, point)
        for point in duration.histogram.data_points
        for told in [attributes(point)]
    }
    assert set(points) == {("/v1/messages/{id}", 200), ("/v1/messages/{id}", 404), (None, 404)}
    told, point = points["/v1/messages/{id}", 200]
    assert told == {
        "http.request.method": "GET",
        "http.route": "/v1/messages/{id}",
        "http.response.status_code": 200,
        "url.scheme": "http",
    }
    assert point.count == sum(point.bucket_counts) == 3
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert points[None, 404][0]["http.request.method"] == "_OTHER"


async def test_they_are_sent_as_often_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async with exporting(monkeypatch, METRIC_EXPORT_INTERVAL="15000") as one:
        await one.clock.advance(14)
        assert one.collector.metrics == []
        await one.clock.advance(1)
        await until(lambda: len(one.collector.metrics) == 1)
        await one.http.get(URL)
    first, last = map(metrics, (one.collector.metrics[0], one.collector.metrics[-1]))
    assert "smsc_gateway.answers" in first
    counts = [
        sum(point.count for point in told["http.server.request.duration"].histogram.data_points)
        for told in (first, last)
    ]
    assert counts == [0, 1]


async def test_who_sends_them_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = "deployment.environment=test"
    async with exporting(monkeypatch, SERVICE_NAME="texts", RESOURCE_ATTRIBUTES=resource) as one:
        pass
    request = ExportMetricsServiceRequest.FromString(one.collector.metrics[-1])
    told = attributes(request.resource_metrics[0].resource)
    assert (told["service.name"], told["deployment.environment"]) == ("texts", "test")
    assert told["service.instance.id"]
    assert told["service.version"]


async def test_a_collector_that_is_away_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async with exporting(monkeypatch, EXPORTER_OTLP_TIMEOUT="100") as one:
        monkeypatch.setattr(one.collector, "metrics", None)  # it answers with 500
        assert (await one.http.get(URL)).status_code == 200


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_METRICS_EXPORTER": "none"},
    ],
)
async def test_metrics_are_for_who_wants_them(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert create_export(environ) is None
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, "OTEL_METRICS_EXPORTER must be otlp or none"),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "soon"}, "OTEL_METRIC_EXPORT_INTERVAL must be a number"),
    ],
)
async def test_what_can_not_be_used_is_told(
    environ: dict[str, str], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = "http://127.0.0.1:4318/v1/metrics"
    with caplog.at_level(logging.WARNING):
        create_export({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint, **environ})
    assert told in caplog.text


async def test_a_missing_extra_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "gateway.web.ops.otlp")
    with caplog.at_level(logging.WARNING):
        assert create_export({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}) is None
    assert "smsc-gateway[otel]" in caplog.text


@pytest.mark.parametrize(
    ("family", "name"),
    [
        (GaugeMetricFamily("smsc_gateway_in_flight", "x"), ("smsc_gateway.in_flight", "1")),
        (GaugeMetricFamily("smsc_gateway_lag_seconds", "x"), ("smsc_gateway.lag", "s")),
        (
            CounterMetricFamily("smsc_gateway_ask_seconds", "x"),
            ("smsc_gateway.ask.time", "s"),
        ),
        (HistogramMetricFamily("smsc_gateway_wait_seconds", "x"), ("smsc_gateway.wait", "s")),
        (GaugeMetricFamily("process_resident_memory_bytes", "x"), ("process.memory.usage", "By")),
        (GaugeMetricFamily("process_max_fds", "x"), ("process.max_fds", "1")),
    ],
)
async def test_names_and_units_are_those_of_the_conventions(
    family: Metric, name: tuple[str, str]
) -> None:
    assert named(family) == name
