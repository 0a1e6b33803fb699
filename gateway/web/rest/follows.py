"""Following many: `/v1/follows`, where callers leave keys, and hear how far they are."""

import re
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from gateway.archive.following import Outcome
from gateway.errors import ArchiveOff, GatewayError, InvalidArgument, shortened
from gateway.follows import LONGEST, LOOK, MOST_KEYS, USUAL, FollowProgress, FollowRequest, Follows
from gateway.model.described import Model
from gateway.model.records import DetailLevel, MessageState, StatusKey
from gateway.wakeups import Signal
from gateway.watch import UNTIL_STATES
from gateway.web.http import sse
from gateway.web.http.auth import caller_of
from gateway.web.http.body import read_body, read_json
from gateway.web.http.headers import named_headers
from gateway.web.http.methods import JSON, check_accept
from gateway.web.http.problems import told
from gateway.web.http.reply import Reply
from gateway.web.rest.follow import EVENTS
from gateway.web.rest.listing import json_reply, listed
from gateway.web.rest.records import item_key

if TYPE_CHECKING:
    from gateway.web.http.state import State

MAX_BODY_BYTES: Final = 2 * 1024 * 1024
"""Ten thousand items, written with spaces."""

LONGEST_NAME: Final = 100
TOLD_AT_ONCE: Final = 10
"""Bad items that one problem names."""

_TOKEN: Final = re.compile(r"[!-~]{1,255}")
_MEMBERS: Final = ("items", "until", "untilState", "detail", "name")


class Estimate(Model):
    """When a follow will have come how far."""

    all_seen_by: datetime | None = None
    """When the provider will have been asked for the last key; null: it has been for all."""


class FollowStatus(Model):
    """How far a follow is."""

    id: str
    """What it is asked for by."""
    name: str | None = None
    """As the caller calls it."""
    total: int
    """Its keys; one that is named twice counts once."""
    seen: int
    """Those of which an answer is known."""
    final: int
    """Those that have come to the state they are followed to."""
    not_found: int
    """Those that the provider does not know, for good."""
    by_state: dict[str, int]
    """How many are known to be in which state."""
    created_at: datetime
    """When it began."""
    until: datetime
    """When it ends at the latest."""
    done: bool
    """Is none of them asked for any more?"""
    estimate: Estimate
    """By the limits, and by what else the planner has to do."""


class FollowList(Model):
    """The follows of a caller."""

    follows: list[FollowStatus]
    """The newest first; no more than a thousand."""


async def create_follow(scope: Scope, receive: Receive, _: Send) -> Reply:
    """Begin to follow many."""
    headers = named_headers(scope)
    check_accept(headers.get(b"accept"), JSON)
    follows = follows_of(scope)
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
        raise HTTPException(415, "Send the body as application/json.", {"accept-post": JSON})
    body = await read_body(receive, MAX_BODY_BYTES)
    now = scope["state"]["clock"].time()
    wanted = read_follow(read_json(body), now, _token(headers), sha256(body).hexdigest())
    status = status_of(await follows.create(_owner(scope), wanted))
    return reply_with(202, status, (b"location", f"/v1/follows/{status.id}".encode()))


async def list_follows(scope: Scope, _: Receive, __: Send) -> Reply:
    """The caller's own."""
    check_accept(named_headers(scope).get(b"accept"), JSON)
    found = await follows_of(scope).all_of(_owner(scope))
    body = _json(FollowList(follows=[status_of(one) for one in found]))
    return await json_reply(scope, body, vary=b"accept-encoding")


async def get_follow(scope: Scope, _: Receive, __: Send) -> Reply:
    """How far one is."""
    check_accept(named_headers(scope).get(b"accept"), JSON)
    found = await follows_of(scope).get(_owner(scope), scope["path_params"]["id"])
    reply = reply_with(200, status_of(found))
    return reply.headless if scope["method"] == "HEAD" else reply


async def delete_follow(scope: Scope, _: Receive, __: Send) -> Reply:
    """End one."""
    await follows_of(scope).delete(_owner(scope), scope["path_params"]["id"])
    return Reply(204, [(b"cache-control", b"no-store")])


async def list_followed(scope: Scope, receive: Receive, send: Send) -> Reply | None:
    """What is known of its keys."""
    found = await follows_of(scope).find(_owner(scope), scope["path_params"]["id"])
    return await listed(scope, receive, send, scope["state"]["archive"], follow=found.no)


async def watch_follow(scope: Scope, receive: Receive, send: Send) -> None:
    """How far one is, as it goes on."""
    check_accept(named_headers(scope).get(b"accept"), EVENTS)
    follows, owner, id_ = follows_of(scope), _owner(scope), scope["path_params"]["id"]
    await follows.get(owner, id_)  # what is wrong is told before a stream begins
    with scope["state"]["callers"].quota.stream(caller_of(scope)):
        if scope["method"] == "HEAD":
            await sse.head()(scope, receive, send)
        else:
            await sse.stream(_events(scope, follows, owner, id_), receive, send)


