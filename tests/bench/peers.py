"""What the gateway is measured against, as servers: `python -m tests.bench.peers NAME [FILE]`.

- `bare` reads a request and answers the bytes of FILE: no application on this server is faster.
- `streams` sends the bytes of FILE to each who opens a stream or a WebSocket, and again whenever
  it gets a push: no application tells many of a change for less.
- `strawberry` is the gateway's own schema and service behind Strawberry's own view, as it comes;
  settings are those of the environment, as for `smsc-gateway serve`.
- `filled` is the gateway as shipped, that knows as many records as FILE, a number, says;
  settings are as above.
- `fastapi` gives the records of FILE, a JSON list, by REST with a response model.

The server around them is the gateway's.
"""

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from strawberry.asgi import GraphQL

from gateway.app import create_app
from gateway.cli import main as cli
from gateway.model.described import MessageModel
from gateway.server import Server, address, listen, run
from gateway.settings import load
from gateway.store.memory import MemoryStore
from gateway.web.graphql.engine import Context
from gateway.web.graphql.schema import strawberry_schema
from tests.bench import records
from tests.support.callers import ANONYMOUS


def bare(file: str) -> ASGIApp:
    body = Path(file).read_bytes()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


class _Streams:
    """Whoever opens a stream is told the same again and again."""

    def __init__(self, event: bytes) -> None:
        self._event = event
        self._changed = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._over_websocket(receive, send)
        elif scope["type"] == "http":
            while (await receive()).get("more_body"):
                pass
            if scope["path"].endswith(("/events", "/graphql")):
                await self._over_http(send)
            if scope["method"] == "POST":
                self._changed.set()  # for all who wait now
                self._changed.clear()
            await send({"type": "http.response.start", "status": 200, "headers": _EMPTY})
            await send({"type": "http.response.body"})

    async def _over_http(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
        while True:
            await send({"type": "http.response.body", "body": self._event, "more_body": True})
            await self._changed.wait()

    async def _over_websocket(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "graphql-transport-ws"})
        await receive()
        await send({"type": "websocket.send", "text": '{"type":"connection_ack"}'})
        await receive()
        text = self._event.decode()
        while True:
            await send({"type": "websocket.send", "text": text})
            await self._changed.wait()


_EVENTS = [(b"content-type", b"text/event-stream")]
_EMPTY = [(b"content-length", b"0")]


def streams(file: str) -> ASGIApp:
    return _Streams(Path(file).read_bytes())


class _View(GraphQL[Context, None]):
    async def get_context(self, request: Any, response: Any) -> Context:  # noqa: ANN401, ARG002 - the base's own
        state = request.state
        return Context(state["service"], state["watches"], ANONYMOUS, "")


def of_strawberry() -> ASGIApp:
    gateway = create_app(load(os.environ))
    view = Starlette(routes=[Route("/graphql", _View(strawberry_schema()))])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (gateway if scope["type"] == "lifespan" else view)(scope, receive, send)

    return app


def of_fastapi(file: str) -> ASGIApp:
    fastapi: Any = importlib.import_module("fastapi")  # it is not among our dependencies
    records: dict[tuple[str, str], MessageModel] = {}
    for shown in json.loads(Path(file).read_bytes()):
        del shown["kind"]  # REST's own, and no field of the model
        records[shown["id"], shown["phone"]] = MessageModel.model_validate(shown)
    app = fastapi.FastAPI()

    @app.get("/v1/messages/{id}", response_model=MessageModel)  # type: ignore[untyped-decorator] # as above
    async def get_message(id: str, phone: str) -> MessageModel:
        return records[id, phone]

    made: ASGIApp = app
    return made


def serve_filled(count: str) -> None:
    store = MemoryStore(int(count) + 1000)  # room for what else is asked for
    for key, known in records.copied(int(count)):
        store.put(key, known)
    with patch("gateway.app.MemoryStore", lambda _: store):
        cli.main(["serve"])


PEERS: dict[str, Callable[..., ASGIApp]] = {
    "bare": bare,
    "streams": streams,
    "strawberry": of_strawberry,
    "fastapi": of_fastapi,
}


def main(name: str, *arguments: str) -> None:
    if name == "filled":
        serve_filled(*arguments)
        return
    app = PEERS[name](*arguments)
    listening = listen("127.0.0.1", 0, "the port")
    banner = f"{name} listens on http://{address(listening)}"
    run(Server(app, banner=banner).serve(sockets=[listening]))


if __name__ == "__main__":
    main(*sys.argv[1:])
