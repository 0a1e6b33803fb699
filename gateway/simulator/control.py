"""What steers the simulator and shows what it was asked: `/control/…`, JSON in and out."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.simulator import samples
from gateway.simulator.limits import Limits
from gateway.simulator.model import Report
from gateway.simulator.push import Pusher
from gateway.simulator.world import Change, World, is_phone, one_spelling

MAX_ID = 2_147_483_647
"""The largest id of the provider's own libraries."""

LOG_LENGTH = 1000
CHARSETS = ("windows-1251", "utf-8", "koi8-r")

_MAX_MOMENT = 2**32
_MAX_SECONDS = 86_400.0
_MAX_TIMES = 1_000_000
_MAX_PUSHES = 100
_INTEGERS = frozenset({"id", "status", "last", "flag", "err", "sent", "type", "sms_cnt"})
_NEEDED = ("id", "phone", "status")
_FIELDS = frozenset(f.name for f in fields(Report))


@dataclass(slots=True)
class Fault:
    """Something that goes wrong `times` more times; -1: until it is cleared."""

    kind: str
    times: int
    value: Any


@dataclass(slots=True)
class Steering:
    """What the control addresses change and show."""

    faults: list[Fault] = field(default_factory=list)
    latency: float = 0.0
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=LOG_LENGTH))
    counts: Counter[str] = field(default_factory=Counter)

    def next_fault(self) -> Fault | None:
        if not self.faults:
            return None
        fault = self.faults[0]
        if fault.times > 0:
            fault.times -= 1
            if not fault.times:
                self.faults.pop(0)
        return fault

    def reset(self) -> None:
        self.faults.clear()
        self.latency = 0.0
        self.log.clear()
        self.counts.clear()


class Control:
    """The control addresses."""

    def __init__(
        self, world: World, limits: Limits, steering: Steering, pusher: Pusher | None
    ) -> None:
        self._world = world
        self._limits = limits
        self._steering = steering
        self._pusher = pusher

    def routes(self) -> list[Route]:
        return [
            Route("/control/log", self.get_log),
            Route("/control/stats", self.get_stats),
            Route("/control/messages", self.post_message, methods=["POST"]),
            Route("/control/fault", self.post_fault, methods=["POST"]),
            Route("/control/fault", self.delete_fault, methods=["DELETE"]),
            Route("/control/latency", self.post_latency, methods=["POST"]),
            Route("/control/push", self.post_push, methods=["POST"]),
            Route("/control/reset", self.post_reset, methods=["POST"]),
        ]

    async def get_log(self, _: Request) -> Response:
        return JSONResponse(list(self._steering.log))

    async def get_stats(self, _: Request) -> Response:
        return JSONResponse(
            {
                "requests": self._steering.counts["requests"],
                "singles": self._steering.counts["singles"],
                "mass": self._steering.counts["mass"],
                "admitted": self._limits.admitted,
                "breaches": self._limits.refused.total(),
                "breachesByLimit": dict(self._limits.refused),
                "highestConcurrency": self._limits.highest_concurrency,
            }
        )

    async def post_message(self, request: Request) -> Response:
        body = await _json(request)
        changes = _timeline(body.pop("timeline", []))
        report = _report(body)
        self._world.add(report, changes)
        return JSONResponse(asdict(self._world.look(report.phone, report.id)), 201)

    async def post_fault(self, request: Request) -> Response:
        fault = _fault(await _json(request))
        self._steering.faults.append(fault)
        return JSONResponse(asdict(fault), 201)

    async def delete_fault(self, _: Request) -> Response:
        self._steering.faults.clear()
        return Response(status_code=204)

    async def post_latency(self, request: Request) -> Response:
        seconds: Any = (await _json(request)).get("seconds")
        if not _is_duration(seconds):
            raise _bad(f"seconds must be a number from 0 to {_MAX_SECONDS:.0f}")
        self._steering.latency = float(seconds)
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
        if not _is_whole(id_, 1, MAX_ID) or not _is_text(phone):
            raise _bad("a push needs the id and phone of a message")
        if not _is_whole(times, 1, _MAX_PUSHES):
            raise _bad(f"times must be a number from 1 to {_MAX_PUSHES}")
        if not _is_duration(ago):
            raise _bad(f"ago must be seconds from 0 to {_MAX_SECONDS:.0f}")
        if not isinstance(fields, dict) or not all(map(_is_text, fields.values())):
            raise _bad("fields must be an object of strings")
        report = self._world.looked_back(phone, id_, ago)
        return JSONResponse([await self._pusher.send(report, fields) for _ in range(times)])

    async def post_reset(self, _: Request) -> Response:
        """Back to the samples: nothing asked, nothing broken."""
        self._world.clear()
        samples.fill(self._world)
        self._limits.reset()
        self._steering.reset()
        return Response(status_code=204)


