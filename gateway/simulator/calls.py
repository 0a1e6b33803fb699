"""The endpoints `status.php`, `send.php` and `balance.php`; other scripts are refused."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sized
from datetime import datetime

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.simulator import defaults
from gateway.simulator.asked import LOGIN, PARAMETERS, Account, Arrival, Asked, Query, read_query
from gateway.simulator.control import Steering
from gateway.simulator.faults import BALANCE, CALLS, SEND, STATUS, Fault
from gateway.simulator.form import read_form
from gateway.simulator.limits import Limits
from gateway.simulator.model import TYPES
from gateway.simulator.render import render, render_balance, render_error, render_sent
from gateway.simulator.sending import Desk, Refused, Sent
from gateway.simulator.world import World

CURRENCY = "RUB"

_MEDIA = ("text/plain", "text/plain", "text/xml", "application/json")
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_NOT_DELETED, _LIMITED = 5, 9

OTHER_CALLS = (
    "get.php",
    "get_mnp.php",
    "info.php",
    "jobs.php",
    "phones.php",
    "receive_phones.php",
    "senders.php",
    "templates.php",
    "users.php",
)
"""What the provider has besides, by its libraries; counted and printed by name."""
_ANOTHER = "another"
_LONGEST_NAME = 40
_NO_SUCH_CALL = "this is a simulator without {}: it has " + " ".join(CALLS)


class Calls:
    """Answers the provider's calls, with the faults, limits and latency that are set."""

    def __init__(
        self,
        world: World,
        limits: Limits,
        sleep: Callable[[float], Awaitable[None]],
        account: Account,
        echo: Callable[[str], None] | None,
    ) -> None:
        self.world = world
        self.limits = limits
        self.sleep = sleep
        self.account = account
        self.echo = echo
        self.steering = Steering()
        self.desk = Desk(world, limits)

    async def call(self, request: Request) -> Response:
        """One of the provider's calls, by its script."""
        name: str = request.path_params["call"]
        calls = {STATUS: self._status, SEND: self._send, BALANCE: self._balance}
        if name in calls:
            return await calls[name](request)
        if name.endswith(".php"):
            return await self._missing(request, name)
        raise HTTPException(404)

    async def rest(self, request: Request) -> Response:
        """The same calls where the provider takes JSON; an answer's format is asked for alike."""
        request.path_params["call"] += ".php"
        return await self.call(request)

    async def _status(self, request: Request) -> Response:
        arrival = await self._arrived(request, STATUS)
        query = read_query(arrival.form.fields)
        pairs, mass = (query.pairs, query.mass) if query else ([], False)
        limit = None
        if arrival.login:
            limit = self.limits.admit(arrival.login, pairs, mass=mass)
        self.steering.counts["requests"] += 1
        self.steering.counts["mass" if mass else "singles"] += 1
        facts = {"mass": mass, "pairs": len(pairs), "all": arrival.asked.all}
        kind = "mass  " if mass else "single"
        line = f"{kind} fmt={arrival.asked.fmt} all={arrival.asked.all} {_count(pairs, 'message')}"
        try:
            return await self._answered(
                arrival, lambda: self._statuses(arrival, query, limit), facts, line
            )
        finally:
            if arrival.login:
                self.limits.leave(arrival.login)

    def _statuses(
        self, arrival: Arrival, query: Query | None, limit: str | None
    ) -> tuple[bytes, str]:
        """The body, and what the log says of it."""
        told = arrival.told
        if limit:
            body = render_error(_LIMITED, fmt=told.fmt, charset=told.charset)
            return body, f"error {_LIMITED} ({limit})"
        if not arrival.login:
            return arrival.refused(arrival.refusal or LOGIN)
        if query is None or arrival.refusal:
            return arrival.refused(PARAMETERS if query is None else arrival.refusal or LOGIN)
        if query.delete:
            deleted = [self.world.delete(phone, id_) for phone, id_ in query.pairs]
            if any(deleted):
                return b"OK", f"deleted{arrival.why}"
            return arrival.refused(_NOT_DELETED)
        reports = [self.world.look(phone, id_) for phone, id_ in query.pairs]
        body = render(reports, fmt=told.fmt, all=told.all, many=query.mass, charset=told.charset)
        return body, f"ok{arrival.why}"

    async def _send(self, request: Request) -> Response:
        """Take a message in when it arrives: whatever goes wrong with the answer, it is sent."""
        arrival = await self._arrived(request, SEND)
        facts: dict[str, object] = {}
        words = ""
        if arrival.refusal or not arrival.login:
            made = arrival.refused(arrival.refusal or LOGIN)
        else:
            taken = self.desk.take(arrival.login, arrival.form.fields)
            made = _taken(arrival, taken)
            if isinstance(taken, Sent):
                kind = TYPES[taken.type]
                facts = {"id": taken.id, "phones": taken.phones, "type": kind}
                words = f" {kind} to {_count(range(taken.phones), 'phone')}"
        line = f"send   fmt={arrival.asked.fmt}{words}"
        return await self._answered(arrival, lambda: made, facts, line)

    async def _balance(self, request: Request) -> Response:
        arrival = await self._arrived(request, BALANCE)
        told = arrival.told

        def make() -> tuple[bytes, str]:
            if arrival.refusal:
                return arrival.refused(arrival.refusal)
            currency = CURRENCY if arrival.form.fields.get("cur") == "1" else None
            balance = defaults.money(self.desk.balance)
            body = render_balance(balance, currency, fmt=told.fmt, charset=told.charset)
            return body, f"ok{arrival.why}"

        return await self._answered(arrival, make, {}, f"balance fmt={arrival.asked.fmt}")

    async def _missing(self, request: Request, name: str) -> Response:
        """What the provider has and this has not: an error that no client takes for an answer."""
        shown = name if name.removesuffix(".php").isidentifier() and name.isascii() else _ANOTHER
        arrival = await self._arrived(request, shown[:_LONGEST_NAME])
        text = _NO_SUCH_CALL.format(arrival.call)

        def make() -> tuple[bytes, str]:
            if not arrival.login:
                return arrival.refused(LOGIN)
            return arrival.refused(PARAMETERS, text=text)[0], "no such call here"

        return await self._answered(arrival, make, {}, f"{arrival.call} fmt={arrival.asked.fmt}")

    async def _arrived(self, request: Request, call: str) -> Arrival:
        form = await read_form(request, takes_json=request.url.path.startswith("/rest/"))
        known = call if call in CALLS or call in OTHER_CALLS else _ANOTHER
        self.steering.calls[known] += 1
        login = self.account.login(form.fields)
        fault = self.steering.next_fault(call)
        return Arrival(request, call, form, Asked.of(form), login, fault)

    async def _answered(
        self,
        arrival: Arrival,
        make: Callable[[], tuple[bytes, str]],
        facts: Mapping[str, object],
        line: str,
    ) -> Response:
        """Answer with what `make` gives, a body and its outcome, when it is time; note it down."""
        delay, fault = self.steering.latency, arrival.fault
        if fault is not None and fault.kind == "hang":
            delay += fault.value
        if not await self._waited(arrival.request, delay):
            self._note(arrival, facts, line, "caller gone")
            return Response()
        body, outcome = make()
        self._note(arrival, facts, line, outcome)
        return _faulty(fault, body, arrival.told)

    async def _waited(self, request: Request, seconds: float) -> bool:
        """Sleep; False as soon as the caller is gone, who then counts no more as under way."""
        if not seconds:
            await self.sleep(0)
            return True
        sleeping = asyncio.ensure_future(self.sleep(seconds))
        # The body has been read: what is received next is that the caller has gone.
        leaving = asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait({sleeping, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return sleeping.done()
        finally:
            sleeping.cancel()
            leaving.cancel()

    def _note(self, arrival: Arrival, facts: Mapping[str, object], line: str, outcome: str) -> None:
        """Keep and print what was asked: no phone, no text, no credentials."""
        at = datetime.fromtimestamp(self.world.clock()).astimezone()
        self.steering.log.append(
            {
                "at": at.isoformat(timespec="milliseconds"),
                "call": arrival.call,
                "method": arrival.request.method,
                "via": arrival.form.via,
                **facts,
                "fmt": arrival.asked.fmt,
                "charset": arrival.asked.charset,
                "outcome": outcome,
            }
        )
        if self.echo:
            self.echo(f"{at:%H:%M:%S} {line} -> {outcome}")


def _taken(arrival: Arrival, taken: Sent | Refused) -> tuple[bytes, str]:
    """The answer to what was to be sent, and its outcome."""
    fmt, charset = arrival.told.fmt, arrival.told.charset
    if isinstance(taken, Refused):
        limit = f" ({taken.limit})" if taken.limit else ""
        body = render_error(taken.number, fmt=fmt, charset=charset, id=taken.id)
        return body, f"error {taken.number}{limit}{arrival.why}"
    body = render_sent(
        id=taken.id,
        cnt=taken.cnt,
        cost=taken.cost,
        balance=taken.balance,
        fmt=fmt,
        charset=charset,
    )
    outcome = "only priced" if taken.id is None else f"ok, id {taken.id}"
    return body, f"{outcome}{arrival.why}"


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _faulty(fault: Fault | None, body: bytes, told: Asked) -> Response:
    status, media, charset = 200, _MEDIA[told.fmt], told.charset
    match fault.kind if fault else None:
        case "html":
            body, media = _HTML, "text/html"
        case "empty":
            body = b""
        case "comma":
            body = b","
        case "cut":
            body = body[: len(body) // 2]
        case "status" if fault:
            status, body, media = fault.value, _HTML, "text/html"
        case "header" if fault:
            charset = fault.value
        case _:
            pass
    return Response(body, status, {"content-type": f"{media}; charset={charset}"})
