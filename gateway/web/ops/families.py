"""Every metric: its name, type, labels and meaning, for scrapes and for `docs/metrics.md`.

Names follow Prometheus and OpenMetrics: the unit last, `_total` for what only grows. No label ever
has a value that a caller or the provider could make up.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import ClassVar, Final

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

from gateway import histogram
from gateway.archive.report import ArchiveState
from gateway.upstream.breaker import BreakerState
from gateway.upstream.budget.port import Sharing
from gateway.web.http.traffic import METHODS, OTHER
from gateway.web.rest.push import RESULTS
from gateway.webhooks.report import WebhookState
from gateway.webhooks.webhooks import RESULTS as TRIES

_UNITS: Final = ("seconds", "bytes")


@dataclass(frozen=True, slots=True)
class Family:
    """A metric. `labels` has their names, each with its values or what they are."""

    name: str
    """As Prometheus stores it; of a histogram, what comes before `_bucket`."""
    meaning: str
    labels: Mapping[str, str] = field(default_factory=dict)

    type: ClassVar[str]

    @property
    def unit(self) -> str:
        name = self.name.removesuffix("_total")
        return next((unit for unit in _UNITS if name.endswith(f"_{unit}")), "")


class _Number(Family):
    made: ClassVar[type[CounterMetricFamily | GaugeMetricFamily]]

    def of(self, value: float) -> Metric:
        return self.of_each([((), value)])

    def of_each(self, samples: Iterable[tuple[Sequence[str], float]]) -> Metric:
        """Label values, in the order of `labels`, with the value there."""
        family = self.made(self.name, self.meaning, labels=list(self.labels), unit=self.unit)
        for values, value in samples:
            family.add_metric(values, value)
        return family


class Counter(_Number):
    type: ClassVar[str] = "counter"
    made = CounterMetricFamily


class Gauge(_Number):
    type: ClassVar[str] = "gauge"
    made = GaugeMetricFamily


class Histogram(Family):
    type: ClassVar[str] = "histogram"

    def of_each(self, samples: Iterable[tuple[Sequence[str], histogram.Histogram]]) -> Metric:
        """As of a number."""
        labels = list(self.labels)
        family = HistogramMetricFamily(self.name, self.meaning, labels=labels, unit=self.unit)
        for values, one in samples:
            bounds = [*map(str, one.bounds), "+Inf"]
            buckets = list(zip(bounds, accumulate(one.counts), strict=True))
            family.add_metric(values, buckets, one.sum)
        return family


class Info(Family):
    type: ClassVar[str] = "info"

    def of(self, value: Mapping[str, str]) -> Metric:
        return InfoMetricFamily(self.name.removesuffix("_info"), self.meaning, dict(value))


def _values(*values: str) -> str:
    return ", ".join(values)


_ROUTE: Final = {
    "route": "the path as OpenAPI has it; `NONE` where none was reached",
    "method": _values(*sorted(METHODS), OTHER),
    "status": "1xx, 2xx, 3xx, 4xx, 5xx",
}
_KIND: Final = {"kind": "single, mass"}
_WEBHOOK: Final = {"webhook": "its name in the clients file"}

INFO = Info("smsc_gateway_info", "What runs here.", {"version": "of the gateway"})

ANSWERS = Counter(
    "smsc_gateway_answers_total", "Answers given to callers.", {"source": "cache, provider"}
)
UNANSWERED = Counter(
    "smsc_gateway_unanswered_total",
    "Questions that ended with a problem of the provider or its limits.",
)
ANSWER_AGE = Histogram(
    "smsc_gateway_answer_age_seconds",
    "How old the answers were; a final one grows old by right.",
    {"final": "true, false"},
)
RECORDS = Gauge("smsc_gateway_records", "Messages and lookups that are remembered.")

BUDGET_LEFT = Gauge(
    "smsc_gateway_budget_left",
    "Requests that the provider's limits allow now.",
    {"limit": "mass, concurrency"},
)
MESSAGES_SPENT = Gauge(
    "smsc_gateway_messages_spent",
    "Messages that may not be asked for now, for they were asked for too often.",
)
QUEUE = Gauge(
    "smsc_gateway_queue", "Messages that wait to be asked for.", {"why": "callers, background"}
)
IN_FLIGHT = Gauge(
    "smsc_gateway_provider_requests_in_flight", "Requests to the provider that are under way."
)
DURATION = Histogram(
    "smsc_gateway_provider_request_duration_seconds",
    "How long requests to the provider took, those included that failed.",
    _KIND,
)
FAILED = Counter(
    "smsc_gateway_provider_requests_failed_total",
    "Requests to the provider without a usable answer.",
)
CARRIED = Counter(
    "smsc_gateway_messages_carried_total", "Messages that the provider was asked about."
)
BREAKER = Gauge(
    "smsc_gateway_breaker_state",
    "1 for the state the breaker is in: whether the provider is asked.",
    {"state": _values(*BreakerState)},
)
SHARING = Gauge(
    "smsc_gateway_sharing",
    "1 for whether others spend the same limits, as Redis tells.",
    {"state": _values(*Sharing)},
)
FOLLOWED = Gauge("smsc_gateway_followed", "Keys of follows that this process asks for.")
PUSHES = Counter(
    "smsc_gateway_pushes_total",
    "Pushes of the provider, by what became of them.",
    {"result": _values(*RESULTS)},
)

ARCHIVE = Gauge(
    "smsc_gateway_archive_state",
    "1 for whether what is learned is kept.",
    {"state": _values(*ArchiveState)},
)
ARCHIVE_QUEUE = Gauge("smsc_gateway_archive_queue", "Records that wait to be kept.")
ARCHIVE_LAG = Gauge("smsc_gateway_archive_lag_seconds", "How long the oldest of them has waited.")
ARCHIVE_ROWS = Gauge("smsc_gateway_archive_rows", "Records that are kept, counted each minute.")
ARCHIVE_ERRORS = Counter(
    "smsc_gateway_archive_errors_total", "Transactions of the archive that failed."
)
ARCHIVE_LOST = Counter(
    "smsc_gateway_archive_lost_total", "Records that were dropped, and are not kept."
)

WEBHOOK_TRIES = Counter(
    "smsc_gateway_webhook_tries_total",
    "Tries of this process to tell a webhook of a change, by what became of them.",
    _WEBHOOK | {"result": _values(*TRIES)},
)
WEBHOOK_LAG = Gauge(
    "smsc_gateway_webhook_lag_changes",
    "Changes that a webhook was not told yet; no more than 10,000 are counted.",
    _WEBHOOK,
)
WEBHOOK_OLDEST = Gauge(
    "smsc_gateway_webhook_oldest_undelivered_timestamp_seconds",
    "When the oldest of them was learned; absent where there is none.",
    _WEBHOOK,
)
WEBHOOK_GIVEN_UP = Gauge(
    "smsc_gateway_webhook_given_up_changes",
    "Changes that a webhook was not told, and will not be told but by a replay.",
    _WEBHOOK,
)
WEBHOOK_STATE = Gauge(
    "smsc_gateway_webhook_state",
    "1 for the state a webhook is in.",
    _WEBHOOK | {"state": _values(*WebhookState)},
)

HTTP = Histogram(
    "smsc_gateway_http_request_duration_seconds",
    "Requests of callers, until their answer was sent; of streams until it began.",
    _ROUTE,
)
OPERATIONS = Counter(
    "smsc_gateway_graphql_operations_total",
    "GraphQL operations, by type and by what executed them.",
    {"type": "query, mutation, subscription", "path": "compiled, strawberry"},
)
STREAMS = Gauge("smsc_gateway_streams", "Streams of callers that are open.")
WRONG_KEYS = Counter("smsc_gateway_wrong_keys_total", "Requests with a key that is not known.")

PROCESS = (
    Counter("process_cpu_seconds_total", "CPU time spent."),
    Gauge("process_resident_memory_bytes", "Memory in use."),
    Gauge("process_virtual_memory_bytes", "Addresses in use."),
    Gauge("process_open_fds", "Open files and sockets."),
    Gauge("process_max_fds", "How many may be open."),
    Gauge("process_start_time_seconds", "When it started, since 1970."),
)
"""The client library's own (`ProcessCollector`), where the system tells them: Linux."""

