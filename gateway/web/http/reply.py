"""A complete HTTP answer, and the endpoints that return one."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.types import Receive, Scope, Send

from gateway.web.http.headers import Headers

WHOLE_RESPONSE = "gateway.whole_response"
"""An ASGI extension of our server. Its `write` writes a whole answer in one piece, past `send`: it
takes the status, the header lines and the body, and tells whether it could."""


class Reply:
    """A complete HTTP response. Never put caller input into its headers: it is not escaped."""

    __slots__ = ("_lines", "body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self._lines: bytes | None = None

    @property
    def lines(self) -> bytes:
        """The headers as they are sent; one that is sent again has them ready."""
        if self._lines is None:
            self._lines = b"".join([b"%b: %b\r\n" % header for header in self.headers])
        return self._lines

    @property
    def headless(self) -> "Reply":
        """The answer to `HEAD`: as to `GET`, without the body (RFC 9110, section 9.3.2)."""
        return Reply(self.status, self.headers)


Endpoint: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[Reply | None]]
"""What answers at an address. It gives the answer to be sent on, which is cheaper than to pass two
messages through all that stands around it; or None, where it sent one by itself, as any ASGI
application does. It raises what goes wrong before it has sent anything."""


class Sending:
    """An endpoint as an ASGI application, for Starlette's router."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = await self._endpoint(scope, receive, send)
        if reply is not None:
            await respond(send, reply)


async def respond(send: Send, reply: Reply) -> None:
    """Send an answer; Starlette's `Response` would make its headers anew each time."""
    start = {"type": "http.response.start", "status": reply.status, "headers": reply.headers}
    await send(start)
    await send({"type": "http.response.body", "body": reply.body})
