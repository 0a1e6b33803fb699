"""Authenticates the caller before the body is read: `Authorization: Bearer KEY` (RFC 6750)."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from gateway.callers.model import Caller
from gateway.callers.registry import Callers
from gateway.clock import Clock
from gateway.errors import Forbidden, GatewayError, Unauthenticated
from gateway.web.http.cors import NO_ORIGINS, Origins
from gateway.web.http.headers import named_headers
from gateway.web.http.hosts import ANY_HOST, Hosts, is_at
from gateway.web.http.problems import response_to

OPEN_PATHS = frozenset(
    {
        "/",
        "/livez",
        "/readyz",
        "/openapi.yaml",
        "/openapi.json",
        "/console",
        "/docs",
        "/v1/callbacks/smsc",  # signed by the provider in a way of its own
    }
)
"""What is answered without a key: what tells nothing of any message."""

OPEN_FOLDERS = ("/assets/", "/console/")

LONGEST_ADDRESS = 45
"""Characters of an IPv6 address that holds one of IPv4 (RFC 4291, section 2.2)."""

OTHER_SITE = (
    "A page of another site asked; whoever runs the gateway can let it, by naming the site in "
    "GATEWAY_CORS_ORIGINS."
)

_BEARER = b"Bearer "

_POLICY_VIOLATION = 1008


def caller_of(scope: Scope) -> Caller:
    """The authenticated caller; raises `Unauthenticated` on paths that need no key."""
    caller: Caller | None = scope.get("state", {}).get("caller")
    if caller is None:
        raise Unauthenticated("A key is needed: send `Authorization: Bearer KEY`.")
    return caller


def authorization_of(scope: Scope) -> str | None:
    """The `Authorization` header. Sent twice, it is refused: others may have read the other one."""
    sent = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(sent) > 1:
        raise Unauthenticated("Authorization must be sent once.")
    return sent[0].decode("latin-1") if sent else None


def address_of(scope: Scope) -> str:
    """Where the request comes from, as the server or a trusted proxy tells it.

    It names callers in tables; a proxy that passes on what strangers wrote must not fill them.
    """
    client = scope.get("client")
    return client[0][:LONGEST_ADDRESS] if client else ""


def wants_page(scope: Scope) -> bool:
    """A browser that opens GraphQL's address: a page without data, and no operation to run."""
    return (
        scope.get("method") == "GET"  # a WebSocket's handshake names none
        and not scope["query_string"]
        and b"text/html" in named_headers(scope).get(b"accept", b"")
    )


class Authentication:
    """Finds out who asks, and takes one request of its quota.

    It comes before what reads bodies, for nobody's body is worth reading. `also_open` tells by path
    of more requests that need no key. A WebSocket may come without the header, which browsers can't
    send there: its caller is then None, and `connection_init` has to bring a key.
    """

    def __init__(
        self,
        callers: Callers,
        clock: Clock,
        *,
        hosts: Hosts = ANY_HOST,
        origins: Origins = NO_ORIGINS,
        also_open: Mapping[str, Callable[[Scope], bool]] = MappingProxyType({}),
    ) -> None:
        self._callers = callers
        self._clock = clock
        self._hosts = hosts
        self._origins = origins
        self._also_open = also_open

    def admit_known(self, scope: Scope) -> Caller | None:
        """The caller, if known without waiting; None: call `admit`. Raises as `admit` does."""
        self._hosts.check(scope)
        caller = None if self._is_open(scope) else self._known(scope)
        if caller is not None:
            self._admit(scope, caller)
        return caller

    async def admit(self, scope: Scope) -> Caller | None:
        """Authenticate the caller; None: no key is needed here, or a WebSocket brings it later.

        Raises a `GatewayError` for who may not ask, or not here.
        """
        if self._is_open(scope):
            return None
        caller = await self._look_closer(scope)
        if caller is not None:
            self._admit(scope, caller)
        return caller

    def _admit(self, scope: Scope, caller: Caller) -> None:
        if caller.credential is None:
            self._refuse_other_sites(scope)
        if scope["type"] == "http":
            self._callers.quota.take(caller, self._clock.monotonic())

    def _known(self, scope: Scope) -> Caller | None:
        """Who needs no closer look: nearly everybody."""
        if not self._callers.are_known:
            return self._callers.anonymous
        authorization = named_headers(scope).get(b"authorization", b"")
        if not authorization.startswith(_BEARER):
            return None
        return self._callers.known(authorization[len(_BEARER) :], self._clock.time())

    def _refuse_other_sites(self, scope: Scope) -> None:
        """Nobody's key is needed, so a page of another site could ask as well as its reader.

        Browsers tell so (W3C Fetch Metadata); old ones, and new ones without TLS, by the `Origin`
        alone. Where a key is needed, such a page has none to send.
        """
        headers = named_headers(scope)
        site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
        if site is None and origin is None:
            return
        named = (origin or b"").decode("latin-1")
        if site is None:
            is_other = not is_at(named, headers.get(b"host", b"").decode("latin-1"))
        else:
            is_other = site == b"cross-site"
        if is_other and not self._origins.allow(named):
            raise Forbidden(OTHER_SITE)

    async def _look_closer(self, scope: Scope) -> Caller | None:
        authorization = authorization_of(scope)
        if authorization is None and scope["type"] == "websocket":
            return None
        return await self._callers.authenticate(
            authorization, self._clock.time(), address=address_of(scope)
        )

    def _is_open(self, scope: Scope) -> bool:
        path: str = scope["path"]
        if path in OPEN_PATHS or path.startswith(OPEN_FOLDERS):
            return True
        is_open = self._also_open.get(path)
        return is_open is not None and is_open(scope)


async def refuse(scope: Scope, receive: Receive, send: Send, error: GatewayError) -> None:
    """Answer a request, or a WebSocket's handshake, with the problem.

    Starlette's exception handlers stand behind the middleware, and know nothing of handshakes.
    """
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get(
        "extensions", {}
    ):
        reason = error.title
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": reason})
        return
    await response_to(HTTPConnection(scope), error)(scope, receive, send)
