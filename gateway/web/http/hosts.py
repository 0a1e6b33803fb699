"""Checks the `Host` header, against DNS rebinding.

A page of another site can have its own name lead to a loopback address; its requests then carry
that name as `Host`, and browsers take the gateway for the page's own site.
"""

from starlette.types import Scope

from gateway.errors import HostNotAllowed
from gateway.loopback import is_loopback
from gateway.web.http.headers import named_headers

OPEN_TO_ALL = frozenset({"/livez", "/readyz"})
"""Orchestrators ask them by whatever address a process has, and they tell nothing."""

_KEPT = 64
"""Spellings of the header that are remembered as good."""
_LONGEST = 300
"""Bytes of one: a host name has 253 at most, a port 6 with its colon."""


class Hosts:
    """Checks `Host`; `names` None: loopback names, `*` among them: any."""

    def __init__(self, names: frozenset[str] | None) -> None:
        self._names = names
        self._good: set[bytes] = set()
        self.are_limited = names is None or "*" not in names

    def check(self, scope: Scope) -> None:
        """Raise `HostNotAllowed` for a request that is not for one of the names."""
        host = named_headers(scope).get(b"host", b"")
        if host in self._good or not self.are_limited or scope["path"] in OPEN_TO_ALL:
            return
        if len(host) > _LONGEST or not self._is_allowed(name_of(host.decode("latin-1"))):
            raise HostNotAllowed(
                "The gateway is not asked under this host name; whoever runs it can add the name "
                "to GATEWAY_ALLOWED_HOSTS."
            )
        if len(self._good) < _KEPT:
            self._good.add(host)

    def _is_allowed(self, name: str) -> bool:
        return is_loopback(name) if self._names is None else name in self._names


ANY_HOST = Hosts(frozenset({"*"}))


def name_of(host: str) -> str:
    """The name in a `Host` header, without port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].rstrip(".").lower()


def is_at(origin: str, host: str) -> bool:
    """Is this the `Origin` of a page at this `Host`? Ports aside: they make no other site."""
    authority = origin.partition("://")[2]
    return bool(authority) and name_of(authority) == name_of(host)
