"""Whose rows a statement is about, where a gateway serves several accounts at the provider.

Each row carries an account, empty where there is but one. What is asked of a database is a function
of a connection; while it runs, the account is that of the `Database` it was asked through. So no
statement can be about another account's rows because somebody forgot to pass one on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from sqlalchemy import BindParameter, Text, bindparam

_current: Final[ContextVar[str]] = ContextVar("account", default="")

ACCOUNT: Final[BindParameter[str]] = bindparam("account_", type_=Text, callable_=_current.get)
"""The account in a statement: its value is found when that is executed."""


def account() -> str:
    """The account as a value of a row."""
    return _current.get()


@contextmanager
def acting_for(name: str) -> Iterator[None]:
    """Have all statements that are executed meanwhile be about this account."""
    before = _current.set(name)
    try:
        yield
    finally:
        _current.reset(before)


def is_place_here(named: str) -> bool:
    """Is a cursor with this account good for the present one?

    One from before there were several is: changes have one order in all accounts.
    """
    return named in {"", account()}


def own(counter: str) -> str:
    """The name of a counter that each account has for itself."""
    name = account()
    return f"{counter} {name}" if name else counter


def own_counter(counter: str) -> BindParameter[str]:
    """The same in a statement."""
    return bindparam(f"own_{counter}", type_=Text, callable_=lambda: own(counter))
