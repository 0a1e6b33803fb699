"""A complete HTTP answer, and the endpoints that return one."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from msgspec import Struct
from starlette.types import Receive, Scope, Send

from gateway.web.http.headers import Headers


class Reply(Struct, frozen=True, gc=False):
    """An HTTP answer, all of it."""

    status: int
    headers: Headers
    body: bytes = b""


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
