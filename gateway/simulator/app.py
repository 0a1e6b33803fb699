"""The server: `/sys/status.php` as the provider has it, `/control/…` to steer it, `/` to look."""

import asyncio
import hashlib
import html
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from gateway.simulator import samples
from gateway.simulator.limits import Limits, Pair
from gateway.simulator.model import Report
from gateway.simulator.render import JSON, render, render_error
from gateway.simulator.world import Change, World

MAX_ID = 2_147_483_647
LOG_LENGTH = 1000
_HANG = 3600.0
_CHARSETS = {"utf-8": "utf-8", "koi8-r": "koi8-r"}
_MEDIA = ("text/plain", "text/plain", "text/xml", "application/json")
_FAULTS = frozenset(
    {"html", "empty", "comma", "cut", "hang", "status", "format", "charset", "error"}
)
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


class _Query(NamedTuple):
    """A request, read."""

    pairs: list[Pair]
    mass: bool
    delete: bool


@dataclass(slots=True)
class _Fault:
    """Something that goes wrong `times` more times; -1: until it is cleared."""

    kind: str
    times: int = 1
    value: Any = None


class _Asked(NamedTuple):
    """The form of the answer."""

    fmt: int
    all: int
    charset: str

    @classmethod
    def of(cls, form: Mapping[str, str]) -> "_Asked":
        charset = _CHARSETS.get(form.get("charset", "").lower(), "windows-1251")
        return cls(_choice(form.get("fmt"), range(4)), _choice(form.get("all"), range(3)), charset)

    def changed_by(self, fault: _Fault | None) -> "_Asked":
        if fault is not None and fault.kind == "format":
            return self._replace(fmt=int(fault.value or 0))
        if fault is not None and fault.kind == "charset":
            return self._replace(charset=str(fault.value or "windows-1251"))
        return self


@dataclass(slots=True)
class _Steering:
    """What the control addresses change and show."""

    faults: list[_Fault] = field(default_factory=list)
    latency: float = 0.0
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=LOG_LENGTH))
    counts: Counter[str] = field(default_factory=Counter)

    def next_fault(self) -> _Fault | None:
        if not self.faults:
            return None
        fault = self.faults[0]
        if fault.times > 0:
            fault.times -= 1
            if not fault.times:
                self.faults.pop(0)
        return fault


class _Simulator:
    def __init__(
        self,
        world: World,
        limits: Limits,
        sleep: Callable[[float], Awaitable[None]],
        accounts: "_Accounts",
        echo: Callable[[str], None] | None,
    ) -> None:
        self.world = world
        self.limits = limits
        self.sleep = sleep
        self.accounts = accounts
        self.echo = echo
        self.steering = _Steering()

    async def status(self, request: Request) -> Response:
        body = (await request.body()).decode("latin-1")
        form = dict(request.query_params) | dict(parse_qsl(body))
        asked = _Asked.of(form)
        login = self.accounts.login(form)
        query = _read(form)
        limit = None
        if login:
            pairs, mass = (query.pairs, query.mass) if query else ([], False)
            limit = self.limits.admit(login, pairs, mass=mass)
        try:
            fault = self.steering.next_fault()
            await self.sleep(self.steering.latency)
            if fault is not None and fault.kind == "hang":
                await self.sleep(float(fault.value or _HANG))
            asked = asked.changed_by(fault)
            answer, outcome = self._answer(login, query, limit, fault, asked)
            self._note(request, query, asked, outcome)
            return _faulty(fault, answer, asked.fmt)
        finally:
            if login:
                self.limits.leave(login)

    def _answer(
        self,
        login: str | None,
        query: _Query | None,
        limit: str | None,
        fault: _Fault | None,
        asked: _Asked,
    ) -> tuple[bytes, str]:
        """The body, and what the log says of it."""
        number, why = None, ""
        if fault is not None:
            why = f", {fault.kind}"
            number = int(fault.value or 9) if fault.kind == "error" else None
        if not login:
            number = 2
        elif limit:
            number, why = 9, f" ({limit})"
        elif query is None:
            number = 1
        elif query.delete and number is None:
            deleted = [self.world.delete(phone, id_) for phone, id_ in query.pairs]
            if any(deleted):
                return b"OK", "deleted"
            number = 5
        if number is not None or query is None:
            number = number or 1
            body = render_error(number, fmt=asked.fmt, charset=asked.charset)
            return body, f"error {number}{why}"
        reports = [self.world.look(phone, id_) for phone, id_ in query.pairs]
        body = render(reports, fmt=asked.fmt, all=asked.all, many=query.mass, charset=asked.charset)
        return body, f"ok{why}"

    def _note(self, request: Request, query: _Query | None, asked: _Asked, outcome: str) -> None:
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

    async def get_log(self, _: Request) -> Response:
        return JSONResponse(list(self.steering.log))

    async def get_stats(self, _: Request) -> Response:
        return JSONResponse(
            {
                "requests": self.steering.counts["requests"],
                "singles": self.steering.counts["singles"],
                "mass": self.steering.counts["mass"],
                "admitted": self.limits.admitted,
                "breaches": self.limits.refused.total(),
                "breachesByLimit": dict(self.limits.refused),
                "highestConcurrency": self.limits.highest_concurrency,
            }
        )

    async def post_message(self, request: Request) -> Response:
        body = await _json(request)
        timeline = body.pop("timeline", [])
        known = {f.name for f in fields(Report)}
        if unknown := sorted(set(body) - known):
            raise HTTPException(400, f"{unknown[0]!r} is no field of a message")
        try:
            report = Report(**body)
            changes = [Change(float(c.pop("after")), dict(c)) for c in map(dict, timeline)]
        except (TypeError, ValueError, KeyError) as error:
            raise HTTPException(400, "id, phone and status are needed; a change needs after") from (
                error
            )
        self.world.add(report, changes)
        return JSONResponse(asdict(report), 201)

    async def post_fault(self, request: Request) -> Response:
        body = await _json(request)
        if body.get("kind") not in _FAULTS:
            raise HTTPException(400, f"kind must be one of {', '.join(sorted(_FAULTS))}")
        fault = _Fault(body["kind"], int(body.get("times", 1)), body.get("value"))
        self.steering.faults.append(fault)
        return JSONResponse(asdict(fault), 201)

    async def delete_fault(self, _: Request) -> Response:
        self.steering.faults.clear()
        return Response(status_code=204)

    async def post_latency(self, request: Request) -> Response:
        self.steering.latency = float((await _json(request)).get("seconds", 0))
        return Response(status_code=204)

    async def post_reset(self, _: Request) -> Response:
        """Back to the samples: nothing asked, nothing broken."""
        self.world.clear()
        samples.fill(self.world)
        self.limits.reset()
        self.steering = _Steering()
        return Response(status_code=204)

    async def landing(self, request: Request) -> Response:
        return HTMLResponse(_page(self.world, str(request.base_url)))


