"""`Webhooks`: all addresses that are told of changes, and how they are doing.

Of the processes that share an archive one delivers; the others tell how it is going.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from gateway.archive import outbox
from gateway.archive.archive import Archive
from gateway.archive.changes import cursor_of
from gateway.archive.outbox import GivenUp, Standing, Undelivered
from gateway.callers.model import WebhookEntry
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.webhooks.address import Address, Body, read_address
from gateway.webhooks.delivery import Delivery
from gateway.webhooks.report import GivenUpChange, WebhookError, WebhookReport, WebhookState

RESULTS: Final = ("delivered", "failed", "given_up")
"""What became of a try."""

AGAIN: Final = 5.0
"""Seconds until a database that was away is looked at again."""


class Webhooks:
    """The addresses of the clients file, as it was read last."""

    def __init__(
        self,
        entries: Callable[[], Mapping[str, WebhookEntry]],
        archive: Archive,
        clock: Clock,
        body: Body,
    ) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        """The tries of this process, by webhook and by one of `RESULTS`."""
        self._entries = entries
        self._archive = archive
        self._clock = clock
        self._body = body
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """Have each new one be told all that comes from now on, if the database is there."""
        with suppress(GatewayError):
            await self._archive.write(outbox.register, list(self._entries()))

    def reload(self) -> None:
        """The clients file was read anew."""
        self._changed.set()

    async def deliver(self) -> None:
        """Deliver until it is cancelled; for the one process that does."""
        running: dict[str, tuple[Address, asyncio.Task[None]]] = {}
        try:
            while True:
                self._changed.clear()
                wanted = self._addresses()
                old = [name for name, (one, _) in running.items() if wanted.get(name) != one]
                await _stop([running.pop(name)[1] for name in old])
                await self._register(list(wanted))
                for name in wanted.keys() - running.keys():
                    delivery = Delivery(
                        wanted[name], self._archive, self._clock, self._body, self.counts
                    )
                    running[name] = (wanted[name], asyncio.create_task(delivery.run()))
                await self._changed.wait()
        finally:
            await _stop([task for _, task in running.values()])

    async def reports(self) -> list[WebhookReport]:
        """How each is doing; raises `Overloaded` where the database is away."""
        addresses = self._addresses()
        if not addresses:
            return []
        wanted = {name: address.wanted for name, address in addresses.items()}
        found = await self._archive.read(outbox.standings, self._archive.names, wanted)
        return [_report(one, *found[name]) for name, one in addresses.items()]

    def _addresses(self) -> dict[str, Address]:
        return {name: read_address(entry) for name, entry in self._entries().items()}

    async def _register(self, names: list[str]) -> None:
        while True:
            try:
                await self._archive.write(outbox.register, names)
            except GatewayError:
                await self._clock.sleep(AGAIN)
            else:
                return


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _report(address: Address, standing: Standing | None, left: Undelivered | None) -> WebhookReport:
    error: WebhookError | None = None
    state = WebhookState.ACTIVE
    if standing is not None:
        if standing.last_error_at is not None:
            reason = standing.last_error or ""
            error = WebhookError(at=_moment(standing.last_error_at), reason=reason)
        if standing.off_at is not None:
            state = WebhookState.OFF
        elif standing.failing_since is not None:
            state = WebhookState.FAILING
    return WebhookReport(
        name=address.name,
        client=address.entry.client.name,
        url=address.shown_url,
        state=state,
        lag=0 if left is None else left.waiting,
        oldest_undelivered=_time(left and left.oldest_at),
        last_success=_time(standing and standing.last_success_at),
        last_error=error,
        failing_since=_time(standing and standing.failing_since),
        off_since=_time(standing and standing.off_at),
        given_up=0 if left is None else left.given_up,
        latest_given_up=[] if left is None else [_given_up(one) for one in left.latest_given_up],
    )


def _given_up(one: GivenUp) -> GivenUpChange:
    return GivenUpChange(
        cursor=cursor_of(one.position),
        id=str(one.id),
        at=_moment(one.at),
        given_up_at=_moment(one.given_up_at),
        tries=one.tries,
        reason=one.error,
    )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else _moment(seconds)
