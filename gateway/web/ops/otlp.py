"""Sends the families of `/metrics` over OTLP; needs the extra `otel`.

Each is converted as it is collected, so that what is measured is listed once. The library's own
instruments would be read from its thread, while the event loop changes what they read; so the data
is made here, in the loop, and only sent from a thread.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import Metric

from gateway import __version__
from gateway.clock import Clock
from gateway.observability.tracing import create_resource
from gateway.web.http.traffic import BUCKETS, OTHER, UNROUTED, Traffic
from gateway.web.ops import families

log = logging.getLogger(__name__)

Collect = Callable[[], Awaitable[Iterable[Metric]]]
"""Collects all families."""

_SCOPE: Final = InstrumentationScope("smsc-gateway", __version__)
_CUMULATIVE: Final = export.AggregationTemporality.CUMULATIVE

_PREFIXES: Final = ("smsc_gateway", "process")
"""The first part of our names, which a dot parts from the rest."""

_UNITS: Final = {"_seconds": "s", "_bytes": "By", "_ratio": "1"}
"""Endings of names, and the units that they mean (UCUM)."""

_CONVENTIONS: Final = {
    "process_cpu_seconds": ("process.cpu.time", "s"),
    "process_resident_memory_bytes": ("process.memory.usage", "By"),
    "process_virtual_memory_bytes": ("process.memory.virtual", "By"),
    "process_open_fds": ("process.unix.file_descriptor.count", "{file_descriptor}"),
}
"""Names and units that the semantic conventions have for what is measured everywhere."""

_SCHEMES: Final = {"ws": "http", "wss": "https"}
"""Of a WebSocket it is the handshake that is told of."""

_SERVER_FAULT: Final = 500


class MetricExport:
    """Sends the metrics, `every` so many seconds and at the end.

    Where to, and for how long it is tried, the library reads in its variables.
    """

    def __init__(self, environ: Mapping[str, str], *, every: float) -> None:
        self._exporter = OTLPMetricExporter()
        self._resource = create_resource(environ)
        self._every = every
        self._started = time.time_ns()
        self._last: export.MetricsData | None = None

    async def run(self, collect: Collect, traffic: Traffic, clock: Clock) -> None:
        """Send them until it is cancelled; of a collector that is away the library logs a line."""
        try:
            while True:
                await clock.sleep(self._every)
                try:
                    metrics = self._converted(await collect(), traffic)
                    await asyncio.to_thread(self._exporter.export, metrics)
                except Exception:  # the next ones are to be sent in any case
                    log.exception("metrics could not be sent")
        finally:
            self._last = self._converted(await collect(), traffic)

    def close(self) -> None:
        """Send the last, for as long as the library's variables say. It blocks."""
        if self._last is not None:
            self._exporter.export(self._last)
        self._exporter.shutdown()

    def _converted(self, collected: Iterable[Metric], traffic: Traffic) -> export.MetricsData:
        period = _Period(self._started, time.time_ns())
        found = [_of_family(one, period) for one in collected if one.name != families.HTTP.name]
        metrics = [one for one in found if one is not None]
        metrics.append(_of_traffic(traffic, period))
        scope = export.ScopeMetrics(_SCOPE, metrics, "")
        return export.MetricsData([export.ResourceMetrics(self._resource, [scope], "")])


class _Period(NamedTuple):
    """From when to when it was counted, in nanoseconds since 1970."""

    start: int
    end: int


def named(family: Metric) -> tuple[str, str]:
    """The name and unit of a family by OpenTelemetry's conventions."""
    if family.name in _CONVENTIONS:
        return _CONVENTIONS[family.name]
    name, unit = family.name, "1"
    for ending, its_unit in _UNITS.items():
        if name.endswith(ending):
            name, unit = name.removesuffix(ending), its_unit
            name += ".time" if family.type == "counter" and unit == "s" else ""
    for prefix in _PREFIXES:
        if name.startswith(f"{prefix}_"):
            name = f"{prefix}.{name.removeprefix(f'{prefix}_')}"
    return name, unit


def _of_family(family: Metric, period: _Period) -> export.Metric | None:
    """A family's metric; None: it is no number."""
    data: export.Gauge | export.Histogram | export.Sum
    match family.type:
        case "counter":
            points = _numbers(family, f"{family.name}_total", period)
            data = export.Sum(points, _CUMULATIVE, is_monotonic=True)
        case "gauge":
            data = export.Gauge(_numbers(family, family.name, period))
        case "histogram":
            data = export.Histogram(_histograms(family, period), _CUMULATIVE)
        case _:
            return None
    name, unit = named(family)
    return export.Metric(name, family.documentation, unit, data)


def _numbers(family: Metric, name: str, period: _Period) -> list[NumberDataPoint]:
    return [
        NumberDataPoint(dict(one.labels), *period, float(one.value))
        for one in family.samples
        if one.name == name
    ]


def _histograms(family: Metric, period: _Period) -> list[HistogramDataPoint]:
    """Prometheus counts all up to each bound, OpenTelemetry those between two of them."""
    upto: dict[tuple[tuple[str, str], ...], dict[float, int]] = {}
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for one in family.samples:
        labels = tuple((name, value) for name, value in one.labels.items() if name != "le")
        if one.name.endswith("_bucket"):
            upto.setdefault(labels, {})[float(one.labels["le"])] = int(one.value)
        elif one.name.endswith("_sum"):
            sums[labels] = one.value
    points = []
    for labels, counted in upto.items():
        cumulated = list(counted.values())
        counts = [all_ - below for all_, below in zip(cumulated, [0, *cumulated], strict=False)]
        bounds = list(counted)[:-1]  # the last is infinite
        points.append(_histogram(dict(labels), period, bounds, counts, sums.get(labels, 0.0)))
    return points


def _of_traffic(traffic: Traffic, period: _Period) -> export.Metric:
    """Requests of callers, by the semantic conventions for HTTP: with the status, not its class."""
    points = []
    for one in traffic.exact():
        attributes: dict[str, str | int] = {
            "http.request.method": "_OTHER" if one.method == OTHER else one.method,
            "url.scheme": _SCHEMES.get(one.scheme, one.scheme),
            "http.response.status_code": one.status,
        }
        if one.route != UNROUTED:
            attributes["http.route"] = one.route
        if one.status >= _SERVER_FAULT:
            attributes["error.type"] = str(one.status)
        points.append(_histogram(attributes, period, BUCKETS, one.seconds.counts, one.seconds.sum))
    return export.Metric(
        "http.server.request.duration",
        "Duration of HTTP server requests; of streams until they began.",
        "s",
        export.Histogram(points, _CUMULATIVE),
    )


def _histogram(
    attributes: Mapping[str, str | int],
    period: _Period,
    bounds: Sequence[float],
    counts: Sequence[int],
    total: float,
) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes,
        *period,
        count=sum(counts),
        sum=total,
        bucket_counts=counts,
        explicit_bounds=bounds,
        min=None,  # type: ignore[arg-type] # nobody knows: it is left out
        max=None,  # type: ignore[arg-type] # as above
    )