class _Accounts(NamedTuple):
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


def create_simulator(
    world: World,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    login: str = "demo",
    password: str = "demo",  # noqa: S107 - of the simulated account
    apikey: str = "demo-key",
    limits: Limits | None = None,
    echo: Callable[[str], None] | None = None,
) -> Starlette:
    """Build the server. `echo` gets a line for each request, without phones or credentials."""
    simulator = _Simulator(
        world, limits or Limits(monotonic), sleep, _Accounts(login, password, apikey), echo
    )
    return Starlette(
        routes=[
            Route("/", simulator.landing),
            Route("/sys/status.php", simulator.status, methods=["GET", "POST"]),
            Route("/control/log", simulator.get_log),
            Route("/control/stats", simulator.get_stats),
            Route("/control/messages", simulator.post_message, methods=["POST"]),
            Route("/control/fault", simulator.post_fault, methods=["POST"]),
            Route("/control/fault", simulator.delete_fault, methods=["DELETE"]),
            Route("/control/latency", simulator.post_latency, methods=["POST"]),
            Route("/control/reset", simulator.post_reset, methods=["POST"]),
        ]
    )


def _choice(value: object, allowed: range) -> int:
    """A number the page knows, else its default 0."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and int(text) in allowed else 0


def _read(form: Mapping[str, str]) -> _Query | None:
    """Phone i belongs to id i; a comma anywhere, also at the end, makes a list.

    A list of one counts as a mass request: the page does not say, and this is the stricter way.
    None: error 1.
    """
    raw_phones, raw_ids = form.get("phone", ""), form.get("id", "")
    phones = [part.strip() for part in raw_phones.split(",") if part.strip()]
    ids = [part.strip() for part in raw_ids.split(",") if part.strip()]
    if not ids or len(ids) != len(phones):
        return None
    if not all(i.isascii() and i.isdigit() and 0 < int(i) <= MAX_ID for i in ids):
        return None
    if not all(_is_phone(phone) for phone in phones):
        return None
    pairs = [(phone, int(id_)) for phone, id_ in zip(phones, ids, strict=True)]
    return _Query(pairs, "," in raw_ids or "," in raw_phones, form.get("del") == "1")


def _is_phone(phone: str) -> bool:
    return "@" in phone or phone.lstrip("+").isdigit()


def _faulty(fault: _Fault | None, body: bytes, fmt: int) -> Response:
    status, media = 200, _MEDIA[fmt]
    if fault is not None:
        match fault.kind:
            case "html":
                body, media = _HTML, "text/html"
            case "empty":
                body = b""
            case "comma":
                body = b","
            case "cut":
                body = body[: len(body) // 2]
            case "status":
                status = int(fault.value or 503)
                body, media = _HTML, "text/html"
            case _:
                pass
    # The recorded server names this charset whichever was asked for.
    return Response(body, status, {"content-type": f"{media}; charset=windows-1251"})


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return body


def _page(world: World, base: str) -> str:
    rows = "".join(
        f"<tr><td>{report.id}<td>{html.escape(report.phone)}"
        f"<td>{'HLR lookup' if report.is_lookup else 'message'}"
        f"<td>{report.status}<td>{html.escape(report.status_name or '')}<td>{report.err}"
        for report in world.reports()
    )
    example = render(
        [world.look(samples.MESSAGE.phone, samples.MESSAGE.id)],
        fmt=JSON,
        all=0,
        many=False,
        charset="utf-8",
    ).decode()
    return f"""<!doctype html>
<meta charset="utf-8"><title>SMSC simulator</title>
<style>body{{font:16px/1.5 system-ui;margin:2rem auto;max-width:50rem}}td{{padding:0 1rem 0 0}}
pre{{background:#f4f4f4;padding:1rem;overflow:auto}}</style>
<h1>A simulated SMSC</h1>
<p>Behaves as the provider's page says, limits included. Login <b>demo</b>, password <b>demo</b>,
or API key <b>demo-key</b>.
<pre>curl {base}sys/status.php -d 'login=demo&amp;psw=demo&amp;phone=79990000001&amp;id=1&amp;fmt=3'
{html.escape(example)}</pre>
<p>Steer it by JSON: <code>POST control/messages</code>, <code>control/fault</code>,
<code>control/latency</code>, <code>control/reset</code>; look at <a href="control/stats">stats</a>
and <a href="control/log">log</a>.
<table><tr><th>id<th>phone<th>kind<th>status<th>name<th>err{rows}</table>
"""
