"""Reading a request's body, within bounds."""

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive

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
