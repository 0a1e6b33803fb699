"""Parses field arguments, for compiled and for Strawberry execution."""

from typing import Annotated

import strawberry

from gateway.errors import InvalidArgument
from gateway.model.records import StatusKey, key_or_error

Key = StatusKey | InvalidArgument

Account = Annotated[
    str | None,
    strawberry.argument(
        description="The account at the provider, where the gateway serves several; by default "
        "that of the header `X-Account`, or the caller's only one."
    ),
]


def key_of(id_: object, phone: object) -> Key:
    """The key that an id and a phone name, or what is wrong with them.

    An integer id is as good as its digits, as GraphQL's `ID` has it.
    """
    is_number = isinstance(id_, int) and not isinstance(id_, bool)
    return key_or_error(str(id_) if is_number else id_, phone)


def valid(key: Key) -> StatusKey:
    """The key, or its error raised anew, for errors are remembered with keys."""
    if isinstance(key, InvalidArgument):
        raise InvalidArgument(key.detail)
    return key


def seconds(max_age: object) -> float | None:
    """The argument `maxAge`; None: as long as the record counts as fresh."""
    if not isinstance(max_age, int):
        return None
    if max_age < 0:
        raise InvalidArgument("maxAge must be a number of seconds, 0 or more.")
    return max_age
