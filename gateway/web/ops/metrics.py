"""The metrics in Prometheus' text format, collected at each scrape.

No label ever has a value that a caller or the provider could make up.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.archive.report import ArchiveReport, ArchiveState
from gateway.upstream.breaker import BreakerState
from gateway.upstream.budget.port import Sharing
from gateway.upstream.status import LinkState
from gateway.web.http.traffic import BUCKETS, Counts
from gateway.web.rest.push import RESULTS
from gateway.webhooks.report import WebhookReport, WebhookState

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4

HTTP_DURATION = "smsc_gateway_http_request_duration_seconds"
"""The one family that OpenTelemetry has conventions of its own for."""

_BOUNDS = [*map(str, BUCKETS), "+Inf"]
_PROCESS = ProcessCollector(registry=None)
"""Memory, CPU time and open files of the process, where the system tells them (Linux)."""


class Led(NamedTuple):
    """What one of the processes that share an archive does for all.

    `tries` are those of webhooks, by name and result; `followed` is how many keys it asks for.
    """

    tries: Mapping[tuple[str, str], int]
    webhooks: Sequence[WebhookReport]
    followed: int


def families(link: LinkState, counts: Counts, led: Led | None) -> list[Metric]:
    """All metrics, as they are now."""
    return [*_Scrape(link, counts, led).collect(), *_PROCESS.collect()]


def render(link: LinkState, counts: Counts, led: Led | None) -> bytes:
    """All metrics, as one scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(link, counts, led))
    registry.register(_PROCESS)
    return generate_latest(registry)


class _Scrape(Collector):
    def __init__(self, link: LinkState, counts: Counts, led: Led | None) -> None:
        self._link = link
        self._counts = counts
        self._led = led

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("smsc_gateway", "What runs here.", {"version": __version__})
        yield from _web(self._counts)
        yield from _budgets(self._link)
        yield from _counters(self._link)
        yield _gauge("records", "Messages and lookups that are remembered.", self._link.records)
        breaker, sharing = self._link.breaker.state, self._link.sharing
        yield _state("breaker_state", "1 for the state the breaker is in.", breaker)
        yield _state("sharing", "1 for whether others spend the same limits.", sharing)
        yield _state("archive_state", "1 for whether what is learned is kept.", self._link.archive)
        if self._link.archive_report is not None:
            yield from _archive(self._link.archive_report)
        if self._led is not None:
            yield from _webhooks(self._led.webhooks, self._led.tries)
            yield _gauge(
                "followed", "Keys of follows that this process asks for.", self._led.followed
            )
        ages = GaugeMetricFamily(
            "smsc_gateway_answer_age_seconds",
            "How old the last thousand answers were.",
            labels=["quantile"],
        )
        for quantile, seconds in (("0.5", self._link.ages.median), ("0.99", self._link.ages.p99)):
            if seconds is not None:
                ages.add_metric([quantile], seconds)
        yield ages
        pushes = CounterMetricFamily(
            "smsc_gateway_pushes",
            "Pushes of the provider, by what became of them.",
            labels=["result"],
        )
        for result in RESULTS:
            pushes.add_metric([result], self._counts.pushes[result])
        yield pushes


def _webhooks(
    reports: Sequence[WebhookReport], tries: Mapping[tuple[str, str], int]
) -> Iterator[Metric]:
    """Every replica tells how they stand, and who delivers the tries; names are the operator's."""
    deliveries = CounterMetricFamily(
        "smsc_gateway_webhook_tries",
        "Tries to tell a webhook of a change, by what became of them, in this process.",
        labels=["webhook", "result"],
    )
    for (name, result), count in sorted(tries.items()):
        deliveries.add_metric([name, result], count)
    yield deliveries
    lag = GaugeMetricFamily(
        "smsc_gateway_webhook_lag",
        "Changes that a webhook was not told yet; no more than 10,000 are counted.",
        labels=["webhook"],
    )
    oldest = GaugeMetricFamily(
        "smsc_gateway_webhook_oldest_undelivered_timestamp_seconds",
        "When the oldest of them was learned.",
        labels=["webhook"],
    )
    given_up = GaugeMetricFamily(
        "smsc_gateway_webhook_given_up", "Changes that were given up.", labels=["webhook"]
    )
    state = GaugeMetricFamily(
        "smsc_gateway_webhook_state",
        "1 for the state a webhook is in.",
        labels=["webhook", "state"],
    )
    for one in reports:
        lag.add_metric([one.name], one.lag)
        if one.oldest_undelivered is not None:
            oldest.add_metric([one.name], one.oldest_undelivered.timestamp())
        given_up.add_metric([one.name], one.given_up)
        for known in WebhookState:
            state.add_metric([one.name, known], known is one.state)
    yield from (lag, oldest, given_up, state)


