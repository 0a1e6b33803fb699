"""`Board`: tracks flights (see `flight`) by state: later, waiting, under way, elsewhere.

Of one key there is at most one flight that is still to be sent, LATER or WAITING. Others may have
been sent before it, UNDER_WAY or ELSEWHERE, with less detail than its callers want.

| from      | to        | when                                                                  |
|-----------|-----------|-----------------------------------------------------------------------|
| -         | WAITING   | a caller asks                                                         |
| -         | LATER     | the background wants it, at its due time                              |
| LATER     | WAITING   | it is due, a caller asks as well, or a mass request takes it along    |
| WAITING   | UNDER_WAY | its request is sent                                                   |
| WAITING   | ELSEWHERE | another replica has sent the request                                  |
| UNDER_WAY | WAITING   | it lost the race for the room, or may be asked again                  |
| ELSEWHERE | WAITING   | the other replica got no answer                                       |
| any       | -         | it is answered or refused, or nobody wants it any more                |
"""

import heapq
from collections.abc import Iterator
from itertools import chain, count
from typing import Generic, TypeVar

from gateway.model.records import StatusKey
from gateway.upstream.flight import Flight, Waiter, joined
from gateway.upstream.planner import FetchRequest

T = TypeVar("T")


class Board(Generic[T]):
    """All flights, by key."""

    def __init__(self) -> None:
        self.waiting: dict[StatusKey, Flight[T]] = {}
        """In the order they came."""
        self._later: dict[StatusKey, Flight[T]] = {}
        self._under_way: dict[StatusKey, Flight[T]] = {}
        self._elsewhere: dict[StatusKey, Flight[T]] = {}
        self._due: list[tuple[float, int, StatusKey]] = []
        self._order = count()

    def sent(self, key: StatusKey) -> Flight[T] | None:
        """The flight that is under way, here or elsewhere."""
        flight = self._under_way.get(key)
        return self._elsewhere.get(key) if flight is None else flight

    def queued(self, key: StatusKey) -> Flight[T] | None:
        """The flight that is still to be sent."""
        return self.waiting.get(key) or self._later.get(key)

    def has(self, key: StatusKey) -> bool:
        """Is it waiting or under way?"""
        return key in self.waiting or key in self._under_way or key in self._elsewhere

    def is_under_way(self, key: StatusKey) -> bool:
        """Has this process sent a request for it?"""
        return key in self._under_way

    @property
    def is_asking(self) -> bool:
        """Is anything under way, here or elsewhere?"""
        return bool(self._under_way or self._elsewhere)

    def later(self, key: StatusKey) -> Flight[T] | None:
        """The flight that is not due yet."""
        return self._later.get(key)

    @property
    def callers(self) -> int:
        """The number of waiting keys that have callers."""
        return sum(bool(flight.callers) for flight in self.waiting.values())

    @property
    def background(self) -> int:
        """The number of queued keys that have no callers."""
        return len(self.waiting) - self.callers + len(self._later)

    def all_sent(self) -> list[Flight[T]]:
        return [*self._under_way.values(), *self._elsewhere.values()]

    def all_elsewhere(self) -> list[Flight[T]]:
        return list(self._elsewhere.values())

    def soonest(self, number: int) -> list[FetchRequest]:
        """The fetch requests of the `number` later flights that are due first."""
        fetches = (flight.fetch for flight in self._later.values())
        return heapq.nsmallest(number, fetches, key=lambda fetch: fetch.due)

    def wait(self, flight: Flight[T]) -> None:
        """Have it sent as soon as there is room, with whoever waits for the same key."""
        key = flight.fetch.key
        other = self.queued(key)
        self._later.pop(key, None)
        self.waiting[key] = flight if other is flight else joined(flight, other)

    def wait_until_due(self, flight: Flight[T], fetch: FetchRequest) -> None:
        """Have it sent at the moment that `fetch` is due."""
        if fetch.key not in self.waiting:
            self._later[fetch.key] = flight
        heapq.heappush(self._due, (fetch.due, next(self._order), fetch.key))

    def bring_due(self, now: float) -> None:
        """Move flights that are due from later to waiting."""
        while self._due and self._due[0][0] <= now:
            _, _, key = heapq.heappop(self._due)
            flight = self._later.get(key)
            if flight is not None and flight.fetch.due <= now:
                self.waiting[key] = self._later.pop(key)

    @property
    def next_due(self) -> float | None:
        return self._due[0][0] if self._due else None

    def take_along(self, fetch: FetchRequest) -> None:
        """Move a mass request's rider to waiting, with a new flight if it has none."""
        flight = self._later.pop(fetch.key, None)
        self.waiting[fetch.key] = Flight[T](fetch) if flight is None else flight

    def send(self, key: StatusKey) -> Flight[T]:
        """Move the key's flight from waiting to under way."""
        flight = self._under_way[key] = self.waiting.pop(key)
        return flight

    def leave_to_others(self, key: StatusKey) -> None:
        """Move the key's flight from waiting to elsewhere: another replica sent the request."""
        self._elsewhere[key] = joined(self.waiting.pop(key), self._elsewhere.get(key))

    def land(self, flight: Flight[T]) -> None:
        """Remove the flight from under way and elsewhere."""
        key = flight.fetch.key
        flight.request = None
        for flights in (self._under_way, self._elsewhere):
            if flights.get(key) is flight:
                del flights[key]

    def settle(self, flight: Flight[T], result: T) -> None:
        """Give its answer to all who wait. A request of this process is under way until it ends."""
        key = flight.fetch.key
        flight.settle(result)
        for flights in (self.waiting, self._later, self._elsewhere):
            if flights.get(key) is flight:
                del flights[key]

    def of(self, key: StatusKey) -> Iterator[Flight[T]]:
        """Each flight of the key."""
        for flights in (self.waiting, self._later, self._elsewhere, self._under_way):
            if (flight := flights.get(key)) is not None:
                yield flight

    def leave(self, key: StatusKey, waiter: Waiter[T]) -> None:
        """Remove a caller that has gone, and queued flights that nobody waits for any more."""
        for flight in list(self.of(key)):
            flight.drop(lambda other: other is waiter)
            self.forget_if_unwanted(flight)

    def forget_if_unwanted(self, flight: Flight[T]) -> None:
        """Remove a queued flight that has neither callers nor a background request."""
        key = flight.fetch.key
        for flights in (self.waiting, self._later):
            if not flight.is_wanted and flights.get(key) is flight:
                del flights[key]

    def clear(self) -> list[Flight[T]]:
        """Remove and return all flights except those this process has sent."""
        held = (self.waiting, self._later, self._elsewhere)
        flights = list(chain.from_iterable(queue.values() for queue in held))
        for queue in held:
            queue.clear()
        return flights
