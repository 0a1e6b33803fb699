"""The control API (`/control/…`, JSON): messages, faults, latency, balance, request log."""

from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from json import loads
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.simulator import samples
from gateway.simulator.checks import MAX_SECONDS, bad, is_duration, is_number, is_text, is_whole
from gateway.simulator.faults import Fault, read_fault
from gateway.simulator.form import read_body
from gateway.simulator.limits import Limits
from gateway.simulator.messages import FIELDS, read_message, told
from gateway.simulator.model import MAX_ID
from gateway.simulator.push import Pusher
from gateway.simulator.sending import Desk
from gateway.simulator.sites import guarded
from gateway.simulator.world import World

LOG_LENGTH = 1000
_MAX_PUSHES = 100
_MAX_BALANCE = 10**9


@dataclass(slots=True)
class Steering:
    """What the control addresses change and show."""

    faults: list[Fault] = field(default_factory=list)
    latency: float = 0.0
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=LOG_LENGTH))
    counts: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)

    def next_fault(self, call: str) -> Fault | None:
        fault = next((fault for fault in self.faults if fault.call == call), None)
        if fault is not None and fault.times > 0:
            fault.times -= 1
            if not fault.times:
                self.faults.remove(fault)
        return fault

    def reset(self) -> None:
        self.faults.clear()
        self.latency = 0.0
        self.log.clear()
        self.counts.clear()
        self.calls.clear()


class Control:
    """The control addresses."""

    def __init__(
        self, world: World, limits: Limits, desk: Desk, steering: Steering, pusher: Pusher | None
    ) -> None:
        self._world = world
        self._limits = limits
        self._desk = desk
        self._steering = steering
        self._pusher = pusher

    def routes(self, *, is_local: bool) -> list[Route]:
        endpoints = (
            ("GET", "log", self.get_log),
            ("GET", "stats", self.get_stats),
            ("POST", "messages", self.post_message),
            ("POST", "fault", self.post_fault),
            ("DELETE", "fault", self.delete_fault),
            ("POST", "latency", self.post_latency),
            ("POST", "balance", self.post_balance),
            ("POST", "push", self.post_push),
            ("POST", "reset", self.post_reset),
        )
        return [
            Route(f"/control/{path}", guarded(endpoint, is_local=is_local), methods=[method])
            for method, path, endpoint in endpoints
        ]

    async def get_log(self, _: Request) -> Response:
        return JSONResponse(list(self._steering.log))

    async def get_stats(self, _: Request) -> Response:
        """How often it was asked: for statuses, what the limits made of it, and by each call."""
        return JSONResponse(
            {
                "requests": self._steering.counts["requests"],
                "singles": self._steering.counts["singles"],
                "mass": self._steering.counts["mass"],
                "calls": dict(self._steering.calls),
                "admitted": self._limits.admitted,
                "breaches": self._limits.refused.total(),
                "breachesByLimit": dict(self._limits.refused),
                "highestConcurrency": self._limits.highest_concurrency,
            }
        )

    async def post_message(self, request: Request) -> Response:
        body = await _json(request)
        try:
            report, changes = read_message(body, int(self._world.clock()))
        except HTTPException as error:
            return _problem_response(error, fields=FIELDS)
        self._world.add(report, changes)
        return JSONResponse(told(self._world.look(report.phone, report.id)), 201)

    async def post_fault(self, request: Request) -> Response:
        fault = read_fault(await _json(request))
        self._steering.faults.append(fault)
        return JSONResponse(asdict(fault), 201)

    async def delete_fault(self, _: Request) -> Response:
        self._steering.faults.clear()
        return Response(status_code=204)

    async def post_latency(self, request: Request) -> Response:
        seconds: Any = (await _json(request)).get("seconds")
        if not is_duration(seconds):
            raise bad(f"seconds must be a number from 0 to {MAX_SECONDS:.0f}")
        self._steering.latency = float(seconds)
        return Response(status_code=204)

    async def post_balance(self, request: Request) -> Response:
        amount: Any = (await _json(request)).get("amount")
        if not is_number(amount, 0, _MAX_BALANCE):
            raise bad(f"amount must be a number from 0 to {_MAX_BALANCE}")
        self._desk.balance = round(amount * 100)
        return Response(status_code=204)

    async def post_push(self, request: Request) -> Response:
        """Push a message's report now: so many `times`, as of `ago` seconds, with `fields` changed.

        What is changed is signed, unless it is a signature; so a push can be repeated, late,
        spelled otherwise, or forged. The answer tells how the handler answered each.
        """
        if self._pusher is None:
            raise HTTPException(409, "nobody to push to: start the simulator with --callback")
        body = await _json(request)
        id_: Any = body.get("id")
        phone: Any = body.get("phone")
        times, ago, fields = body.get("times", 1), body.get("ago", 0), body.get("fields", {})
        if not is_whole(id_, 1, MAX_ID) or not is_text(phone):
            raise bad("a push needs the id and phone of a message")
        if not is_whole(times, 1, _MAX_PUSHES):
            raise bad(f"times must be a number from 1 to {_MAX_PUSHES}")
        if not is_duration(ago):
            raise bad(f"ago must be seconds from 0 to {MAX_SECONDS:.0f}")
        if not isinstance(fields, dict) or not all(map(is_text, fields.values())):
            raise bad("fields must be an object of strings")
        report = self._world.looked_back(phone, id_, ago)
        return JSONResponse([await self._pusher.send(report, fields) for _ in range(times)])

    async def post_reset(self, _: Request) -> Response:
        """Back to the samples: nothing asked, nothing broken."""
        self._world.clear()
        samples.fill(self._world)
        self._limits.reset()
        self._desk.reset()
        self._steering.reset()
        return Response(status_code=204)


async def problem(_: Request, error: Exception) -> Response:
    """An HTTP error as a problem document (RFC 9457)."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for this class only
    return _problem_response(error)


def _problem_response(error: HTTPException, **more: object) -> Response:
    title = HTTPStatus(error.status_code).phrase
    body = {"title": title, "status": error.status_code, "detail": error.detail, **more}
    return JSONResponse(body, error.status_code, error.headers, "application/problem+json")


async def _json(request: Request) -> dict[str, Any]:
    text = await read_body(request)
    try:
        body = loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise bad("the body must be a JSON object")
    return body
