"""The feed of changes, `GET /v1/changes`: page by page, by long polling, or as server-sent events.

It reads the archive alone, and never asks the provider.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
from pydantic import Field
from starlette.types import Receive, Send
from starlette.types import Scope as Request

from gateway.archive.changes import (
    FILTERS,
    MOST,
    Edge,
    FeedChange,
    FeedPage,
    FeedPosition,
    cursor_of,
    position_of,
)
from gateway.archive.feed import Feed, FeedReader
from gateway.archive.filters import RecordFilter, read_filter
from gateway.archive.states import STATES
from gateway.callers.model import Caller, Scope, hidden_fields
from gateway.errors import GatewayError, InvalidArgument, shortened
from gateway.model.described import Model, RecordModel, model_of, twin
from gateway.model.freshness import Answer
from gateway.model.records import RecordId, RecordKind, StateChange
from gateway.service import StatusService
from gateway.wakeups import Signal
from gateway.web.http import sse
from gateway.web.http.auth import caller_of
from gateway.web.http.headers import named_headers
from gateway.web.http.methods import JSON, negotiated
from gateway.web.http.problems import told
from gateway.web.http.reply import Reply
from gateway.web.projection import pick_all, reader, to_json
from gateway.web.rest.address import check_names, number, one_of, parameters_of
from gateway.web.rest.fields import HISTORY, KINDS, FieldSet, shape_of
from gateway.web.rest.follow import EVENTS, LONGEST_WAIT, first_of
from gateway.web.rest.history import archive_for
from gateway.web.rest.listing import json_reply
from gateway.webhooks.address import CHANGED

if TYPE_CHECKING:
    from gateway.web.http.state import State

    _Change = Model
else:
    _Change = twin(StateChange)

DEFAULT_LIMIT: Final = 100

RECORD: Final = "record"
"""The member that is only there where `fields` names it."""


class ChangeEvent(_Change):
    """One change of a state, in the order of all changes."""

    cursor: str
    """What `after` takes to go on behind it."""
    id: RecordId
    """The id the provider gave, in decimal."""
    phone: str
    """The number in digits, or the e-mail address."""
    kind: RecordKind
    """What it is a change of."""
    record: RecordModel | None = Field(
        default=None, description="The record as it is known now; null where it can't be read."
    )


_ALWAYS: Final = ("cursor", "id", "phone", "kind")
CHANGE_MEMBERS: Final = frozenset(
    field.serialization_alias or field.alias or name
    for name, field in ChangeEvent.model_fields.items()
)
_READ: Final = reader(pick_all(StateChange))


class FeedUrl(NamedTuple):
    """A parsed URL of the feed. `members`: those that are told beside `_ALWAYS`; None: all.

    `shape`: what is told of the record; None: nothing is.
    """

    wanted: RecordFilter
    after: FeedPosition | Edge
    limit: int
    wait: int
    members: frozenset[str] | None
    shape: FieldSet | None

    def json(self, change: FeedChange, service: StatusService) -> bytes:
        """A change as it was asked for."""
        return _json(change, service, self.members, self.shape)


def _json(
    change: FeedChange,
    service: StatusService,
    members: frozenset[str] | None,
    shape: FieldSet | None,
) -> bytes:
    about = {
        "cursor": cursor_of(change.position),
        "id": str(change.key.id),
        "phone": change.key.phone,
        "kind": STATES[change.state].kind.kind,
    } | _READ(change.change)
    if members is not None:
        kept = members.union(_ALWAYS)
        about = {name: value for name, value in about.items() if name in kept}
    text = to_json(about)
    if shape is None:
        return text
    answer = newest(change, service)
    record = b"null" if answer is None else shape.alone.write_once(answer)
    return text[:-1] + b',"record":' + record + b"}"


def webhook_body(service: StatusService, account: str, change: FeedChange, client: Caller) -> bytes:
    """The body that tells a client's address of a change; a record as far as its scopes reach.

    Its `account` is told where there are several.
    """
    may_read = not client.scopes.isdisjoint({Scope.STATUS_READ, Scope.RECORD_LIST})
    shape = shape_of(KINDS, None, hidden_fields(client)) if may_read else None
    told = _json(change, service, None, shape)
    if account:
        told = b'{"account":' + to_json(account) + b"," + told[1:]
    at = to_json(change.change.at)
    return b'{"type":"%b","timestamp":%b,"data":%b}' % (CHANGED.encode(), at, told)


def newest(change: FeedChange, service: StatusService) -> Answer | None:
    """The record as it is known now: what is in memory may be newer than what was kept."""
    kept, known = change.entry, service.peek(change.key)
    if known is not None and known.record is not None:
        is_newer = kept is None or known.observed_at >= kept.observed_at
        kept = known if is_newer and known.record.key == change.key else kept
    return None if kept is None or kept.record is None else Answer(kept, service.now())


async def list_changes(scope: Request, receive: Receive, send: Send) -> Reply | None:
    """A page of changes as JSON, at once or when something comes; or all of them as events."""
    headers, caller = named_headers(scope), caller_of(scope)
    state: State = scope["state"]
    media = negotiated(headers.get(b"accept", b""), (JSON, EVENTS))
    feed = archive_for(caller, state["archive"]).feed
    asked = read_feed(parameters_of(scope["query_string"]), hidden_fields(caller))
    last = headers.get(b"last-event-id") if media == EVENTS else None
    after = position_of(last.decode("latin-1")) if last else asked.after
    reading = FeedReader(asked.wanted, after, Signal())
    page = await feed.page(reading, asked.limit)  # what is wrong is told before a stream begins
    if media == EVENTS:
        with state["callers"].quota.stream(caller):
            if scope["method"] == "HEAD":
                await sse.head()(scope, receive, send)
            else:
                await sse.stream(_events(scope, feed, reading, asked, page), receive, send)
        return None
    if not page.changes and asked.wait and scope["method"] != "HEAD":
        coming = _coming(feed, reading, asked.limit)
        page = await first_of(scope, receive, coming, asked.wait, lambda: _nothing(reading))
    changes = [asked.json(one, state["service"]) for one in page.changes]
    cursor = orjson.dumps(cursor_of(page.next))
    body = b'{"changes":[%b],"next":%b}' % (b",".join(changes), cursor)
    return await json_reply(scope, body, vary=b"accept, accept-encoding")


def _nothing(reading: FeedReader) -> FeedPage:
    assert isinstance(reading.position, FeedPosition)  # noqa: S101 - a page was read
    return FeedPage([], reading.position, is_end=True)


async def _coming(feed: Feed, reading: FeedReader, limit: int) -> FeedPage:
    """The next page that tells something, or what there is when the gateway stops."""
    with feed.reading(reading):
        while True:
            page = await feed.page(reading, limit)
            if page.changes or feed.ended:
                return page
            await reading.signal.wait()


async def _events(
    scope: Request, feed: Feed, reading: FeedReader, asked: FeedUrl, page: FeedPage
) -> AsyncGenerator[bytes, None]:
    """The changes as events. A heartbeat tells how far a reader is whom nothing was for."""
    state: State = scope["state"]
    keep_alive = sse.KeepAlive(
        caller_of(scope), state["callers"], state["clock"], feed.wakeups, reading.signal
    )
    text, told_to = sse.RETRY, page.next
    try:
        with keep_alive, feed.reading(reading):
            while not feed.ended:
                for one in page.changes:
                    id_ = cursor_of(one.position).encode()
                    text += sse.event("change", asked.json(one, state["service"]), id_=id_)
                if text := keep_alive.filled(text):
                    if text == sse.HEARTBEAT and page.next != told_to:
                        text = sse.position(cursor_of(page.next).encode())
                    told_to = page.next
                    yield text
                    text = b""
                page, was_empty = await feed.page(reading, asked.limit), not page.changes
                if not page.changes and was_empty:
                    await reading.signal.wait()
    except GatewayError as error:
        yield text + sse.event("problem", told(scope["path"], error))


def read_feed(given: Mapping[str, Sequence[str]], hidden: frozenset[str]) -> FeedUrl:
    """Read the parameters of the feed; raises `InvalidArgument` naming the one that is wrong."""
    check_names(given, FILTERS | {"after", "limit", "wait", "fields"})
    after = one_of(given, "after")
    members, shape = _fields(given.get("fields"), hidden)
    return FeedUrl(
        wanted=read_filter(given),
        after=Edge.OLDEST if after is None else position_of(after),
        limit=number(given, "limit", range(1, MOST + 1), DEFAULT_LIMIT),
        wait=number(given, "wait", range(LONGEST_WAIT + 1), 0),
        members=members,
        shape=shape,
    )


def _fields(
    given: Sequence[str] | None, hidden: frozenset[str]
) -> tuple[frozenset[str] | None, FieldSet | None]:
    """The members of a change, and what is told of its record.

    Where nothing but the record is named, all the other members are told as well.
    """
    if given is None:
        return None, None
    names = [name.strip() for name in ",".join(given).split(",")]
    of_record = [name for name in names if name.partition(".")[0] == RECORD]
    own = frozenset(names).difference(of_record)
    if unknown := sorted(own - CHANGE_MEMBERS):
        raise InvalidArgument(
            f"fields: {shortened(unknown[0])!r} is no field of a change; there are "
            f"{', '.join(sorted(CHANGE_MEMBERS))}, and those of a record behind `record.`."
        )
    shape = None
    if RECORD in of_record:
        shape = shape_of(KINDS, None, hidden)
    elif of_record:
        paths = tuple(name.partition(".")[2] for name in of_record)
        if any(path.partition(".")[0] == HISTORY for path in paths):
            raise InvalidArgument("fields: history is not told here: ask for the record itself.")
        shape = shape_of(KINDS, paths, hidden)
    return own or None, shape


def model_of_change(change: FeedChange, record: Model | None = None) -> Model:
    """A change as GraphQL has it."""
    values = dict(model_of(change.change)) | {
        "cursor": cursor_of(change.position),
        "id": RecordId(str(change.key.id)),
        "phone": change.key.phone,
        "kind": RecordKind[STATES[change.state].kind.__name__],
        "record": record,
    }
    return ChangeEvent.model_construct(**values)
