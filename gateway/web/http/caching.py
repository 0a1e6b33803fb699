"""HTTP caching of records: RFC 9111 (Cache-Control, Age), 9110 (ETag), 9211 (Cache-Status).

Answers are private, for callers differ in what they may see.
"""

import math
import re
from typing import NamedTuple, TypeAlias

from gateway.memo import memoize_header
from gateway.model.freshness import Answer, Forwarded
from gateway.model.records import StaleReason
from gateway.web.http.headers import Headers
from gateway.web.projection import state_in

_SECONDS = re.compile(r'"?([0-9]{1,9})[0-9]*"?', re.ASCII)
"""More digits than nine are more than thirty years; quotes are tolerated (RFC 9111, 5.2)."""

_TAG = re.compile(rb'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')

_VARY = (b"vary", b"authorization")
_VARY_OF_ACCOUNTS = (b"vary", b"authorization, x-account")

ASK_AGAIN = -1.0
"""A `max_age` that nothing known can have."""


LogFields: TypeAlias = dict[str, str]
HIT: LogFields = {"cache": "hit"}
MISS: LogFields = {"cache": "miss"}
"""What the request's line in the log tells."""


class Directives(NamedTuple):
    """The directives of a caller's `Cache-Control` (RFC 9111, section 5.2.1); see `StatusQuery`."""

    max_age: float | None = None
    only_cached: bool = False
    slack: float = 0.0
    stale_if_error: float | None = None


NO_DIRECTIVES = Directives()


@memoize_header(256)
def directives(cache_control: bytes) -> Directives:
    """Read the directives that mean something here; ignore the rest.

    `max-age`, `no-cache`, `only-if-cached`, `max-stale`, `min-fresh`, and RFC 5861's
    `stale-if-error`.
    """
    given = {
        name.strip().lower(): value.strip()
        for name, _, value in (
            part.partition("=") for part in cache_control.decode("latin-1").split(",")
        )
    }
    max_age = _seconds(given.get("max-age"))
    stale = _seconds(given.get("max-stale"))
    if given.get("max-stale") == "":
        stale = math.inf
    return Directives(
        ASK_AGAIN if "no-cache" in given else max_age,
        "only-if-cached" in given,
        (stale or 0.0) - (_seconds(given.get("min-fresh")) or 0.0),
        _seconds(given.get("stale-if-error")),
    )


def _seconds(value: str | None) -> float | None:
    found = _SECONDS.fullmatch(value or "")
    return float(found[1]) if found else None


def matches(if_none_match: bytes, tag: bytes) -> bool:
    """Does the caller have this already? By the weak comparison (RFC 9110, section 8.8.3.2)."""
    return _is_any(if_none_match) or tag in _TAG.findall(if_none_match)


def matches_state(if_none_match: bytes, state: bytes) -> bool:
    """Is this the state that the caller has, whenever that was observed?"""
    return _is_any(if_none_match) or state in map(state_in, _TAG.findall(if_none_match))


def _is_any(if_none_match: bytes) -> bool:
    return if_none_match.strip() == b"*"


def status_of_hit(answer: Answer) -> bytes:
    """`Cache-Status` of an answer from what was known."""
    return b"smsc-gateway; hit; ttl=%d" % _ttl(answer)


def status_of_miss(answer: Answer) -> tuple[bytes, LogFields]:
    """`Cache-Status` of an answer for which the provider was to be asked, and the same for the log.

    A limit of the provider's kept the question back; with other trouble it was asked, or had failed
    to answer just before.
    """
    if answer.stale_reason is StaleReason.RATE_LIMITED:
        return status_of_hit(answer) + b"; detail=RATE_LIMITED", HIT
    told = b"smsc-gateway; fwd=%b; ttl=%d" % (
        (answer.forwarded or Forwarded.MISS).encode(),
        _ttl(answer),
    )
    if answer.stale_reason is not None:
        return told + b"; detail=" + answer.stale_reason.encode(), MISS
    return told + b"; stored", MISS


def _ttl(answer: Answer) -> int:
    return math.floor(answer.entry.fresh_until - answer.now)


def headers_of(answer: Answer, tag: bytes, cache_status: bytes, account: str = "") -> Headers:
    """What an answer with a record, and a 304 instead of it, tell caches and people."""
    left = 0 if answer.stale else max(0, _ttl(answer))
    return [
        (b"cache-control", b"private, max-age=%d" % left),
        (b"age", b"%d" % answer.age_seconds),
        (b"etag", b'W/"%b"' % tag),
        (b"cache-status", cache_status),
        _VARY_OF_ACCOUNTS if account else _VARY,
    ]
