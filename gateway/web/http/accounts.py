"""Which account at the provider a request is for, where the gateway serves several.

A caller of one account need not say it. One of several says it by `X-Account`; in GraphQL each
field may say it, too. Where there is but one account, without a name, nothing is looked at.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.types import Scope

from gateway.callers.model import Caller, may_ask_for
from gateway.errors import Forbidden, InvalidArgument, shortened
from gateway.web.http.headers import named_headers

HEADER: Final = b"x-account"

FOR_ALL: Final = frozenset({"/graphql", "/metrics", "/v1/accounts"})
"""Paths at which no account need be chosen: they tell of several, or each field chooses its own."""

Accounts = Mapping[str, Mapping[str, Any]]
"""What the application keeps of each account, by its name."""


def accounts_of(caller: Caller, accounts: Accounts) -> Sequence[str]:
    """The accounts that a caller belongs to, in their order."""
    return [name for name in accounts if may_ask_for(caller.accounts, name)]


def account_named(name: str, caller: Caller, accounts: Accounts) -> Mapping[str, Any]:
    """What is kept of the account; `Forbidden` for who does not belong to it, or if there is none.

    Which accounts others have is nobody's business.
    """
    if name not in accounts or not may_ask_for(caller.accounts, name):
        there = ", ".join(accounts_of(caller, accounts)) or "none"
        raise Forbidden(
            f"The caller does not belong to an account {shortened(name)!r}; it has: {there}."
        )
    return accounts[name]


def chosen(scope: Scope, caller: Caller, name: object = None) -> Mapping[str, Any]:
    """What is kept of the account that a request is for: that of the header, or else of `name`.

    `account` in it is None where none is chosen, at the paths of `FOR_ALL`. Raises `Forbidden`, and
    `InvalidArgument` for who has several and names none.
    """
    accounts: Accounts = scope["state"]["accounts"]
    given = named_headers(scope).get(HEADER)
    if given is not None:
        name = given.decode("latin-1")
    if isinstance(name, str):
        return account_named(name, caller, accounts)
    own = accounts_of(caller, accounts)
    if len(own) == 1:
        return accounts[own[0]]
    if not own:
        raise Forbidden("The caller belongs to no account.")
    if scope["path"] not in FOR_ALL:
        raise missing(own)
    return {**accounts[own[0]], "account": None}


def missing(own: Sequence[str]) -> InvalidArgument:
    """What to tell who has several accounts and names none."""
    return InvalidArgument(f"X-Account must name the account: one of {', '.join(own)}.")
