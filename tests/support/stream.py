"""An answer that goes on: what came of it so far, in the test's own event loop and time."""

import asyncio
from typing import Any

from starlette.types import Message

from tests.support.clock import settle
from tests.support.gateway import Setup


class Stream:
    """A request whose answer is read as it comes."""

    def __init__(
        self, setup: Setup, url: str, method: str = "GET", body: bytes = b"", **headers: str
    ) -> None:
        path, _, query = url.partition("?")
        given = {"host": "gateway.localhost", **headers}
        named = [(name.replace("_", "-"), value) for name, value in given.items()]
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in named],
            "scheme": "http",
            "http_version": "1.1",
            "server": ("gateway.localhost", 80),
            "client": ("127.0.0.1", 1),
            "state": dict(setup.state),
            "asgi": {"version": "3.0", "spec_version": "2.3"},
        }
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self._sending: Message | None = {"type": "http.request", "body": body}
        self._gone = asyncio.Event()
        self._task = asyncio.ensure_future(setup.app(scope, self._receive, self._send))

    @property
    def events(self) -> list[dict[str, str]]:
        """The fields of each event so far, comments left out."""
        blocks = self.body.decode().split("\n\n")[:-1]
        fields = [
            dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            for block in blocks
        ]
        return [event for event in fields if event]

    @property
    def is_over(self) -> bool:
        return self._task.done()

    async def leave(self) -> None:
        """The reader goes."""
        self._gone.set()
        await settle()
        assert self.is_over

    async def _receive(self) -> Message:
        if (sending := self._sending) is not None:
            self._sending = None
            return sending
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")
