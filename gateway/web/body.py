"""Reading a request's body, within bounds."""

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

MAX_BODY_BYTES = 1024 * 1024
"""A thousand items with e-mail addresses for phones and all field names are 300 KB."""


async def read_body(scope: Scope, receive: Receive, at_most: int = MAX_BODY_BYTES) -> bytes:
    """The whole body; `HTTPException` 413 as soon as it is known to be longer.

    Starlette has a limit of its own, which answers in plain text where the contract wants a
    problem.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > at_most:
            raise HTTPException(413)
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
