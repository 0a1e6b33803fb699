"""Following a record: server-sent events, and long polling by `Prefer: wait` (RFC 7240).

An event's id names what it tells. Who comes again with it (`Last-Event-ID`) is told nothing that he
knows already; if that was the final state, he gets a 204, which keeps a browser from coming again.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace
from starlette.types import Receive, Scope, Send

from gateway.callers.model import hidden_fields
from gateway.errors import GatewayError, InvalidArgument
from gateway.memo import memoize_header
from gateway.model.freshness import Answer, CacheEntry
from gateway.model.records import Record
from gateway.service import at_least_standard, mismatch
from gateway.wakeups import Signal
from gateway.watch import Content, Event, Following, Watches
from gateway.web.http import sse
from gateway.web.http.auth import caller_of
from gateway.web.http.caching import matches_state
from gateway.web.http.headers import named_headers
from gateway.web.http.methods import check_accept
from gateway.web.http.problems import told
from gateway.web.http.reply import Reply
from gateway.web.http.state import who
from gateway.web.projection import Projection
from gateway.web.rest.address import RecordUrl, read_url

if TYPE_CHECKING:
    from gateway.web.http.state import State

T = TypeVar("T")
U = TypeVar("U")

EVENTS = "text/event-stream"

LONGEST_WAIT = 60
"""Seconds that `Prefer: wait` may ask for: proxies give up what is silent for longer."""

_WAIT = re.compile(rb'(?:^|[,;])\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?=[,;]|$)', re.IGNORECASE)


class EventsEndpoint:
    """The endpoint that tells of one record of a kind."""

    def __init__(self, kind: type[Record]) -> None:
        self._kind = kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Reply | None:
        headers = named_headers(scope)
        check_accept(headers.get(b"accept"), EVENTS)
        caller = caller_of(scope)
        asked = read_url(
            self._kind, scope["path_params"]["id"], scope["query_string"], hidden_fields(caller)
        )
        if asked.history:
            raise InvalidArgument("history is not told in events: ask for the record itself.")
        state: State = scope["state"]
        service, watches = state["service"], state["watches"]
        entry = service.peek(asked.key)
        if entry is None and await service.recall([asked.key]):
            entry = service.peek(asked.key)
        reader = _reader(asked, entry, who(scope, caller))
        if entry is not None and entry.certain and entry.record is not None:
            _check_kind(entry.record, self._kind)
        seen = headers.get(b"last-event-id", b"")
        if seen and watches.is_over(asked.key, reader):
            last = watches.latest(asked.key, reader.detail)
            if isinstance(last, Answer) and asked.projection.tag(last).event == seen:
                return Reply(204, [(b"cache-control", b"no-store")])
        with state["callers"].quota.stream(caller):
            if scope["method"] == "HEAD":
                await sse.head()(scope, receive, send)
            else:
                await sse.stream(_events(scope, asked, reader, seen), receive, send)
        return None


async def _events(
    scope: Scope, asked: RecordUrl, reader: Following, seen: bytes
) -> AsyncGenerator[bytes, None]:
    state: State = scope["state"]
    watches, path, signal = state["watches"], scope["path"], Signal()
    keep_alive = sse.KeepAlive(
        caller_of(scope), state["callers"], state["clock"], watches.wakeups, signal
    )
    events = watches.events(asked.key, reader, signal)
    head = sse.RETRY
    try:
        with keep_alive:
            async for event in events:
                text = head
                if event is not None:
                    id_, news = _written(event, asked, path)
                    if id_ is None or id_ != seen:
                        seen = id_ or seen
                        text += news
                if text := keep_alive.filled(text):
                    head = b""
                    yield text
    except GatewayError as error:
        yield head + sse.event("problem", told(path, error))
        return
    finally:
        await events.aclose()
    if not watches.ended or watches.is_over(asked.key, reader):  # else the gateway stops
        yield sse.event("end", b"{}")


def _written(event: Event, asked: RecordUrl, path: str) -> tuple[bytes | None, bytes]:
    """The event's id, and all of it; what tells of trouble has no id. Raises `KindMismatch`."""
    content = event.content
    if isinstance(content, GatewayError):
        return None, sse.event("problem", told(path, content))
    _check_kind(content.record, asked.kind)
    return event.once(_with_id, asked.projection)


