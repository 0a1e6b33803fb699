"""Sends the simulated provider's push (status callback) to the customer's handler.

No page of the provider's shows it; fields, signatures and the form are those that customers'
handlers are written for. A push is signed only where the handler's address asks for it: it has the
secret in `md5` or `sha1`, and the provider puts the hash in its place. All else of the address
stays. It does not push again what was not taken: nobody knows when the provider does.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx

from gateway.simulator.form import URLENCODED, charset_of
from gateway.simulator.model import Report
from gateway.simulator.render import MOSCOW, date
from gateway.simulator.world import World

TIMEOUT = 5.0
"""Seconds for the handler to answer."""

_SHOWN = 20
_NETWORK = ("imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet")
_SIGNATURES = ("md5", "sha1")


class Handler(NamedTuple):
    """The customer's handler, as entered in the provider's settings: with the secret in it, if any.

    `transport` stands in for the network in tests.
    """

    url: str
    transport: httpx.AsyncBaseTransport | None = None

    def address(self, form: Mapping[str, str], forged: Mapping[str, str]) -> str:
        """Where to push this form: a hash, or what is `forged`, in the place of the secret."""
        parts = urlsplit(self.url)
        given = parse_qsl(parts.query, keep_blank_values=True)
        query = [
            (name, signed(form, value)[name] if name in _SIGNATURES and value else value)
            for name, value in given
            if name not in forged
        ]
        return parts._replace(query=urlencode([*query, *forged.items()])).geturl()

    @property
    def charset(self) -> str:
        """The charset of the form; the address may name it."""
        return charset_of(dict(parse_qsl(urlsplit(self.url).query)))


class Pusher:
    """Pushes to one handler. `echo` gets a line for each push, without phones."""

    def __init__(
        self,
        world: World,
        handler: Handler,
        sleep: Callable[[float], Awaitable[None]],
        echo: Callable[[str], None] | None,
    ) -> None:
        self._world = world
        self._handler = handler
        self._sleep = sleep
        self._echo = echo
        self._added = asyncio.Event()
        self._replaced: list[Report] = []
        self._client = httpx.AsyncClient(
            transport=handler.transport, timeout=TIMEOUT, trust_env=False
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Push what changes from now on."""
        self._world.on_add = self._on_add
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self._client.aclose()

    async def send(self, report: Report, other: Mapping[str, str] = MappingProxyType({})) -> str:
        """Push one report with `other` fields in it; a signature among them is sent as it is.

        Gives the outcome.
        """
        forged = {name: value for name, value in other.items() if name in _SIGNATURES}
        form = {
            **push_form(report),
            **{name: value for name, value in other.items() if name not in forged},
        }
        body = urlencode(form, encoding=self._handler.charset, errors="replace")
        try:
            answer = await self._client.post(
                self._handler.address(form, forged),
                content=body.encode(),
                headers={"content-type": URLENCODED},
            )
            said = answer.text[:_SHOWN] if answer.is_success else ""
            outcome = f"{answer.status_code} {said}".strip()
        except httpx.HTTPError as error:
            outcome = type(error).__name__
        if self._echo:
            at = datetime.fromtimestamp(self._world.clock()).astimezone()
            told = f"message {form['id']} is {form['status']}"
            self._echo(f"{at:%H:%M:%S} push   {told} -> {outcome}")
        return outcome

    async def _follow(self) -> None:
        seen = self._world.clock()
        while True:
            self._added.clear()
            await self._until(self._world.next_change(seen))
            now = self._world.clock()
            changed = [*self._replaced, *self._world.changed(seen, now)]
            self._replaced.clear()
            seen = now
            for report in changed:
                await self.send(report)

    def _on_add(self, instead_of_another: Report | None) -> None:
        if instead_of_another is not None:
            self._replaced.append(instead_of_another)
        self._added.set()

    async def _until(self, moment: float | None) -> None:
        """Wait for a moment, or for a message that may change sooner."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._added.wait())]
        if moment is not None:
            waits.append(asyncio.ensure_future(self._sleep(moment - self._world.clock())))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def push_form(report: Report) -> dict[str, str]:
    """The fields of a push, before it is signed."""
    fields: dict[str, str | int | None] = {
        "id": report.id,
        "phone": report.phone,
        "status": report.status,
        "time": date(report.last, MOSCOW),
        "ts": report.last,
        "err": report.err,
        "type": report.type,
        "flag": report.flag,
        "cost": report.cost,
        "cnt": report.sms_cnt,
    }
    if report.is_lookup:
        fields |= {name: getattr(report, name) for name in _NETWORK}
    return {name: str(value) for name, value in fields.items() if value is not None}


def signed(form: Mapping[str, str], secret: str) -> dict[str, str]:
    """The form with both signatures, over `id:phone:status:secret`."""
    text = ":".join([form["id"], form["phone"], form["status"], secret]).encode()
    return {
        **form,
        "md5": hashlib.md5(text, usedforsecurity=False).hexdigest(),
        "sha1": hashlib.sha1(text, usedforsecurity=False).hexdigest(),
    }
