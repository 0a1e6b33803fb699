"""GraphQL over WebSocket: the protocol `graphql-transport-ws`.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md : Strawberry's handler keeps the
protocol's rules. Around it: who calls, how much may be open, what a message must look like; and
operations are executed by our engine, whose answers are bytes already.
"""

import asyncio
import math
from collections.abc import Mapping
from contextlib import ExitStack, aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import orjson
from graphql import GraphQLError, OperationType
from starlette.status import WS_1012_SERVICE_RESTART
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.exceptions import ConnectionRejectionError
from strawberry.http.websocket_origin import is_same_origin
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
    Operation,
)
from strawberry.types.unset import UNSET

from gateway.callers.model import Caller
from gateway.callers.registry import Callers
from gateway.clock import Clock
from gateway.errors import Forbidden, GatewayError, InvalidArgument, shortened
from gateway.wakeups import Signal
from gateway.web.graphql.engine import Engine, GraphQLRequest
from gateway.web.graphql.errors import RequestRefused, field_error, formatted
from gateway.web.graphql.view import context_of, request_of
from gateway.web.http.accounts import chosen
from gateway.web.http.auth import OTHER_SITE, address_of, refuse
from gateway.web.http.body import read_json
from gateway.web.http.cors import NO_ORIGINS, Origins
from gateway.web.http.state import State

SUBPROTOCOL = "graphql-transport-ws"

INIT_TIMEOUT = timedelta(seconds=10)
"""For `connection_init` to come."""

MAX_OPERATIONS = 100
"""Operations open at a time on one connection."""

CHECK_SECONDS = 15.0
"""Most seconds until it is seen that a key expires sooner than it did when it was looked at."""

MAX_REASON = 123
"""Bytes of the reason of a close (RFC 6455, section 5.5)."""

_TAKEN = 4409
_FORBIDDEN = 4403
_WITHDRAWN = "The key is no longer valid"
_SHAPES: dict[str, Mapping[str, type]] = {
    "connection_init": {},
    "ping": {},
    "pong": {},
    "subscribe": {"id": str, "payload": dict},
    "complete": {"id": str},
}
"""What each message must have; the handler relies on it."""


@dataclass(slots=True)
class _Connection:
    """Who connected; the handler sets `connection_params`, the payload of `connection_init`."""

    address: str
    caller: Caller | None
    connection_params: dict[str, Any] | None = None