def _with_id(content: Content, projection: Projection) -> tuple[bytes, bytes]:
    assert isinstance(content, Answer)  # noqa: S101 - there are no others that have an id
    id_ = projection.tag(content).event
    return id_, sse.event("status", projection.write(content), id_=id_)


@memoize_header(256)
def seconds_to_wait(prefer: bytes) -> int:
    """The preference `wait` in a header `Prefer`; 0 for none."""
    found = _WAIT.search(prefer)
    return min(int(found[1]), LONGEST_WAIT) if found else 0


def is_news(
    projection: Projection, answer: Answer, entry: CacheEntry | None, if_none_match: bytes | None
) -> bool:
    """Is its state another than the one the caller has (`if_none_match`)?

    Where he does not say, it is compared with what was `entry` before he came.
    """
    state = projection.tag(answer).state
    if if_none_match is not None:
        return not matches_state(if_none_match, state)
    if entry is None or not isinstance(entry.record, type(answer.record)):
        return True
    return projection.tag(replace(answer, entry=entry)).state != state


async def awaited(
    scope: Scope, receive: Receive, asked: RecordUrl, answer: Answer, seconds: int
) -> Answer:
    """The next answer with another state, or after the time the newest there is.

    With `until`, states on the way there end no waiting. Raises what keeps the record from being
    found meanwhile.
    """
    state: State = scope["state"]
    before = asked.projection.tag(answer).state
    reader = _reader(asked, state["service"].peek(asked.key), who(scope, caller_of(scope)))
    coming = _next(state["watches"], asked, reader, before)

    def newest() -> Answer | GatewayError | None:
        return state["watches"].latest(asked.key, reader.detail)

    found = await first_of(scope, receive, coming, seconds, newest)
    if isinstance(found, GatewayError):
        raise found
    return found or answer


async def first_of(
    scope: Scope,
    receive: Receive,
    coming: Coroutine[Any, Any, T],
    seconds: float,
    otherwise: Callable[[], U],
) -> T | U:
    """What comes within so many seconds, else something else; counted as a stream.

    It is not waited for any longer when the caller has left, and raises what a caller is told who
    has lost the key meanwhile.
    """
    state: State = scope["state"]
    callers, caller = state["callers"], caller_of(scope)
    with callers.quota.stream(caller), callers.held(caller) as held:
        change = asyncio.ensure_future(coming)
        pause = asyncio.ensure_future(state["clock"].sleep(seconds))
        gone = asyncio.ensure_future(_gone(receive))
        waited_for: set[asyncio.Future[Any]] = {change, pause, gone, held.lost}
        try:
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            if held.lost.done():
                raise callers.refusal(caller, state["clock"].time())
            return change.result() if change.done() else otherwise()
        finally:
            for task in waited_for:
                task.cancel()
            await asyncio.wait(waited_for)


async def _next(
    watches: Watches, asked: RecordUrl, reader: Following, before: bytes
) -> Answer | None:
    last = None
    async with aclosing(watches.follow(asked.key, reader)) as events:
        async for event in events:
            if isinstance(event, GatewayError):
                raise event
            _check_kind(event.record, asked.kind)
            if reader.until is not None:
                last = event
            elif asked.projection.tag(event).state != before:
                return event
    return last


async def _gone(receive: Receive) -> None:
    """Returns when the caller has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _reader(asked: RecordUrl, entry: CacheEntry | None, caller: str) -> Following:
    """Who follows. The level has to show the kind, where that is not known for certain."""
    is_certain = entry is not None and entry.record is not None and entry.certain
    detail = asked.detail if is_certain else at_least_standard(asked.detail)
    return Following(detail, caller, asked.until, asked.query.content)


def _check_kind(record: Record, kind: type[Record]) -> None:
    if not isinstance(record, kind):
        raise mismatch(record)