SECTIONS: Final = {
    "Answers": (ANSWERS, UNANSWERED, ANSWER_AGE, RECORDS),
    "The link to the provider": (
        *(BUDGET_LEFT, MESSAGES_SPENT, QUEUE, IN_FLIGHT, DURATION, FAILED, CARRIED),
        *(BREAKER, SHARING, FOLLOWED, PUSHES),
    ),
    "Archive": (ARCHIVE, ARCHIVE_QUEUE, ARCHIVE_LAG, ARCHIVE_ROWS, ARCHIVE_ERRORS, ARCHIVE_LOST),
    "Webhooks": (WEBHOOK_TRIES, WEBHOOK_LAG, WEBHOOK_OLDEST, WEBHOOK_GIVEN_UP, WEBHOOK_STATE),
    "Callers": (HTTP, OPERATIONS, STREAMS, WRONG_KEYS),
    "The process": (INFO, *PROCESS),
}

_PAGE = """\
# Metrics

What `GET /metrics` tells: Prometheus' text format, or OpenMetrics where `Accept` prefers it. It
needs the scope `provider:read`. A histogram has the series `…_bucket{le}`, `…_sum` and `…_count`.
Each replica tells what it did and knows itself, but all tell the same of what they share: the
limits, and how far a webhook is. Where a gateway serves several accounts, what is told of each has
the label `account` as well. Alerts and a dashboard are in [`deploy/`](operating.md#deploying).
`make contracts` writes this page from the code.
"""


def page() -> str:
    """All metrics as a page of tables."""
    lines = [_PAGE]
    for title, families in SECTIONS.items():
        lines += [f"## {title}", "", "| name | type | labels | meaning |", "|---|---|---|---|"]
        for one in families:
            labels = "; ".join(f"`{name}`: {values}" for name, values in one.labels.items())
            lines.append(f"| `{one.name}` | {one.type} | {labels} | {one.meaning} |")
        lines.append("")
    return "\n".join(lines)