async def _events(
    scope: Scope, follows: Follows, owner: str, id_: str
) -> AsyncGenerator[bytes, None]:
    state: State = scope["state"]
    wakeups, clock, signal = state["watches"].wakeups, state["clock"], Signal()
    keep_alive = sse.KeepAlive(caller_of(scope), state["callers"], clock, wakeups, signal)
    text, before = sse.RETRY, None
    try:
        with keep_alive:
            while not state["watches"].ended:
                status = status_of(await follows.get(owner, id_))
                news = status.model_copy(update={"estimate": None})
                if news != before:
                    before = news
                    text += sse.event("progress", _json(status))
                if text := keep_alive.filled(text):
                    yield text
                    text = b""
                if status.done:
                    yield sse.event("end", b"{}")
                    return
                wakeups.wake_at(signal, clock.monotonic() + LOOK)
                await signal.wait()
    except GatewayError as error:
        yield text + sse.event("problem", told(scope["path"], error))


def read_follow(body: object, now: float, token: str | None, digest: str) -> FollowRequest:
    """What a body asks for; raises `InvalidArgument` naming all that is wrong with its items."""
    if not isinstance(body, dict):
        raise InvalidArgument('The body must be an object: {"items": [{"id": …, "phone": …}]}.')
    if unknown := sorted(body.keys() - _MEMBERS):
        raise InvalidArgument(
            f"{shortened(unknown[0])!r} is not known here; there are {', '.join(_MEMBERS)}."
        )
    return FollowRequest(
        _keys(body.get("items")),
        _until(body.get("until"), now),
        _until_state(body.get("untilState")),
        _detail(body.get("detail")),
        _name(body.get("name")),
        token,
        digest,
    )


def _name(name: object) -> str | None:
    if name is not None and not (isinstance(name, str) and 0 < len(name) <= LONGEST_NAME):
        raise InvalidArgument(f"name must be a text of 1 to {LONGEST_NAME} characters.")
    return name


def _until_state(name: object) -> MessageState | None:
    if name is None:
        return None
    if not isinstance(name, str) or name not in UNTIL_STATES:
        raise InvalidArgument(f"untilState must be one of {', '.join(UNTIL_STATES)}.")
    return MessageState[name]


def _keys(items: object) -> list[StatusKey]:
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_KEYS:
        raise InvalidArgument(f"items must be a list of 1 to {MOST_KEYS} items.")
    keys: list[StatusKey] = []
    wrong: list[str] = []
    for index, item in enumerate(items):
        key = item_key(item)
        if isinstance(key, StatusKey):
            keys.append(key)
        else:
            wrong.append(f"items[{index}]: {key.detail}")
    if wrong:
        more = len(wrong) - TOLD_AT_ONCE
        last = [f"And {more} more."] if more > 0 else []
        raise InvalidArgument(" ".join([*wrong[:TOLD_AT_ONCE], *last]))
    return keys


def _until(text: object, now: float) -> int:
    if text is None:
        return int(now + USUAL)
    try:
        seconds = _seconds(text)
    except (ValueError, OverflowError):
        seconds = now
    if not now < seconds <= now + LONGEST:
        raise InvalidArgument(
            "until must be a time with its zone, such as 2026-01-15T10:00:00Z (RFC 3339), within "
            "the next 30 days."
        )
    return int(seconds)


def _seconds(text: object) -> float:
    time = datetime.fromisoformat(text if isinstance(text, str) else "")
    if time.tzinfo is None:
        raise ValueError
    return time.timestamp()


def _detail(name: object) -> DetailLevel:
    levels = {level.value: level for level in DetailLevel}
    if name is None:
        return DetailLevel.FULL
    if not isinstance(name, str) or name not in levels:
        raise InvalidArgument(f"detail must be one of {', '.join(levels)}.")
    return levels[name]


def _token(headers: Mapping[bytes, bytes]) -> str | None:
    value = headers.get(b"idempotency-key")
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if not _TOKEN.fullmatch(text):
        raise InvalidArgument("Idempotency-Key must be 1 to 255 visible ASCII characters.")
    return text


def follows_of(scope: Scope) -> Follows:
    """The follows; raises `ArchiveOff`."""
    follows: Follows | None = scope["state"]["follows"]
    if follows is None:
        raise ArchiveOff
    return follows


def _owner(scope: Scope) -> str:
    """Whose it is: callers without a name share theirs, for there is no telling them apart."""
    return caller_of(scope).name


def status_of(one: FollowProgress) -> FollowStatus:
    """How far a follow is, as it is told."""
    progress = one.progress
    follow, unfinished = progress.follow, progress.count(Outcome.UNSEEN, Outcome.SEEN)
    return FollowStatus(
        id=follow.id,
        name=follow.name,
        total=progress.total,
        seen=progress.total - progress.count(Outcome.UNSEEN),
        final=progress.count(Outcome.FINAL),
        not_found=progress.count(Outcome.NOT_FOUND),
        by_state=dict(sorted(progress.states.items())),
        created_at=datetime.fromtimestamp(follow.created_at, UTC),
        until=datetime.fromtimestamp(follow.until_at, UTC),
        done=follow.done_at is not None or not unfinished,
        estimate=Estimate(all_seen_by=one.all_seen_by and one.all_seen_by.replace(microsecond=0)),
    )


def _json(model: Model) -> bytes:
    return orjson.dumps(model.model_dump(mode="json", by_alias=True))


def reply_with(status: int, model: Model, *more: tuple[bytes, bytes]) -> Reply:
    """A model as JSON, not to be stored."""
    body = _json(model)
    fields = [
        (b"content-type", JSON.encode()),
        (b"cache-control", b"no-store"),
        (b"content-length", b"%d" % len(body)),
        *more,
    ]
    return Reply(status, fields, body)
