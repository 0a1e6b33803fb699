"""State that the application's lifespan hands to each request."""

from collections.abc import Mapping
from typing import TypedDict

from starlette.types import Scope

from gateway.archive.archive import Archive
from gateway.callers.model import Caller
from gateway.callers.registry import Callers
from gateway.clock import Clock
from gateway.follows import Follows
from gateway.service import StatusService
from gateway.upstream.history import LinkRecorder
from gateway.watch import Watches
from gateway.web.http.auth import address_of
from gateway.web.http.lifetime import Lifetime
from gateway.web.http.traffic import Counts
from gateway.webhooks.webhooks import Webhooks


class AccountState(TypedDict):
    """What there is for each account at the provider."""

    account: str | None
    """Its name; empty where there is but one, None where a request has not chosen."""
    service: StatusService
    archive: Archive | None
    watches: Watches
    webhooks: Webhooks | None
    follows: Follows | None
    recorder: LinkRecorder


class State(AccountState):
    """Typed state of the application: `request.state["service"]`, that of the chosen account."""

    accounts: Mapping[str, AccountState]
    callers: Callers
    clock: Clock
    counts: Counts
    lifetime: Lifetime


def who(scope: Scope, caller: Caller) -> str:
    """Who asks, so that callers take turns: by name, or by address where they have none."""
    return caller.name or address_of(scope)
