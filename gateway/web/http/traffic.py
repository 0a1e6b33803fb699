"""Counts requests by route, method and class of status; `metrics` shows them.

Requests are counted by route, method and class of status, never by who or what. The library's
histograms look their series up anew for each request, which costs more than all the rest of
counting; here it is one look-up, and `metrics` makes the library's form of it when scraped.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.callers.registry import Callers
from gateway.histogram import Histogram

BUCKETS: Final = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: from a hit, which takes less than the first, to the provider's time-out."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""The others are one, or whoever invents methods would make series of them."""

OTHER: Final = "OTHER"
UNROUTED: Final = "NONE"
"""Where the request never came to a route: refused before, or an unknown address."""


class Series(NamedTuple):
    """Requests of one kind."""

    route: str
    method: str
    status: str
    """Class of the status: `2xx`."""
    seconds: Histogram
    """How long they took."""


class Exact(NamedTuple):
    """Requests of one kind, by their very status."""

    route: str
    method: str
    status: int
    scheme: str
    """As the caller used it; `ws` or `wss` of a WebSocket."""
    seconds: Histogram
    """How long they took."""


class Traffic:
    """Counts requests since the start."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, int, str], Histogram] = {}

    def add(
        self, route: str | None, method: str, status: int, seconds: float, scheme: str = "http"
    ) -> None:
        """Count a request; `seconds` until its answer was sent, of streams until it began."""
        key = (route or UNROUTED, method if method in METHODS else OTHER, status, scheme)
        histogram = self._series.get(key)
        if histogram is None:
            histogram = self._series[key] = Histogram(BUCKETS)
        histogram.add(seconds)

    def __iter__(self) -> Iterator[Series]:
        classes: dict[tuple[str, str, str], Histogram] = {}
        for (route, method, status, _), histogram in self._series.items():
            key = (route, method, f"{status // 100}xx")
            classes.setdefault(key, Histogram(BUCKETS)).include(histogram)
        for key, histogram in classes.items():
            yield Series(*key, histogram)

    def exact(self) -> Iterator[Exact]:
        """By status and scheme."""
        for key, histogram in self._series.items():
            yield Exact(*key, histogram)


@dataclass(frozen=True, slots=True)
class Counts:
    """All of it, since the start."""

    callers: Callers
    """Who know of open streams and wrong keys."""
    traffic: Traffic = field(default_factory=Traffic)
    pushes: Counter[str] = field(default_factory=Counter)
    """The provider's pushes, by what became of them (see `push`)."""
    operations: Counter[tuple[str, str]] = field(default_factory=Counter)
    """GraphQL operations, by their type and by what executed them (see `graphql.engine`)."""