class WebSocketView:
    """Serves the WebSockets of GraphQL's address.

    It stands in for Strawberry's view as well, of which the handler uses what is public here.
    """

    def __init__(
        self, engine: Engine, callers: Callers, clock: Clock, *, origins: Origins = NO_ORIGINS
    ) -> None:
        self._origins = origins
        self.engine = engine
        self.callers = callers
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept, unless a page of an unknown site asks: browsers let such pages in everywhere."""
        websocket = WebSocket(scope, receive, send)
        origin, host = (websocket.headers.get(name) for name in ("origin", "host"))
        is_foreign = origin is not None and not (
            is_same_origin(origin, host) or self._origins.allow(origin)
        )
        if is_foreign:
            await refuse(scope, receive, send, Forbidden(OTHER_SITE))
            return
        if SUBPROTOCOL not in websocket["subprotocols"]:
            wrong = InvalidArgument(f"A WebSocket needs the subprotocol {SUBPROTOCOL}.")
            await refuse(scope, receive, send, wrong)
            return
        await websocket.accept(SUBPROTOCOL)
        await _Handler(self, websocket).handle()

    def decode_json(self, text: str) -> object:
        """A message; or what is wrong with it, for the handler to tell."""
        try:
            message: object = read_json(text, "The message")
        except InvalidArgument as error:
            return error
        return message

    def encode_json(self, message: object) -> str:
        return orjson.dumps(message).decode()

    async def on_ws_connect(self, connection: _Connection) -> object:
        """Know the caller, by the header of the handshake or else by `connection_init`."""
        if connection.caller is None:
            given = (connection.connection_params or {}).get("Authorization")
            if given is not None and not isinstance(given, str):
                raise ConnectionRejectionError
            try:
                connection.caller = await self.callers.authenticate(
                    given, self.clock.time(), address=connection.address
                )
            except GatewayError:
                raise ConnectionRejectionError from None
        return UNSET


class _Handler(BaseGraphQLTransportWSHandler[Any, None]):
    """One connection."""

    def __init__(self, view: WebSocketView, websocket: WebSocket) -> None:
        self._gateway = view
        self._socket = websocket
        self._requests: dict[str, GraphQLRequest] = {}
        self._check: asyncio.Task[None] | None = None
        self._connection = _Connection(
            address_of(websocket.scope), websocket.scope["state"]["caller"]
        )
        seam = cast("Any", view)
        super().__init__(
            view=seam,
            websocket=ASGIWebSocketAdapter(seam, websocket, websocket),
            context=self._connection,
            root_value=None,
            schema=cast("Any", None),  # only `run_operation` would use it
            connection_init_wait_timeout=INIT_TIMEOUT,
            max_subscriptions_per_connection=MAX_OPERATIONS,
        )

    async def handle(self) -> None:
        try:
            await super().handle()
        finally:
            if self._check is not None:
                self._check.cancel()

    async def handle_connection_init(self, message: Any) -> None:  # noqa: ANN401 - a checked message
        await super().handle_connection_init(message)
        caller = self._connection.caller
        if caller is not None and self._check is None:
            self._check = asyncio.create_task(self._check_key(caller))

    async def handle_message(self, message: Any) -> None:  # noqa: ANN401 - whatever JSON it is
        if isinstance(message, InvalidArgument):
            await self.handle_invalid_message(str(message))
            return
        type_ = message.get("type") if isinstance(message, dict) else None
        shape = _SHAPES.get(type_) if isinstance(type_, str) else None
        if shape is None or not all(isinstance(message.get(name), shape[name]) for name in shape):
            await self.handle_invalid_message("Not a message of graphql-transport-ws")
            return
        await super().handle_message(message)

    async def handle_subscribe(self, message: Any) -> None:  # noqa: ANN401 - a checked message
        """The request is read here, for it may name its document by a hash instead."""
        try:
            request = request_of(message["payload"])
        except GatewayError as error:
            told = [formatted(field_error(error))]
            await self._send(orjson.dumps({"id": message["id"], "type": "error", "payload": told}))
            return
        if message["id"] in self.operations:
            id_ = shortened(message["id"])
            await self._close(_TAKEN, f"Subscriber for {id_} already exists")
            return
        self._requests[message["id"]] = request
        message["payload"]["query"] = ""
        await super().handle_subscribe(message)

    async def run_operation(self, operation: Operation[Any, None]) -> None:
        try:
            await self._run(operation, self._requests.pop(operation.id))
        except RequestRefused as refused:
            await self._fail(operation, refused.errors)
        except GatewayError as error:
            await self._fail(operation, [field_error(error)])
        else:
            if self._is_ending():
                await self._close(WS_1012_SERVICE_RESTART, "The gateway is stopping")
            else:
                await self._send_last(operation, {"type": "complete"})

    async def _run(self, operation: Operation[Any, None], request: GraphQLRequest) -> None:
        gateway, caller, signal = self._gateway, await self._caller(), Signal()
        gateway.callers.quota.take(caller, gateway.clock.monotonic())
        prepared = gateway.engine.prepare(request)
        state = self._state(caller)
        who = caller.name or self._connection.address
        context = context_of(state, caller, who)
        head = b'{"id":' + orjson.dumps(operation.id) + b',"type":"next","payload":'
        with ExitStack() as open_, gateway.callers.held(caller) as held:
            held.lost.add_done_callback(lambda _: context.watches.wakeups.wake(signal))
            if prepared.operation.type is OperationType.SUBSCRIPTION:
                open_.enter_context(gateway.callers.quota.stream(caller))
            async with aclosing(gateway.engine.stream(prepared, context, signal)) as bodies:
                async for body in bodies:
                    if held.lost.done():
                        raise gateway.callers.refusal(caller, gateway.clock.time())
                    if body is not None:
                        await self._send(head + body + b"}")

    def _state(self, caller: Caller) -> State:
        """What there is for the account that the connection, or its handshake, has chosen."""
        state: State = self._socket.scope["state"]
        if state.get("account") is not None:
            return state
        params = self._connection.connection_params or {}
        of_account = chosen(self._socket.scope, caller, params.get("X-Account"))
        return cast("State", {**state, **of_account})

    def _is_ending(self) -> bool:
        return any(one["watches"].ended for one in self._socket.scope["state"]["accounts"].values())

    async def _fail(self, operation: Operation[Any, None], errors: list[GraphQLError]) -> None:
        told = [formatted(error) for error in errors]
        await self._send_last(operation, {"type": "error", "payload": told})

    async def _send_last(self, operation: Operation[Any, None], message: dict[str, Any]) -> None:
        """The id is free again before its last message is on its way."""
        if self.operations.get(operation.id) is operation:
            del self.operations[operation.id]
            await self._send(orjson.dumps({"id": operation.id, **message}))

    async def _send(self, message: bytes) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # closed meanwhile, by one side or both
            await self._socket.send_text(message.decode())

    async def _caller(self) -> Caller:
        """The caller as he stands now; known since `connection_init`.

        Raises `Unauthenticated`, and closes the connection, for one who is no longer let in.
        """
        assert self._connection.caller is not None  # noqa: S101 - nothing is executed before
        callers, now = self._gateway.callers, self._gateway.clock.time()
        standing = callers.standing(self._connection.caller, now)
        if standing is None:
            await self._close(_FORBIDDEN, _WITHDRAWN)
            raise callers.refusal(self._connection.caller, now)
        self._connection.caller = standing
        return standing

    async def _check_key(self, caller: Caller) -> None:
        """Close the connection when the caller's key expires or is withdrawn."""
        clock, callers, signal = self._gateway.clock, self._gateway.callers, Signal()
        wakeups = next(iter(self._socket.scope["state"]["accounts"].values()))["watches"].wakeups
        try:
            while (left := callers.seconds_left(caller, clock.time())) > 0:
                with callers.held(caller) as held:
                    held.lost.add_done_callback(lambda _: wakeups.wake(signal))
                    wakeups.wake_at(signal, clock.monotonic() + min(left, CHECK_SECONDS))
                    await signal.wait()
                caller = callers.standing(caller, clock.time()) or caller
        finally:
            wakeups.wake_at(signal, math.inf)
        await self._close(_FORBIDDEN, _WITHDRAWN)

    async def _close(self, code: int, reason: str) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            told = reason.encode()[:MAX_REASON].decode(errors="ignore")
            await self._socket.close(code, told)