def _web(counts: Counts) -> Iterator[Metric]:
    requests = HistogramMetricFamily(
        HTTP_DURATION,
        "Requests of callers, until their answer was sent; of streams until it began.",
        labels=["route", "method", "status"],
    )
    for series in counts.traffic:
        cumulated = zip(_BOUNDS, accumulate(series.buckets), strict=True)
        requests.add_metric(
            [series.route, series.method, series.status], list(cumulated), series.seconds
        )
    yield requests
    operations = CounterMetricFamily(
        "smsc_gateway_graphql_operations",
        "GraphQL operations, by type and by what executed them.",
        labels=["type", "path"],
    )
    for (type_, path), count in sorted(counts.operations.items()):
        operations.add_metric([type_, path], count)
    yield operations
    yield _gauge("streams", "Streams of callers that are open.", counts.callers.quota.open_streams)
    wrong = counts.callers.throttle.wrong_keys
    yield _counter("wrong_keys", "Requests with a key that is not known.", wrong)


def _budgets(link: LinkState) -> Iterator[Metric]:
    budgets = link.budgets
    left = GaugeMetricFamily(
        "smsc_gateway_budget_left", "Requests that may go now, by limit.", labels=["limit"]
    )
    left.add_metric(["mass"], budgets.mass.left)
    left.add_metric(["concurrency"], budgets.concurrency.left)
    yield left
    yield _gauge(
        "messages_spent",
        "Messages that may not be asked for now.",
        budgets.per_message.spent_messages,
    )
    yield _gauge("in_flight", "Requests under way.", link.in_flight)
    queue = GaugeMetricFamily(
        "smsc_gateway_queue", "Messages that wait to be asked for.", labels=["why"]
    )
    queue.add_metric(["callers"], link.queue.callers)
    queue.add_metric(["background"], link.queue.background)
    yield queue


def _counters(link: LinkState) -> Iterator[Metric]:
    counters = link.counters
    answers = CounterMetricFamily(
        "smsc_gateway_answers", "Answers given to callers.", labels=["source"]
    )
    answers.add_metric(["cache"], counters.hits)
    answers.add_metric(["provider"], counters.answers - counters.hits)
    yield answers
    yield _counter("unanswered", "Questions that ended with a problem.", counters.unanswered)
    requests = CounterMetricFamily(
        "smsc_gateway_requests", "Requests to the provider.", labels=["kind"]
    )
    requests.add_metric(["single"], counters.singles)
    requests.add_metric(["mass"], counters.mass)
    yield requests
    yield _counter("requests_failed", "Requests without a usable answer.", counters.failed)
    yield _counter("messages_carried", "Messages asked about.", counters.messages_carried)
    yield _counter("request_seconds", "Seconds the requests took.", counters.request_seconds)


def _archive(report: ArchiveReport) -> Iterator[Metric]:
    yield _gauge("archive_queue", "Records that wait to be kept.", report.queue)
    yield _gauge("archive_lag_seconds", "How long the oldest has waited.", report.lag_seconds)
    if report.rows is not None:
        yield _gauge("archive_rows", "Records that are kept, counted each minute.", report.rows)
    yield _counter("archive_errors", "Transactions of the archive that failed.", report.errors)
    yield _counter("archive_lost", "Records that were dropped, and are not kept.", report.lost)


def _state(name: str, about: str, state: BreakerState | Sharing | ArchiveState) -> Metric:
    """One series for each state there is."""
    metric = GaugeMetricFamily(f"smsc_gateway_{name}", about, labels=["state"])
    for other in type(state):
        metric.add_metric([other], float(other is state))
    return metric


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"smsc_gateway_{name}", about, value)


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"smsc_gateway_{name}", about, value)
