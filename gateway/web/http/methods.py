"""`Resource`: dispatches a URL's requests by method, and checks scope, query and `Accept`."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from gateway.callers import model
from gateway.memo import LONGEST
from gateway.web.http.auth import caller_of
from gateway.web.http.reply import Endpoint, Reply

MAX_QUERY_BYTES = 8192
"""The longest query that is read; RFC 9110, section 4.1, wants 8,000 octets for a whole URI."""

JSON = "application/json"

_PROBLEM = "application/problem+json"


class Resource:
    """The endpoint of an address. `GET` answers `HEAD` as well; `OPTIONS` tells all.

    Each method may need a scope of the caller.
    """

    def __init__(
        self,
        methods: Mapping[str, tuple[Endpoint, model.Scope | None]],
        max_query: float = MAX_QUERY_BYTES,
    ) -> None:
        self._methods = dict(methods)
        self._max_query = max_query
        if "GET" in methods:
            self._methods["HEAD"] = methods["GET"]
        self.allow = ", ".join([*self._methods, "OPTIONS"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Reply | None:
        found = self._methods.get(scope["method"])
        if found is None:
            if scope["method"] != "OPTIONS":
                raise HTTPException(405, headers={"allow": self.allow})
            return Reply(204, [(b"allow", self.allow.encode())])
        if len(scope["query_string"]) > self._max_query:
            raise HTTPException(414, f"A query may have at most {self._max_query} bytes.")
        handler, needed = found
        if needed is not None:
            model.require(caller_of(scope), needed)
        return await handler(scope, receive, send)


def negotiated(sent: bytes, offered: Sequence[str]) -> str:
    """The media type to answer in, by `Accept` (RFC 9110, section 12.5.1); none: 406.

    Without an `Accept`, or where anything goes, it is the first that is offered.
    """
    accept = sent.decode("latin-1")
    best: tuple[float, str] | None = None
    for part in accept.split(",") if accept.strip() else ["*/*"]:
        range_, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = quality(parameters)
        matching = next((media for media in offered if _matches(range_, media)), None)
        if matching and weight > 0 and (best is None or weight > best[0]):
            best = (weight, matching)
    if best is None:
        raise HTTPException(406, f"There are {', '.join(offered)}.")
    return best[1]


def _matches(range_: str, media: str) -> bool:
    return range_ in {media, "*/*", media.partition("/")[0] + "/*"}


def check_accept(accept: bytes | None, media: str) -> None:
    """Raise `HTTPException` 406 unless the caller takes this media type, or problems at least."""
    if accept is None:
        return
    takes = _takes_kept if len(accept) <= LONGEST else _takes
    if not takes(accept, media):
        raise HTTPException(406, f"There is {media}.")


def _takes(accept: bytes, media: str) -> bool:
    """RFC 9110, section 12.5.1: of the ranges that hold a media type, the narrowest decides."""
    qualities: dict[str, float] = {}
    for part in accept.decode("latin-1").lower().split(","):
        range_, *given = (piece.strip() for piece in part.split(";"))
        if range_:
            qualities[range_] = quality(given)
    ranges = [(one, one.partition("/")[0] + "/*", "*/*") for one in (media, _PROBLEM)]
    return not qualities or any(
        next((qualities[one] for one in narrowing if one in qualities), 0.0) > 0
        for narrowing in ranges
    )


_takes_kept = lru_cache(maxsize=256)(_takes)


def quality(given: list[str]) -> float:
    """The weight of a range by its parameters (RFC 9110, section 12.4.2)."""
    for parameter in given:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
