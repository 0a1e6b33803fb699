"""The metrics of one scrape, in Prometheus' text format or as OpenMetrics."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.exceptions import HTTPException

from gateway import __version__
from gateway.archive.report import ArchiveReport, ArchiveState
from gateway.upstream.breaker import BreakerState
from gateway.upstream.budget.port import Sharing
from gateway.upstream.status import Histograms, LinkState
from gateway.web.http.methods import negotiated
from gateway.web.http.traffic import Counts
from gateway.web.ops import families
from gateway.web.rest.push import RESULTS
from gateway.webhooks.report import WebhookReport, WebhookState

_PLAIN, _OPENMETRICS = "text/plain", "application/openmetrics-text"

_PROCESS = ProcessCollector(registry=None)
"""Memory, CPU time and open files of the process, where the system tells them (Linux)."""


class Led(NamedTuple):
    """What one of the processes that share an archive does for all.

    `tries` are those of webhooks, by name and result; `followed` is how many keys it asks for.
    """

    tries: Mapping[tuple[str, str], int]
    webhooks: Sequence[WebhookReport]
    followed: int


class AccountScrape(NamedTuple):
    """What is known of an account at the moment of a scrape."""

    link: LinkState
    histograms: Histograms
    led: Led | None


def collect(accounts: Mapping[str, AccountScrape], counts: Counts) -> list[Metric]:
    """All metrics, as they are now."""
    return [*_Scraped(accounts, counts).collect(), *_PROCESS.collect()]


def render(
    accounts: Mapping[str, AccountScrape], counts: Counts, accept: bytes
) -> tuple[bytes, str]:
    """All metrics, and their media type, by `Accept`; the plain text where it names neither.

    Those of accounts that have a name have the label `account`.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scraped(accounts, counts))
    registry.register(_PROCESS)
    preferred = _PLAIN
    with suppress(HTTPException):
        preferred = negotiated(accept, (_PLAIN, _OPENMETRICS))
    encode, media_type = choose_encoder(preferred)  # it would read a header less strictly
    return encode(registry), media_type


class _Scraped(Collector):
    def __init__(self, accounts: Mapping[str, AccountScrape], counts: Counts) -> None:
        self._accounts = accounts
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        yield families.INFO.of({"version": __version__})
        yield from _together({name: _account(one) for name, one in self._accounts.items()})
        pushes = self._counts.pushes
        yield families.PUSHES.of_each(((result,), pushes[result]) for result in RESULTS)
        yield from _callers(self._counts)


def _together(accounts: Mapping[str, Iterable[Metric]]) -> Iterable[Metric]:
    """The same metric of several accounts is one, with a series for each."""
    found: dict[str, Metric] = {}
    for account, metrics in accounts.items():
        for metric in metrics:
            if account:
                metric.samples = [
                    one._replace(labels={"account": account, **one.labels})
                    for one in metric.samples
                ]
            found.setdefault(metric.name, metric)
            if found[metric.name] is not metric:
                found[metric.name].samples += metric.samples
    return found.values()


def _account(scrape: AccountScrape) -> Iterator[Metric]:
    link, histograms, led = scrape
    yield from _answers(link, histograms)
    yield from _provider(link, histograms)
    yield families.ARCHIVE.of_each(_one_of(link.archive))
    if link.archive_report is not None:
        yield from _archive(link.archive_report)
    if led is not None:
        yield from _webhooks(led.webhooks, led.tries)
        yield families.FOLLOWED.of(led.followed)


def _answers(link: LinkState, histograms: Histograms) -> Iterator[Metric]:
    counters = link.counters
    misses = counters.answers - counters.hits
    yield families.ANSWERS.of_each([(["cache"], counters.hits), (["provider"], misses)])
    yield families.UNANSWERED.of(counters.unanswered)
    yield families.ANSWER_AGE.of_each(
        [(["true"], histograms.final_ages), (["false"], histograms.open_ages)]
    )
    yield families.RECORDS.of(link.records)


def _provider(link: LinkState, histograms: Histograms) -> Iterator[Metric]:
    budgets, counters = link.budgets, link.counters
    yield families.BUDGET_LEFT.of_each(
        [(["mass"], budgets.mass.left), (["concurrency"], budgets.concurrency.left)]
    )
    yield families.MESSAGES_SPENT.of(budgets.per_message.spent_messages)
    yield families.QUEUE.of_each(
        [(["callers"], link.queue.callers), (["background"], link.queue.background)]
    )
    yield families.IN_FLIGHT.of(link.in_flight)
    yield families.DURATION.of_each([(["single"], histograms.single), (["mass"], histograms.mass)])
    yield families.FAILED.of(counters.failed)
    yield families.CARRIED.of(counters.messages_carried)
    yield families.BREAKER.of_each(_one_of(link.breaker.state))
    yield families.SHARING.of_each(_one_of(link.sharing))


def _archive(report: ArchiveReport) -> Iterator[Metric]:
    yield families.ARCHIVE_QUEUE.of(report.queue)
    yield families.ARCHIVE_LAG.of(report.lag_seconds)
    if report.rows is not None:
        yield families.ARCHIVE_ROWS.of(report.rows)
    yield families.ARCHIVE_ERRORS.of(report.errors)
    yield families.ARCHIVE_LOST.of(report.lost)


def _webhooks(
    reports: Sequence[WebhookReport], tries: Mapping[tuple[str, str], int]
) -> Iterator[Metric]:
    """Every replica tells how they stand, and who delivers the tries."""
    yield families.WEBHOOK_TRIES.of_each(sorted(tries.items()))
    yield families.WEBHOOK_LAG.of_each(((one.name,), one.lag) for one in reports)
    yield families.WEBHOOK_OLDEST.of_each(
        ((one.name,), one.oldest_undelivered.timestamp())
        for one in reports
        if one.oldest_undelivered is not None
    )
    yield families.WEBHOOK_GIVEN_UP.of_each(((one.name,), one.given_up) for one in reports)
    yield families.WEBHOOK_STATE.of_each(
        ((one.name, *state), value) for one in reports for state, value in _one_of(one.state)
    )


def _callers(counts: Counts) -> Iterator[Metric]:
    yield families.HTTP.of_each(
        ((one.route, one.method, one.status), one.seconds) for one in counts.traffic
    )
    yield families.OPERATIONS.of_each(sorted(counts.operations.items()))
    yield families.STREAMS.of(counts.callers.quota.open_streams)
    yield families.WRONG_KEYS.of(counts.callers.throttle.wrong_keys)


def _one_of(
    state: BreakerState | Sharing | ArchiveState | WebhookState,
) -> Iterable[tuple[tuple[str], float]]:
    """1 for this state, 0 for the others there are."""
    return [((other,), float(other is state)) for other in type(state)]