async def problem(_: Request, error: Exception) -> Response:
    """An HTTP error as a problem document (RFC 9457)."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for this class only
    title = HTTPStatus(error.status_code).phrase
    body = {"title": title, "status": error.status_code, "detail": error.detail}
    return JSONResponse(body, error.status_code, error.headers, "application/problem+json")


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise _bad("the body must be a JSON object")
    return body


def _report(body: dict[str, Any]) -> Report:
    for name in _NEEDED:
        if body.get(name) is None:
            raise _bad(f"{name} is needed")
    _check_fields(body)
    if not 0 < body["id"] <= MAX_ID:
        raise _bad(f"id must be from 1 to {MAX_ID}")
    if not is_phone(one_spelling(body["phone"])):
        raise _bad("phone must be digits or an e-mail address")
    return Report(**body)


def _timeline(timeline: object) -> list[Change]:
    if not isinstance(timeline, list):
        raise _bad("timeline must be a list of changes")
    changes = []
    for entry in timeline:
        if not isinstance(entry, dict) or not _is_duration(entry.get("after")):
            raise _bad(f"a change needs after, in seconds from 0 to {_MAX_SECONDS:.0f}")
        changed = {name: value for name, value in entry.items() if name != "after"}
        if not changed.keys().isdisjoint({"id", "phone"}):
            raise _bad("a message keeps its id and phone")
        if changed.get("status", 0) is None:
            raise _bad("status must be an integer")
        _check_fields(changed)
        changes.append(Change(float(entry["after"]), changed))
    return changes


def _check_fields(body: dict[str, Any]) -> None:
    for name, value in body.items():
        if name not in _FIELDS:
            raise _bad(f"{name!a} is no field of a message")
        if value is None:
            continue
        if name in {"last", "sent"} and not _is_whole(value, 0, _MAX_MOMENT):
            raise _bad(f"{name} must be Unix seconds")
        if name in _INTEGERS and not _is_whole(value, -_MAX_MOMENT, _MAX_MOMENT):
            raise _bad(f"{name} must be an integer")
        if name not in _INTEGERS and not _is_text(value):
            raise _bad(f"{name} must be a string")


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_status(value: object) -> bool:
    return _is_whole(value, 200, 599) and value not in {204, 205, 304}


def _is_duration(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 <= value <= _MAX_SECONDS  # false for NaN, which Python reads in JSON


def _is_text(value: object) -> bool:
    """Lone surrogates are JSON, but have no bytes in any charset."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def _bad(detail: str) -> HTTPException:
    return HTTPException(400, detail)


_VALUES: dict[str, tuple[object, Callable[[Any], bool], str]] = {
    "hang": (3600.0, _is_duration, "seconds"),
    "status": (503, _is_status, "an HTTP status that has a body"),
    "format": (0, lambda value: _is_whole(value, 0, 3), "a format from 0 to 3"),
    "charset": (CHARSETS[0], lambda value: value in CHARSETS, f"one of {', '.join(CHARSETS)}"),
    "error": (9, lambda value: _is_whole(value, 1, 999), "an error number of the provider"),
}
"""The value of a fault when none is given, what it may be, and that in words."""

FAULTS = ("html", "empty", "comma", "cut", *_VALUES)


def _fault(body: dict[str, Any]) -> Fault:
    kind, times, value = body.get("kind"), body.get("times", 1), body.get("value")
    if kind not in FAULTS:
        raise _bad(f"kind must be one of {', '.join(FAULTS)}")
    if times != -1 and not _is_whole(times, 1, _MAX_TIMES):
        raise _bad("times must be a number from 1, or -1: until cleared")
    if kind in _VALUES:
        default, is_fit, words = _VALUES[kind]
        value = default if value is None else value
        if not is_fit(value):
            raise _bad(f"the value of {kind} must be {words}")
    return Fault(kind, times, value)
