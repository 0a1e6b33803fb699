"""Queues message deletions, which count against the provider's limits like status requests.

The provider's page does not say that they do not.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import GatewayError, Overloaded
from gateway.model.records import StatusKey
from gateway.upstream.alarm import Alarm
from gateway.upstream.breaker import Breaker
from gateway.upstream.budget.port import Budget, Lease
from gateway.upstream.flight import Waiter, answer_of
from gateway.upstream.inflight import InFlight, outcome_of
from gateway.upstream.throughput import Throughput


class Deleter(Protocol):
    """Whoever can delete a message; knows nothing of limits."""

    def delete(self, key: StatusKey) -> Awaitable[None]:
        """Delete a message; raises a `GatewayError`, `DeleteRefused` among them."""
        ...


@dataclass(eq=False, slots=True)
class _Deletion:
    """A message to delete, who waits for it, and what to call once it is gone."""

    key: StatusKey
    waiter: Waiter[None]
    deleted: Callable[[StatusKey], None]


class Deletions:
    """Those that wait for room, in the order they came."""

    def __init__(  # noqa: PLR0917 - its parts, each of another type
        self,
        deleter: Deleter,
        budget: Budget,
        breaker: Breaker,
        throughput: Throughput,
        in_flight: InFlight,
        alarm: Alarm,
    ) -> None:
        self._deleter = deleter
        self._budget = budget
        self._breaker = breaker
        self._throughput = throughput
        self._in_flight = in_flight
        self._alarm = alarm
        self._waiting: list[_Deletion] = []
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def delete(
        self, key: StatusKey, start_by: float, deleted: Callable[[StatusKey], None]
    ) -> None:
        """Have a message deleted, once there is room; raises a `GatewayError`.

        `deleted` is called when it is gone, even if the caller has left.
        """
        deletion = _Deletion(key, Waiter[None](start_by, start_by), deleted)
        self._waiting.append(deletion)
        self._alarm.soon()
        try:
            answer_of(await deletion.waiter.result)
        except asyncio.CancelledError:
            if deletion in self._waiting:
                self._waiting.remove(deletion)
            raise

    def send(self, now: float, ahead: int) -> None:
        """Send what there is room for, and tell those for whom there will be none in time.

        `ahead`: keys that callers of the other kind wait for.
        """
        waiting, self._waiting = self._waiting, []
        for deletion in waiting:
            start_by = deletion.waiter.start_by
            if refusal := self._breaker.refusal(now):
                deletion.waiter.settle(refusal)
                continue
            room = self._budget.take([deletion.key], mass=False)
            if isinstance(room, Lease):
                self._in_flight.start(self._delete(deletion, room, self._breaker.begin(now)))
            elif start_by <= now or (room.until is not None and room.until > start_by):
                others = ahead + len(self._waiting)
                refused = self._throughput.turned_away(room, deletion.key, now, others)
                deletion.waiter.settle(refused)
            else:
                self._waiting.append(deletion)
                self._alarm.set(start_by if room.until is None else room.until)

    def close(self) -> None:
        """Give up what waits."""
        self._is_closed = True
        for deletion in self._waiting:
            deletion.waiter.settle(_closing())
        self._waiting.clear()

    async def _delete(self, deletion: _Deletion, lease: Lease, began: float) -> None:
        confirmed = await self._in_flight.confirm(lease, None)
        if confirmed is not True:
            self._in_flight.withdraw(lease, began)
            if isinstance(confirmed, GatewayError):
                deletion.waiter.settle(confirmed)
            elif self._is_closed:
                deletion.waiter.settle(_closing())
            else:
                self._waiting.append(deletion)
            return
        if deletion.waiter.cost is not None:
            deletion.waiter.cost.carried_by(lease)
        outcome = await outcome_of(self._deleter.delete(deletion.key))
        failure = self._in_flight.ended(lease, began, outcome)
        if failure is None:
            deletion.deleted(deletion.key)
        deletion.waiter.settle(failure)


def _closing() -> Overloaded:
    return Overloaded("The gateway is shutting down.", retry_after=1)
