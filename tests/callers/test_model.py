"""Scopes open what the contract says, and nothing else."""

import pytest

from gateway.callers.model import (
    ALL_SCOPES,
    HIDDEN_WITHOUT,
    Caller,
    Scope,
    hidden_fields,
    require,
)
from gateway.errors import Forbidden
from gateway.model.records import HlrLookup, Message, shown_fields
from tests.support.callers import ANONYMOUS

CONTENT, IDENTITY = {"text", "comment"}, {"imsi", "msc"}


def test_the_scopes_are_the_contracts() -> None:
    assert {str(scope) for scope in ALL_SCOPES} == {
        "status:read",
        "content:read",
        "identity:read",
        "message:delete",
        "record:list",
        "record:follow",
        "provider:read",
        "provider:operate",
    }


@pytest.mark.parametrize(
    ("scopes", "hidden"),
    [
        ({Scope.STATUS_READ}, CONTENT | IDENTITY),
        ({Scope.STATUS_READ, Scope.CONTENT_READ}, IDENTITY),
        ({Scope.STATUS_READ, Scope.IDENTITY_READ}, CONTENT),
        (ALL_SCOPES - {Scope.CONTENT_READ}, CONTENT),
        (ALL_SCOPES, set()),
    ],
)
def test_scopes_hide_fields(scopes: set[Scope], hidden: set[str]) -> None:
    assert hidden_fields(Caller("a", frozenset(scopes))) == hidden


def test_hidden_fields_are_fields_of_records() -> None:
    fields = set(shown_fields(Message)) | set(shown_fields(HlrLookup))
    assert frozenset().union(*HIDDEN_WITHOUT.values()) <= fields


@pytest.mark.parametrize("scope", Scope)
def test_a_missing_scope_is_named(scope: Scope) -> None:
    require(ANONYMOUS, scope)
    require(Caller("a", frozenset({scope})), scope)
    with pytest.raises(Forbidden) as caught:
        require(Caller("a", ALL_SCOPES - {scope}), scope)
    assert caught.value.detail == f"This needs the scope {scope}, which the caller lacks."
    assert caught.value.scope == scope
