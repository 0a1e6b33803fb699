"""Sends bodies to one address, and tells what came of it."""

import asyncio
import ssl
from datetime import UTC, datetime
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, NamedTuple

import httpx

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
    """The connections to one address: to have those of another one too would let it wait for it."""

    def __init__(self, address: Address, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._address = address
        self._client = httpx.AsyncClient(
            transport=transport,
            verify=_trusted(),
            timeout=TIMEOUT,
            limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE),
            headers={"user-agent": "smsc-gateway", "accept-encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            follow_redirects=False,
        )

    async def post(self, id_: str, body: bytes) -> Outcome:
        """Send a body; what the answer says beside its status is not read."""
        headers = self._address.headers(id_, body, datetime.now(UTC))
        try:
            async with (
                asyncio.timeout(TIMEOUT),
                self._client.stream(
                    "POST", self._address.entry.url, content=body, headers=headers
                ) as response,
            ):
                if "content-length" in response.headers:
                    await _drain(response)
                return Outcome(response.status_code)
        except TimeoutError:
            return Outcome(None, f"no answer within {TIMEOUT:g} seconds")
        except httpx.TimeoutException:
            return Outcome(None, f"no answer within {TIMEOUT:g} seconds")
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            return Outcome(None, type(error).__name__)

    async def aclose(self) -> None:
        await self._client.aclose()


LONGEST_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read, for the connection can then be used again."""


async def _drain(response: httpx.Response) -> None:
    length = response.headers["content-length"]
    if length.isdigit() and int(length[:9]) <= LONGEST_ANSWER:
        async for _ in response.aiter_raw():
            pass


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities that are trusted; to read them takes some 20 ms."""
    return httpx.create_ssl_context()
