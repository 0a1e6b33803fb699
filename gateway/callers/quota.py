"""Quotas of callers: requests a minute, open streams; and the throttle for wrong keys."""

import ipaddress
from collections import deque
from dataclasses import dataclass

from gateway.callers.model import Caller
from gateway.errors import QuotaExceeded

WINDOW = 60.0
"""Seconds of `quota_per_minute`."""

ROUNDED_UP = 1e-6
"""Seconds that a wait is told longer than it is, so that no rounding makes it too short."""

MAX_STREAMS = 1000
"""Streams that a caller without `max_streams` may have open at a time: many dashboards' worth, and
few enough to tell all of a change at once."""

FEW_CALLERS = 1024
"""Callers whose requests are remembered before those are forgotten that rest."""


class Stream:
    """A stream that counts for a caller while it is entered; `counts` are of all callers.

    Not a generator, which would take five times the memory for as long.
    """

    __slots__ = ("_counts", "_name")

    def __init__(self, name: str, counts: dict[str, int]) -> None:
        self._name = name
        self._counts = counts

    def __enter__(self) -> None:
        self._counts[self._name] = self._counts.get(self._name, 0) + 1

    def __exit__(self, *_: object) -> None:
        self._counts[self._name] -= 1
        if not self._counts[self._name]:
            del self._counts[self._name]


class Quota:
    """Never lets more than `quota_per_minute` requests of one caller into any sixty seconds.

    The moments of the last so many requests are remembered by the caller's name, so that a file
    read anew, with another quota even, begins nothing anew.
    """

    def __init__(self) -> None:
        self._taken: dict[str, deque[float]] = {}
        self._streams: dict[str, int] = {}
        self._forget_at = FEW_CALLERS

    def take(self, caller: Caller, now: float, cost: int = 1) -> None:
        """Count a request at `now`, in monotonic seconds, or raise `QuotaExceeded`.

        What is refused costs nothing. `retry_after` is exact, and None where the request alone is
        more than the quota.
        """
        limit = caller.quota.per_minute
        if limit is None:
            return
        taken = self._taken.get(caller.name)
        if taken is None or taken.maxlen != limit:
            taken = self._begin(caller.name, limit, now)
        over = len(taken) + cost - limit
        if over > 0:
            _refuse_unless_free(taken, over, now, limit)
        if cost == 1:
            taken.append(now)
        else:
            taken.extend([now] * cost)

    def stream(self, caller: Caller) -> "Stream":
        """Hold one of the caller's streams while it is open; `QuotaExceeded`: all are in use."""
        name, allowed = caller.name, caller.quota.streams
        limit = MAX_STREAMS if allowed is None else allowed
        if not limit:
            raise QuotaExceeded.always(
                "The caller may have no streams open: max_streams is 0 in the clients file."
            )
        if self._streams.get(name, 0) >= limit:
            raise QuotaExceeded(
                f"The caller may have {limit} streams open at a time; close one first."
            )
        return Stream(name, self._streams)

    @property
    def open_streams(self) -> int:
        """Streams that are open now, of all callers."""
        return sum(self._streams.values())

    def __len__(self) -> int:
        """Callers whose requests are remembered."""
        return len(self._taken)

    def _begin(self, name: str, limit: int, now: float) -> deque[float]:
        if len(self._taken) >= self._forget_at:
            self._taken = {
                other: taken
                for other, taken in self._taken.items()
                if taken and taken[-1] > now - WINDOW
            }
            self._forget_at = max(FEW_CALLERS, 2 * len(self._taken))
        taken = self._taken[name] = deque(self._taken.get(name, ()), maxlen=limit)
        return taken


def _refuse_unless_free(taken: deque[float], over: int, now: float, limit: int) -> None:
    """Raise unless the `over` oldest requests have left the window."""
    about = f"The caller may ask {limit} times a minute."
    if over > len(taken):
        raise QuotaExceeded.always(about)
    wait = taken[over - 1] + WINDOW - now
    if wait > 0:
        raise QuotaExceeded(about, retry_after=wait + ROUNDED_UP)


FREE_TRIES = 5
"""Wrong keys that cost an address nothing: people mistype, and keys are rotated."""

LONGEST_PAUSE = 300.0
"""Seconds to which the pause grows that an address is told to make."""

MAX_ADDRESSES = 4096
"""Addresses that are remembered; those that came longest ago are forgotten first."""


@dataclass(slots=True)
class _Guesser:
    tries: int = 0
    paused_until: float = 0.0
    last: float = 0.0


class Throttle:
    """Slows who comes with wrong keys, by address, and counts them.

    After a few, the address is told to pause, twice as long each time; a wrong key in the pause
    gets `QuotaExceeded`. Answers are not delayed: held connections would cost the gateway, and
    behind a proxy everybody, more than the guesser. Only wrong keys come here: a right one is let
    through at any time, or one client with an old key would lock out all others behind its address.
    """

    def __init__(self) -> None:
        self.wrong_keys = 0
        """Wrong keys since the start."""
        self._guessers: dict[str, _Guesser] = {}

    def wrong(self, address: str, now: float) -> None:
        """Count a wrong key from an address at `now`; raises `QuotaExceeded` in its pause."""
        self.wrong_keys += 1
        place = _place(address)
        guesser = self._guessers.pop(place, None)
        if guesser is None or _is_forgotten(guesser, now):
            guesser = _Guesser()
        self._guessers[place] = guesser  # at the end: the first is who came longest ago
        if len(self._guessers) > MAX_ADDRESSES:
            del self._guessers[next(iter(self._guessers))]
        guesser.last = now
        if now < guesser.paused_until:
            raise QuotaExceeded(
                "Too many wrong keys came from this address; a right one is let through.",
                retry_after=guesser.paused_until - now,
            )
        guesser.tries += 1
        if guesser.tries > FREE_TRIES:
            doublings = min(guesser.tries - FREE_TRIES - 1, 16)
            guesser.paused_until = now + min(LONGEST_PAUSE, 2.0**doublings)

    def __len__(self) -> int:
        """Addresses that are remembered."""
        return len(self._guessers)


def _is_forgotten(guesser: _Guesser, now: float) -> bool:
    """A quiet minute after the pause; or a clock that was set back."""
    quiet_since = max(guesser.last, guesser.paused_until)
    return now - quiet_since >= WINDOW or now < guesser.last - WINDOW


def _place(address: str) -> str:
    """Who holds one IPv6 address holds the /64 around it."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(found.ipv4_mapped or found.packed[:8].hex())
