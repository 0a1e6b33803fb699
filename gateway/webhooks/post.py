"""Sends bodies to one address, and tells what came of it."""

import asyncio
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import Final, NamedTuple
from urllib.request import getproxies, proxy_bypass

import httpx

from gateway.loopback import is_loopback
from gateway.webhooks.address import Address

TIMEOUT: Final = 15.0
"""Seconds for a request, all of it."""

AT_ONCE: Final = 10
"""Requests at a time to one address."""

GONE: Final = 410


class Outcome(NamedTuple):
    """What came of a request: the status of the answer, or why there was none."""

    status: int | None
    reason: str | None = None

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and httpx.codes.is_success(self.status)

    def __str__(self) -> str:
        return self.reason or f"HTTP {self.status}"


class Poster:
    """The connections to one address, of no other: a slow one would keep those of others waiting.

    Requests go straight to httpx's transport. Its client would follow no redirect and keep no
    cookie either, and takes as much time again to do neither.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._url = httpx.URL(address.entry.url)
        self._headers = {
            "host": self._url.netloc.decode("ascii"),
            "user-agent": "smsc-gateway",
            "accept": "*/*",
        }
        self._transport = httpx.AsyncHTTPTransport(
            verify=_trusted(),
            limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE),
            proxy=_proxy_to(self._url),
        )

    async def post(self, id_: str, body: bytes) -> Outcome:
        """Send a body; what the answer says beside its status is not used."""
        headers = self._headers | self._address.headers(id_, body, datetime.now(UTC))
        request = httpx.Request("POST", self._url, headers=headers, content=body)
        try:
            async with asyncio.timeout(TIMEOUT):
                response = await self._transport.handle_async_request(request)
        except (TimeoutError, httpx.TimeoutException):
            return Outcome(None, f"no answer within {TIMEOUT:g} seconds")
        except (httpx.HTTPError, ssl.SSLError) as error:
            return Outcome(None, type(error).__name__)
        try:
            await _drain(response)
        finally:
            await response.aclose()
        return Outcome(response.status_code)

    async def aclose(self) -> None:
        await self._transport.aclose()


def _proxy_to(url: httpx.URL) -> str | None:
    """The proxy of the environment for this address, as httpx's client would find it."""
    if is_loopback(url.host) or proxy_bypass(url.host):
        return None
    proxies = getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


LONGEST_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read, for the connection can then be used again."""

LAST_WORDS: Final = 1.0
"""Seconds for them."""


async def _drain(response: httpx.Response) -> None:
    """Read the rest, if there is little; whatever it is, the status was told."""
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - of this transport
    read = 0
    with suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(LAST_WORDS):
            async for chunk in response.stream:
                read += len(chunk)
                if read > LONGEST_ANSWER:
                    return


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities that are trusted; to read them takes some 20 ms."""
    return httpx.create_ssl_context()
