"""The HTTP client for the provider's `status.php`.

One POST form a request, so that credentials stay out of URLs; bounded answer, bounded time. Knows
nothing of limits: whoever calls has asked the budget.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar

import httpx

from gateway.errors import (
    GatewayError,
    Limit,
    UpstreamBadAnswer,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.model.records import DetailLevel, StatusKey
from gateway.observability.logs import without_numbers
from gateway.smsc import codes, reply
from gateway.smsc.query import Credentials, delete_form, status_form
from gateway.smsc.row import Expected, Refusal, Row

log = logging.getLogger(__name__)


LAST_CHOICE = 30.0
"""Seconds for which an address that could not be reached is tried after the others."""


LONGEST_WORDS = 200
"""Characters of the provider's own error text that the log gets; numbers and credentials aside."""

MOST_WORDS = 1000
"""Characters of it that are searched for what the log must not get."""

T = TypeVar("T")


class Upstream:
    """Asks `status.php`, which also deletes.

    `urls` are the folders it is in: the first is used, the rest are tried when no connection to
    it can be made. Then it comes last for a while, or every request would wait for it in vain.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        urls: Sequence[str],
        credentials: Credentials,
        monotonic: Callable[[], float],
        fmt: int,
        charset: str,
        timeout: float,
    ) -> None:
        self._client = client
        self._unreachable_until = {url + "status.php": 0.0 for url in urls}
        self._monotonic = monotonic
        self._credentials = credentials
        self._fmt = fmt
        self._charset = charset
        self._timeout = timeout

    async def ask(self, keys: Sequence[StatusKey], detail: DetailLevel) -> Mapping[StatusKey, Row]:
        """Ask for the keys at once: the row of each that the provider answered.

        Raises a leaf of `ProviderRefused` or `TransportFailed`, `RateLimited`, or
        `InvalidArgument` (the provider's error 1).
        """
        form = status_form(
            keys,
            credentials=self._credentials,
            detail=detail,
            fmt=self._fmt,
            charset=self._charset,
        )
        many = len(keys) > 1
        expected = Expected(detail.all, many, len(keys))

        def read(body: bytes) -> Mapping[StatusKey, Row] | Refusal:
            answer = reply.decode(body, charset=self._charset, expected=expected)
            return answer if isinstance(answer, Refusal) else reply.match(answer, keys)

        answer = await self._post(form, read)
        if isinstance(answer, Refusal):
            raise self._refused(answer, Limit.MASS if many else Limit.UNKNOWN)
        return answer

    async def delete(self, key: StatusKey) -> None:
        """Have a message deleted; raises as `ask` does, and `DeleteRefused`."""
        form = delete_form(key, credentials=self._credentials, fmt=self._fmt, charset=self._charset)
        read = partial(reply.decode_deletion, charset=self._charset)
        answer = await self._post(form, read)
        if answer is not None:
            raise self._refused(answer, Limit.UNKNOWN)

    def _refused(self, refusal: Refusal, limit: Limit) -> GatewayError:
        words = self._credentials.masked_in(without_numbers(refusal.text[:MOST_WORDS]))
        log.warning("the provider refused: error %d, %r", refusal.number, words[:LONGEST_WORDS])
        return codes.refusal_error(refusal.number, limit=limit)

    async def _post(self, form: Mapping[str, str], read: Callable[[bytes], T]) -> T:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post_to_any(form, read)
        except (TimeoutError, httpx.TimeoutException):
            raise UpstreamTimeout(
                f"The provider did not answer within {self._timeout:g} seconds."
            ) from None
        except httpx.HTTPError as error:
            log.warning("the connection to the provider broke: %s", type(error).__name__)
            raise UpstreamUnreachable("The connection to the provider broke.") from None

    async def _post_to_any(self, form: Mapping[str, str], read: Callable[[bytes], T]) -> T:
        now = self._monotonic()
        for url in sorted(
            self._unreachable_until, key=lambda url: now < self._unreachable_until[url]
        ):
            try:
                return await self._post_to(url, form, read)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                self._unreachable_until[url] = self._monotonic() + LAST_CHOICE
                log.warning("no connection to %s: %s", httpx.URL(url).host, type(error).__name__)
        raise UpstreamUnreachable("No connection to the provider can be made.", sent=False)

    async def _post_to(self, url: str, form: Mapping[str, str], read: Callable[[bytes], T]) -> T:
        """What `read` makes of the answer.

        A connection that brought what can't be used is closed: whatever else comes on it may be
        meant for another request.
        """
        async with self._client.stream("POST", url, data=form) as response:
            if response.is_server_error:
                raise UpstreamUnreachable(
                    f"The provider's server answered with HTTP {response.status_code}."
                )
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > reply.MAX_BYTES:
                    raise UpstreamBadAnswer("The provider's answer is too long.")
            try:
                return read(bytes(body))
            except UpstreamBadAnswer:
                if (connection := response.extensions.get("network_stream")) is not None:
                    await connection.aclose()
                raise


def create_client(
    *,
    timeout: float,
    concurrency: int,
    transport: httpx.AsyncBaseTransport | None = None,
    on_response: Callable[[Mapping[str, str]], None] | None = None,
) -> httpx.AsyncClient:
    """The one client of the process: a new one for each request would cost 19 ms.

    Half of the time is for making a connection, so that a backup gets the other half. Answers are
    asked for without compression: what a small one would unpack to has no bound. `on_response` is
    shown the headers of each.
    """

    async def show(response: httpx.Response) -> None:
        assert on_response is not None  # noqa: S101 - says why
        on_response(response.headers)

    return httpx.AsyncClient(
        transport=transport,
        timeout=httpx.Timeout(timeout, connect=timeout / 2),
        limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
        headers={"user-agent": "smsc-gateway", "accept-encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # it would keep them for ever
        event_hooks={"response": [] if on_response is None else [show]},
    )
