"""Fetches a token issuer's JWKS over HTTP."""

import asyncio

import httpx

TIMEOUT = 5.0
"""Seconds for all of it: a caller with a new key's token waits so long."""

MAX_BYTES = 256 * 1024
"""Issuers publish a handful of keys, of a kilobyte or two."""


async def fetch(url: str) -> bytes:
    """What is at the address. Raises `OSError`, with a reason for the log.

    The client is made for this one request of an hour: the provider's has just as many connections
    as the provider allows. What a compressed answer would unpack to has no bound.
    """
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            httpx.AsyncClient(headers={"accept-encoding": "identity"}) as client,
            client.stream("GET", url) as response,
        ):
            return await _body(response)
    except TimeoutError:
        raise ConnectionError(f"no answer within {TIMEOUT:g} seconds") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConnectionError(type(error).__name__) from None


async def _body(response: httpx.Response) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise ConnectionError(f"HTTP {response.status_code}")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BYTES:
            raise ConnectionError("the answer is too long")
    return bytes(body)
