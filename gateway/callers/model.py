"""A caller, and what its scopes let it do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from gateway.errors import Forbidden


class Scope(StrEnum):
    """What a caller may do."""

    STATUS_READ = "status:read"
    """Ask for messages and lookups."""
    CONTENT_READ = "content:read"
    """See what was written: `text` and `comment`."""
    IDENTITY_READ = "identity:read"
    """See what identifies a subscriber in the network: `imsi` and `msc`."""
    MESSAGE_DELETE = "message:delete"
    """Delete a message at the provider."""
    RECORD_LIST = "record:list"
    """List, count and export what is kept, and its history."""
    RECORD_FOLLOW = "record:follow"
    """Have the gateway keep asking for many, and see how far that is."""
    PROVIDER_READ = "provider:read"
    """See how the provider link is doing, metrics included."""
    PROVIDER_OPERATE = "provider:operate"
    """Have what is known asked for anew, forgotten, or loaded."""


ALL_SCOPES = frozenset(Scope)

HIDDEN_WITHOUT = {
    Scope.CONTENT_READ: frozenset({"text", "comment"}),
    Scope.IDENTITY_READ: frozenset({"imsi", "msc"}),
}
"""Fields of a record, as Python names them, that only callers with the scope see."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much a caller may ask."""

    per_minute: int | None = None
    """Requests in any sixty seconds; None: without a bound."""
    streams: int | None = None
    """Subscriptions and event streams that are open at a time; None: as many as anybody."""


UNLIMITED = Allowance()


class Signer(NamedTuple):
    """Who signed a token, and the rules of the clients file by which it was good."""

    rules: object
    kid: str | None
    key: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks. `name` tells callers apart, and is empty for nobody in particular."""

    name: str
    scopes: frozenset[Scope]
    expires_at: float | None = None
    """Seconds since 1970 from which on its key or token is refused; None: never."""
    quota: Allowance = UNLIMITED
    accounts: frozenset[str] | None = None
    """The accounts at the provider that it may ask for; None: all there are."""
    credential: bytes | Signer | None = field(default=None, compare=False, repr=False)
    """What it was let in by: a key's digest, or who signed its token; None: nothing."""


@dataclass(frozen=True, slots=True)
class WebhookEntry:
    """An address that is told of changes, as the operator wrote it under a client."""

    name: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    """What bodies are signed with: one, or two while one takes the other's place."""
    filters: Mapping[str, tuple[str, ...]]
    """Which changes it is told, as callers of the feed filter them."""
    client: Caller
    """Whose it is: its scopes decide what is told."""
    accounts: frozenset[str] | None = None
    """The accounts whose changes it is told; None: all there are."""


class WrongKey(Exception):
    """Nobody's key, or not a token of the issuer: somebody guesses, or mistook the address."""


def require(caller: Caller, scope: Scope) -> None:
    """Raise `Forbidden` unless the caller has the scope."""
    if scope not in caller.scopes:
        raise Forbidden(f"This needs the scope {scope}, which the caller lacks.", scope=scope)


def may_ask_for(accounts: frozenset[str] | None, account: str) -> bool:
    """Is the account among these; None: all there are."""
    return accounts is None or account in accounts


def hidden_fields(caller: Caller) -> frozenset[str]:
    """The fields of a record that the caller's scopes hide from it."""
    return _hidden(caller.scopes)


@cache  # of at most 256 sets of scopes
def _hidden(scopes: frozenset[Scope]) -> frozenset[str]:
    hidden = (fields for scope, fields in HIDDEN_WITHOUT.items() if scope not in scopes)
    return frozenset().union(*hidden)


def hidden_error(field: str) -> Forbidden:
    """Why a field is hidden from a caller."""
    scope = next(scope for scope, fields in HIDDEN_WITHOUT.items() if field in fields)
    return Forbidden(f"{field} needs the scope {scope}, which the caller lacks.", scope=scope)
