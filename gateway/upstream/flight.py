"""`Flight` (single flight): one pending request for a key, and the callers waiting for it."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Generic, TypeVar

from gateway.errors import GatewayError
from gateway.model.records import DetailLevel
from gateway.upstream.budget.port import Lease
from gateway.upstream.cost import Cost, current_cost
from gateway.upstream.planner import FetchRequest

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Waiter(Generic[T]):
    """A caller or watcher who waits: to be sent by `start_by`, and answered by `patience`."""

    start_by: float
    patience: float
    result: asyncio.Future[T | GatewayError] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    cost: Cost | None = field(default_factory=current_cost)
    """Of the operation that it waits for."""

    def settle(self, result: T | GatewayError) -> None:
        if not self.result.done():
            self.result.set_result(result)


@dataclass(eq=False, slots=True)
class Flight(Generic[T]):
    """A question about one key, waiting or under way.

    `background` is what is wanted of it beside the callers, if anything; `fetch` is what the
    planner is shown; `request` is the one that carries it, once that is sent.
    """

    fetch: FetchRequest
    background: FetchRequest | None = None
    callers: list[Waiter[T]] = field(default_factory=list)
    watchers: list[Waiter[T]] = field(default_factory=list)
    request: Lease | None = None

    def join(self, waiter: Waiter[T]) -> None:
        """A caller waits for it."""
        self.callers.append(waiter)
        self._charge([waiter])

    def carry(self, request: Lease) -> None:
        """Its request was sent."""
        self.request = request
        self._charge(self.callers)

    def _charge(self, waiters: Iterable[Waiter[T]]) -> None:
        for waiter in waiters:
            if waiter.cost is not None and self.request is not None:
                waiter.cost.carried_by(self.request)

    def settle(self, result: T | GatewayError) -> None:
        """Tell all who wait; then nobody wants it any more."""
        for waiter in chain(self.callers, self.watchers):
            waiter.settle(result)
        self.callers.clear()
        self.watchers.clear()
        self.background = None

    def raise_to(self, detail: DetailLevel) -> None:
        if not self.fetch.detail.covers(detail):
            self.fetch = replace(self.fetch, detail=detail)

    def drop(self, leaving: Callable[[Waiter[T]], bool]) -> list[Waiter[T]]:
        """Remove and return the callers for whom `leaving` is true."""
        left = [waiter for waiter in self.callers if leaving(waiter)]
        self.callers = [waiter for waiter in self.callers if not leaving(waiter)]
        if self.callers:
            deadline = min(waiter.start_by for waiter in self.callers)
            self.fetch = replace(self.fetch, deadline=deadline)
        elif self.background is not None:
            self.fetch = replace(self.background, detail=self.fetch.detail, alone=self.fetch.alone)
        return left

    @property
    def is_wanted(self) -> bool:
        return bool(self.callers) or self.background is not None


def answer_of(result: T | GatewayError) -> T:
    """The result, raised if it is a `GatewayError`."""
    if isinstance(result, GatewayError):
        raise result.with_traceback(None)
    return result


def joined(flight: Flight[T], other: Flight[T] | None) -> Flight[T]:
    """One flight for those who wait for either."""
    if other is None:
        return flight
    if not flight.callers:
        flight.fetch = replace(other.fetch, detail=flight.fetch.detail)
    flight.callers += other.callers
    flight.watchers += other.watchers
    flight.background = flight.background or other.background
    flight.raise_to(other.fetch.detail)
    return flight
