"""A request's headers by name."""

from typing import TypeAlias

from starlette.types import Scope

Header: TypeAlias = tuple[bytes, bytes]
Headers: TypeAlias = list[Header]

_KEPT = "named_headers"


def named_headers(scope: Scope) -> dict[bytes, bytes]:
    """The headers; one that was sent more than once is a list (RFC 9110, section 5.3).

    Made once for each request, and kept in its scope.
    """
    headers: dict[bytes, bytes] | None = scope.get(_KEPT)
    if headers is None:
        headers = scope[_KEPT] = _named(scope["headers"])
    return headers


def _named(raw: Headers) -> dict[bytes, bytes]:
    headers = dict(raw)
    if len(headers) == len(raw):
        return headers
    lists: dict[bytes, list[bytes]] = {}
    for name, value in raw:
        lists.setdefault(name, []).append(value)
    return {name: b", ".join(values) for name, values in lists.items()}
