"""What an operator does with what is known: have it asked for anew, forgotten, or loaded."""

import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

from starlette.types import Receive, Scope, Send

from gateway.archive.archive import Archive
from gateway.archive.filters import NAMES, RecordFilter, read_filter
from gateway.archive.listing import MOST, Order
from gateway.archive.states import STATES
from gateway.archive.upkeep import keys_of, spend
from gateway.errors import ArchiveOff, InvalidArgument
from gateway.follows import MOST_KEYS, USUAL, FollowRequest
from gateway.model.described import Model
from gateway.model.records import DetailLevel
from gateway.observability.logs import masked_caller
from gateway.service import StatusService
from gateway.web.http.auth import caller_of
from gateway.web.http.headers import named_headers
from gateway.web.http.methods import JSON, check_accept
from gateway.web.http.reply import Reply
from gateway.web.http.state import who
from gateway.web.rest.address import check_names, one_of, parameters_of
from gateway.web.rest.follows import FollowStatus, follows_of, reply_with, status_of

log = logging.getLogger(__name__)

ALL: Final = "all"
"""The parameter that means every record, where no filter would mean it by mistake."""

_OPEN: Final = frozenset(number for number, state in STATES.items() if not state.is_final)
"""The states that may still change."""


class Refresh(Model):
    """Records that are asked for anew."""

    matched: int
    """Those that match and may still change."""
    follow: FollowStatus | None = None
    """How far that is; null where none matched."""


class Purge(Model):
    """Records that are not answered from the cache any more."""

    purged: int
    """Those that match."""


class Prewarm(Model):
    """Records that were loaded."""

    loaded: int
    """Those that match and were not in memory."""


async def refresh_records(scope: Scope, _: Receive, __: Send) -> Reply:
    """Ask for what matches and may still change once more, as the limits allow."""
    given, archive = _read(scope, NAMES)
    wanted = read_filter(given)
    states = _OPEN if wanted.states is None else wanted.states & _OPEN
    keys = await archive.read(keys_of, archive.names, wanted._replace(states=states), MOST_KEYS + 1)
    if len(keys) > MOST_KEYS:
        raise InvalidArgument(
            f"More than {MOST_KEYS} records match that may still change: narrow the filter."
        )
    _log(scope, "refresh", len(keys), given)
    if not keys:
        return reply_with(202, Refresh(matched=0))
    request = FollowRequest(
        keys,
        until_at=int(scope["state"]["clock"].time() + USUAL),
        until_state=None,
        detail=DetailLevel.FULL,
        name="refresh",
        token=None,
        digest=sha256(scope["query_string"]).hexdigest(),
        once=True,
    )
    status = status_of(await follows_of(scope).create(caller_of(scope).name, request))
    location = (b"location", f"/v1/follows/{status.id}".encode())
    return reply_with(202, Refresh(matched=len(keys), follow=status), location)


async def purge_records(scope: Scope, _: Receive, __: Send) -> Reply:
    """Forget what is cached of what matches; the archive keeps it, but no longer as fresh."""
    given, archive = _read(scope, NAMES | {ALL})
    everything = one_of(given, ALL)
    if everything not in {None, "true"}:
        raise InvalidArgument(f"{ALL} may only be true.")
    if everything is None and not given:
        raise InvalidArgument(f"Name at least one filter, or {ALL}=true to purge every record.")
    service: StatusService = scope["state"]["service"]
    purged, after = 0, None
    while page := await archive.list_page(
        read_filter(given), Order.CHANGED_ASC, after=after, limit=MOST
    ):
        await archive.write(spend, [one.no for one in page], scope["state"]["clock"].time())
        await service.forget([one.entry.record.key for one in page if one.entry.record])
        purged += len(page)
        after = page[-1].position
    _log(scope, "purge", purged, given)
    return reply_with(200, Purge(purged=purged))


async def prewarm_records(scope: Scope, _: Receive, __: Send) -> Reply:
    """Load what matches into memory, the latest change first, as far as there is room."""
    given, archive = _read(scope, NAMES)
    service: StatusService = scope["state"]["service"]
    loaded = await _prewarm(archive, service, read_filter(given))
    _log(scope, "prewarm", loaded, given)
    return reply_with(200, Prewarm(loaded=loaded))


async def _prewarm(archive: Archive, service: StatusService, wanted: RecordFilter) -> int:
    loaded, room, after = 0, service.most_records, None
    while room > 0:
        page = await archive.list_page(
            wanted, Order.CHANGED_DESC, after=after, limit=min(room, MOST)
        )
        if not page:
            break
        loaded += service.load([one.entry for one in page])
        room -= len(page)
        after = page[-1].position
    return loaded


def _read(scope: Scope, known: frozenset[str]) -> tuple[dict[str, list[str]], Archive]:
    """The parameters, and the archive; raises `InvalidArgument` and `ArchiveOff`."""
    check_accept(named_headers(scope).get(b"accept"), JSON)
    given = parameters_of(scope["query_string"])
    check_names(given, known)
    archive: Archive | None = scope["state"]["archive"]
    if archive is None:
        raise ArchiveOff
    return given, archive


def _log(scope: Scope, what: str, records: int, given: Mapping[str, Sequence[str]]) -> None:
    """Who did what, to how many; of the filter the names alone, for values may be numbers."""
    caller = masked_caller(who(scope, caller_of(scope)))
    log.info("%s of %d records for %s, by %s", what, records, caller, ", ".join(given) or "none")
