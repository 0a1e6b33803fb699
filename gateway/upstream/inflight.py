"""Requests to the provider that are under way: their leases, the breaker, the counters."""

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from typing import TypeVar

from gateway.clock import Clock
from gateway.errors import (
    GatewayError,
    RateLimited,
    TransportFailed,
    UpstreamBadAnswer,
    UpstreamTimeout,
)
from gateway.model.records import DetailLevel
from gateway.upstream.alarm import Alarm
from gateway.upstream.breaker import Breaker
from gateway.upstream.budget.port import Budget, Lease
from gateway.upstream.throughput import Throughput

log = logging.getLogger(__name__)

R = TypeVar("R")

RETAKE = 0.02
"""Seconds until room is tried for again that another replica took first."""


class InFlight:
    """Runs each request as a task of its own, so that no caller who leaves can end it.

    A place at the provider stays taken for `linger` seconds after a time-out: it may still be busy.
    When a request has ended, `alarm` rings.
    """

    def __init__(
        self,
        budget: Budget,
        breaker: Breaker,
        clock: Clock,
        throughput: Throughput,
        alarm: Alarm,
        *,
        linger: float,
    ) -> None:
        self._alarm = alarm
        self._budget = budget
        self._breaker = breaker
        self._clock = clock
        self._throughput = throughput
        self._linger = linger
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, request: Coroutine[None, None, None]) -> None:
        """Run a request whose lease was taken."""
        self._throughput.in_flight += 1
        task = asyncio.create_task(request)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def confirm(self, lease: Lease, detail: DetailLevel | None) -> bool | GatewayError:
        """Is the room still ours? False: another replica was faster; an error: nobody can tell."""
        return await outcome_of(self._budget.confirm(lease, detail))

    def withdraw(self, lease: Lease, began: float) -> None:
        """Another replica was faster: give the room back, and try again a little later."""
        self._throughput.in_flight -= 1
        lease.refund()
        self._breaker.withdraw(began)
        self._alarm.set(self._clock.monotonic() + RETAKE)

    def ended(
        self, lease: Lease, began: float, failure: GatewayError | None
    ) -> GatewayError | None:
        """Release the lease, update breaker and counters; return the callers' error, if any.

        That is the failure itself; of the provider's 9 the limit and `retry_after` as well, and of
        what opened the breaker the breaker's refusal.
        """
        self._alarm.soon()
        now = self._clock.monotonic()
        self._throughput.in_flight -= 1
        if isinstance(failure, TransportFailed) and not failure.sent:
            lease.refund()
        else:
            lease.end(linger=self._linger if isinstance(failure, UpstreamTimeout) else 0.0)
        self._throughput.ended(
            len(lease.keys), now - began, mass=lease.mass, failed=failure is not None
        )
        self._close_breaker(began, failure, now)
        if isinstance(failure, RateLimited):
            full = self._budget.refused(lease.keys, mass=lease.mass)
            return self._throughput.rate_limited(full, now, provider_code=failure.provider_code)
        if failure is not None and type(failure) is type(self._breaker.reason):
            return self._breaker.refusal(now)
        return failure

    async def aclose(self) -> None:
        """Let what is under way end."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _close_breaker(self, began: float, failure: GatewayError | None, now: float) -> None:
        was_open = self._breaker.reason
        self._breaker.end(began, failure, now)
        if self._breaker.probe_at is not None and self._breaker.reason is failure:
            pause = self._breaker.probe_at - now
            log.warning("the provider is not asked for %.0f s: %s", pause, failure)
        elif was_open and self._breaker.reason is None:
            log.warning("the provider is asked again")


async def outcome_of(request: Awaitable[R]) -> R | GatewayError:
    """The result of a request to the provider, or its failure as a `GatewayError`."""
    try:
        return await request
    except GatewayError as error:
        return error
    except Exception:
        log.exception("a request to the provider failed in an unforeseen way")
        return UpstreamBadAnswer("The provider's answer could not be used.")
