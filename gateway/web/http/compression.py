"""Content codings (RFC 9110, section 12.5.3): negotiation, and gzip of long responses.

A middleware would look at every answer; here only who writes long ones pays.
"""

import asyncio
import re
import zlib

from gateway.memo import memoize_header
from gateway.web.http.headers import Headers

PLAIN = "identity"

MIN_BYTES = 1024
"""Shorter answers fit into one packet anyway."""

_THREAD_BYTES = 64 * 1024
"""Longer ones take more than a millisecond: a thread compresses them."""

_LEVEL = 5
"""Two thirds of the usual level's time for nearly its size, on records."""

_GZIP = 31
"""zlib's number for the format of gzip."""

_ACCEPTED = re.compile(r"([^\s;,]+)\s*(?:;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?", re.IGNORECASE)
"""One member of Accept-Encoding; what has another form is passed over."""

_ENCODED = (b"content-encoding", b"gzip")


def best_coding(accepted: str, offered: tuple[str, ...]) -> str:
    """Which coding to send, `PLAIN` among them; of those wanted alike, the first offered."""
    members = (_ACCEPTED.fullmatch(member.strip()) for member in accepted.split(","))
    weights = {found[1].lower(): float(found[2] or 1) for found in members if found}
    wanted = {coding: weights.get(coding, weights.get("*", 0.0)) for coding in offered}
    wanted[PLAIN] = weights.get(PLAIN, 0.001)  # good enough unless another one is named
    return max(wanted, key=wanted.__getitem__)


@memoize_header(256)
def takes_gzip(accept_encoding: bytes) -> bool:
    return best_coding(accept_encoding.decode("latin-1"), ("gzip",)) == "gzip"


async def compressed(body: bytes, headers: Headers) -> bytes:
    """The body for a caller who takes gzip: compressed if it is long; the headers then say so."""
    if len(body) < MIN_BYTES:
        return body
    headers.append(_ENCODED)
    if len(body) < _THREAD_BYTES:
        return gzipped(body)
    return await asyncio.to_thread(gzipped, body)


def gzipped(body: bytes) -> bytes:
    """In the format of gzip, without a time in it."""
    packer = zlib.compressobj(_LEVEL, wbits=_GZIP)
    return packer.compress(body) + packer.flush()
