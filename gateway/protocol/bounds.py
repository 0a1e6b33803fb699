"""The limits of connections and requests as constants, each with its reason (see SECURITY.md)."""

import sys
from typing import Final, NamedTuple

MAX_HEAD_BYTES: Final = 64 * 1024
"""Bytes of a request's line and headers together: four times the usual server's, so that no proxy
in front lets a request through that is refused here."""

MAX_HEADERS: Final = 100
"""Headers of a request; browsers behind several proxies send forty."""

MAX_HANDSHAKE_LINE: Final = 8000
"""Bytes of one line of a WebSocket's handshake; the library that reads it takes 8,192."""

MAX_PIPELINED: Final = 64
"""Requests that one connection may have waiting for their turn."""

HEAD_SECONDS: Final = 15.0
"""From the connection, or a later request's first byte, until its head is there."""

BODY_SECONDS: Final = 30.0
"""Between two pieces of a body, and for all of it, but see `BODY_RATE`."""

BODY_RATE: Final = 1000
"""So many bytes of a body that came earn it one second more in all (as Apache's `MinRate`)."""

KEEP_ALIVE: Final = 75
"""Seconds that an idle connection stays open: longer than clients and load balancers keep theirs
(60 is common), or they would send requests into connections that we are about to close."""

LINGER_SECONDS: Final = 2.0
"""Whoever is refused may still be sending: closed at once, his machine would throw the answer away
(RFC 9112, section 9.6)."""

LINGER_BYTES: Final = 1024 * 1024
"""So much of it is read and thrown away meanwhile."""

UNREAD_SECONDS: Final = 30
"""An answer that its reader does not take for so long is given up, and the connection with it."""

MOST_CONNECTIONS: Final = 16_384
"""However many descriptors there are: each costs some 10 KB."""

SPARE: Final = 16
"""Connections beyond the bound, which may ask for nothing but `PROBES`."""

PROBES: Final = frozenset({"/livez", "/readyz"})
"""An orchestrator that can't ask these restarts the process."""

FRESH_SECONDS: Final = 1.0
"""A connection that has not asked yet is closed for another one only after so long, or in need."""

RETRY_AFTER: Final = 5
"""Seconds after which who is turned away for want of room may come again."""


class Room(NamedTuple):
    """How many connections there may be, and how many may wait to be accepted."""

    most: int
    backlog: int


def room_within(descriptors: int) -> Room:
    """The room that so many file descriptors make.

    A quarter stays free, 80 at least: for what else is open, for `SPARE`, and for a burst that is
    accepted before anybody can count it, which the backlog bounds.
    """
    reserve = min(max(descriptors // 4, 80), 1024)
    return Room(min(max(descriptors - reserve, 16), MOST_CONNECTIONS), max(reserve // 2, 32))


def available_descriptors() -> int:
    """How many files and sockets the process may have open."""
    if sys.platform == "win32":
        return MOST_CONNECTIONS * 2  # there is no such limit
    import resource  # noqa: PLC0415 - not on Windows

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS * 2 if soft == resource.RLIM_INFINITY else soft
