"""Reads a request's body, within bounds."""

from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from gateway.errors import InvalidArgument

MAX_BODY_BYTES = 1024 * 1024
"""A thousand items with e-mail addresses for phones and all field names are 300 KB."""


async def read_body(receive: Receive, at_most: int = MAX_BODY_BYTES) -> bytes:
    """The whole body; `HTTPException` 413 as soon as so much of it has come.

    Starlette has a limit of its own, which answers in plain text where the contract wants a
    problem.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > at_most:
            break
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    if len(body) > at_most:
        raise HTTPException(413)
    return body


_NOT_READ: Final = (
    ("number is infinity", "has a number that is too long or too large"),
    ("depth limit", "has lists or objects too deep inside each other"),
    ("surrogate in string", "has half a surrogate pair in a string"),
)
"""How orjson tells of what is JSON and yet can't be read, and what callers are told."""


def read_json(text: bytes | str, what: str = "The body") -> Any:  # noqa: ANN401 - any JSON
    """The value of a JSON text; `InvalidArgument` tells what is wrong with `what`."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        reason = next((told for found, told in _NOT_READ if found in error.msg), None)
        if reason is None:
            raise InvalidArgument(f"{what} must be JSON (RFC 8259).") from None
        raise InvalidArgument(f"{what} {reason}, at character {error.pos + 1}.") from None
