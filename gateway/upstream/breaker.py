"""The circuit breaker: stops requests after failures that a retry would not mend.

It reads what the provider said. Blocked (4): everything stops. Login refused (2): as well, for more
of it leads to a block. No answer several times in a row: the same, but shortly. Then one request
goes alone; if it fails, the next pause is twice as long, and if it is answered, all is as before.
Times are monotonic seconds.
"""

import copy
from dataclasses import dataclass

from gateway.errors import GatewayError, TransportFailed, UpstreamAuthFailed, UpstreamBlocked
from gateway.model.records import DescribedEnum


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds until the first probe, and the most between two; each is twice the one before.

    `after`: so many failures in a row begin it.
    """

    first: float
    longest: float
    after: int = 1


PAUSES: dict[type[GatewayError], Pauses] = {
    UpstreamBlocked: Pauses(first=5, longest=300),
    UpstreamAuthFailed: Pauses(first=10, longest=600),
    TransportFailed: Pauses(first=1, longest=30, after=5),
}
"""The provider says of a block only that it is temporary and comes from "frequent errors in
requests" (its page, error 4); a probe every five minutes is not frequent."""

PROBE_AGAIN = 1.0
"""Seconds told to callers who come while the probe is under way: it may end at any moment."""


class BreakerState(DescribedEnum):
    """Whether the provider is asked."""

    CLOSED = "CLOSED", "As usual."
    OPEN = "OPEN", "Not now: asking again would not help, or do harm."
    HALF_OPEN = "HALF_OPEN", "One request goes alone, to try."


class Breaker:
    """Decides whether requests may be sent, from the outcomes of those before."""

    def __init__(self) -> None:
        self._reason: GatewayError | None = None
        self._pauses: Pauses | None = None
        self._probe_at = 0.0
        self._pause = 0.0
        self._failures = 0
        self._probing = False

    @property
    def reason(self) -> GatewayError | None:
        """What opened it; None while it is closed."""
        return self._reason

    @property
    def probe_at(self) -> float | None:
        """When the next request may try; None while it is closed."""
        return self._probe_at if self._reason else None

    def state(self, now: float) -> BreakerState:
        if self._reason is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if now >= self._probe_at else BreakerState.OPEN

    def refusal(self, now: float) -> GatewayError | None:
        """What to tell a caller instead of asking; None where a request may go.

        Half open it is one request, whose `begin` closes the way for the rest.
        """
        if self._reason is None:
            return None
        if now >= self._probe_at and not self._probing:
            return None
        told = copy.copy(self._reason)
        told.retry_after = max(self._probe_at - now, PROBE_AGAIN)
        return told

    def begin(self, now: float) -> float:
        """Record that a request begins; pass the returned time to `end` or `withdraw`."""
        self._probing = self._reason is not None
        return now

    def withdraw(self, began: float) -> None:
        """The request that began then was not sent after all."""
        if began >= self._probe_at:
            self._probing = False

    def end(self, began: float, failure: GatewayError | None, now: float) -> None:
        """The request that began then has ended; None: with an answer that could be used."""
        if self._reason is not None and began < self._probe_at:
            return  # sent before it opened, so it says nothing of how things are now
        self._probing = False
        pauses = next((p for kind, p in PAUSES.items() if isinstance(failure, kind)), None)
        if failure is None or pauses is None:
            self._reason = None
            self._failures = 0
            return
        self._failures += 1
        if self._reason is not None or self._failures >= pauses.after:
            self._open(failure, pauses, now)

    def _open(self, failure: GatewayError, pauses: Pauses, now: float) -> None:
        again = self._reason is not None and self._pauses is pauses
        self._pause = min(self._pause * 2, pauses.longest) if again else pauses.first
        self._pauses = pauses
        self._reason = failure
        self._probe_at = now + self._pause
