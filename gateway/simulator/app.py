"""The server: `/sys/status.php` as the provider has it, `/control/…` to steer it, `/` to look."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime
from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from gateway.simulator.control import CHARSETS, MAX_ID, Control, Fault, Steering, problem
from gateway.simulator.limits import Limits, Pair
from gateway.simulator.page import page
from gateway.simulator.push import Handler, Pusher
from gateway.simulator.render import render, render_error
from gateway.simulator.world import World, is_phone, one_spelling

_MEDIA = ("text/plain", "text/plain", "text/xml", "application/json")
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


class _Query(NamedTuple):
    """A request, read."""

    pairs: list[Pair]
    mass: bool
    delete: bool


class _Asked(NamedTuple):
    """The form of the answer."""

    fmt: int
    all: int
    charset: str

    @classmethod
    def of(cls, form: Mapping[str, str]) -> "_Asked":
        charset = form.get("charset", "").lower()
        return cls(
            _choice(form.get("fmt"), "0123"),
            _choice(form.get("all"), "012"),
            charset if charset in CHARSETS else CHARSETS[0],
        )

    def changed_by(self, fault: Fault | None) -> "_Asked":
        if fault is not None and fault.kind == "format":
            return self._replace(fmt=fault.value)
        if fault is not None and fault.kind == "charset":
            return self._replace(charset=fault.value)
        return self


class _Account(NamedTuple):
    """The one account there is."""

    name: str
    password: str
    apikey: str

    def login(self, form: Mapping[str, str]) -> str | None:
        """Whose request this is, None: error 2; the password may come as its lower-case md5."""
        md5 = hashlib.md5(self.password.encode(), usedforsecurity=False).hexdigest()
        if form.get("apikey") == self.apikey:
            return self.name
        if form.get("login") == self.name and form.get("psw") in {self.password, md5}:
            return self.name
        return None


class _Simulator:
    def __init__(
        self,
        world: World,
        limits: Limits,
        sleep: Callable[[float], Awaitable[None]],
        account: _Account,
        echo: Callable[[str], None] | None,
    ) -> None:
        self.world = world
        self.limits = limits
        self.sleep = sleep
        self.account = account
        self.echo = echo
        self.steering = Steering()

    async def status(self, request: Request) -> Response:
        body = (await request.body()).decode("latin-1")
        form = dict(request.query_params) | dict(parse_qsl(body))
        asked = _Asked.of(form)
        login = self.account.login(form)
        query = _read(form)
        limit = None
        if login:
            pairs, mass = (query.pairs, query.mass) if query else ([], False)
            limit = self.limits.admit(login, pairs, mass=mass)
        try:
            fault = self.steering.next_fault()
            delay = self.steering.latency
            if fault is not None and fault.kind == "hang":
                delay += fault.value
            if not await self._waited(request, delay):
                self._note(request, query, asked, "caller gone")
                return Response()
            told = asked.changed_by(fault)
            answer, outcome = self._answer(login, query, limit, fault, told)
            self._note(request, query, asked, outcome)
            return _faulty(fault, answer, told.fmt)
        finally:
            if login:
                self.limits.leave(login)

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

    def _answer(
        self,
        login: str | None,
        query: _Query | None,
        limit: str | None,
        fault: Fault | None,
        told: _Asked,
    ) -> tuple[bytes, str]:
        """The body, and what the log says of it."""
        number, why = 0, f", {fault.kind}" if fault else ""
        if not login:
            number = 2
        elif limit:
            number, why = 9, f" ({limit})"
        elif query is None:
            number = 1
        elif fault is not None and fault.kind == "error":
            number = fault.value
        elif query.delete:
            deleted = [self.world.delete(phone, id_) for phone, id_ in query.pairs]
            if any(deleted):
                return b"OK", f"deleted{why}"
            number = 5
        if number or query is None:
            body = render_error(number, fmt=told.fmt, charset=told.charset)
            return body, f"error {number}{why}"
        reports = [self.world.look(phone, id_) for phone, id_ in query.pairs]
        body = render(reports, fmt=told.fmt, all=told.all, many=query.mass, charset=told.charset)
        return body, f"ok{why}"

    def _note(self, request: Request, query: _Query | None, asked: _Asked, outcome: str) -> None:
        """Keep and print what was asked: no phone, no credentials."""
        count, mass = (len(query.pairs), query.mass) if query else (0, False)
        self.steering.counts["requests"] += 1
        self.steering.counts["mass" if mass else "singles"] += 1
        at = datetime.fromtimestamp(self.world.clock()).astimezone()
        self.steering.log.append(
            {
                "at": at.isoformat(timespec="milliseconds"),
                "method": request.method,
                "via": "query" if request.query_params else "form",
                "mass": mass,
                "pairs": count,
                **asked._asdict(),
                "outcome": outcome,
            }
        )
        if self.echo:
            kind = "mass  " if mass else "single"
            pairs = f"{count} message{'' if count == 1 else 's'}"
            self.echo(f"{at:%H:%M:%S} {kind} fmt={asked.fmt} all={asked.all} {pairs} -> {outcome}")

    async def landing(self, request: Request) -> Response:
        name, password, apikey = self.account
        base = str(request.base_url)
        return HTMLResponse(
            page(self.world, base=base, login=name, password=password, apikey=apikey)
        )


def create_simulator(
    world: World,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    login: str = "demo",
    password: str = "demo",  # noqa: S107 - of the simulated account
    apikey: str = "demo-key",
    limits: Limits | None = None,
    handler: Handler | None = None,
    echo: Callable[[str], None] | None = None,
) -> Starlette:
    """Build the server. `echo` gets a line for each request, without phones or credentials.

    `handler` is told each change of a status while the server's lifespan lasts.
    """
    limits = limits or Limits(monotonic)
    simulator = _Simulator(world, limits, sleep, _Account(login, password, apikey), echo)
    pusher = Pusher(world, handler, sleep, echo) if handler else None

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with pusher.running() if pusher else nullcontext():
            yield

    return Starlette(
        routes=[
            Route("/", simulator.landing),
            Route("/sys/status.php", simulator.status, methods=["GET", "POST"]),
            *Control(world, limits, simulator.steering, pusher).routes(),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: problem},
    )


def _choice(text: str | None, digits: str) -> int:
    """A number the page knows, else its default 0."""
    return int(text) if text and len(text) == 1 and text in digits else 0


def _read(form: Mapping[str, str]) -> _Query | None:
    """Phone i belongs to id i; a comma anywhere, also at the end, makes a list.

    A list of one counts as a mass request: the page does not say, and this is the stricter way.
    None: error 1.
    """
    raw_phones, raw_ids = form.get("phone", ""), form.get("id", "")
    phones, ids = _items(raw_phones), _items(raw_ids)
    if len(ids) != len(phones):
        return None
    # More digits than these may be too many for int().
    if not all(i.isascii() and i.isdigit() and len(i) <= len(str(MAX_ID)) for i in ids):
        return None
    phones = [one_spelling(phone) for phone in phones]
    pairs = [(phone, int(id_)) for phone, id_ in zip(phones, ids, strict=True)]
    if not all(is_phone(phone) and 0 < id_ <= MAX_ID for phone, id_ in pairs):
        return None
    return _Query(pairs, "," in raw_ids or "," in raw_phones, form.get("del") == "1")


def _items(text: str) -> list[str]:
    """What stands between the commas; one may follow the last item."""
    return [part.strip() for part in text.strip().removesuffix(",").split(",")]


def _faulty(fault: Fault | None, body: bytes, fmt: int) -> Response:
    status, media = 200, _MEDIA[fmt]
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
        case _:
            pass
    # The recorded server names this charset whichever was asked for.
    return Response(body, status, {"content-type": f"{media}; charset=windows-1251"})
