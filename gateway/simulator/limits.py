"""The provider's rate and concurrency limits (error 9), in exact sliding windows.

More than five status requests a minute for one message, more than one mass request a minute, five
or more at the same time under one login. A mass request counts once for each of its messages.
Of what is sent: the same twice a minute, or its price more than five times.

The page says "attempt to send more than five", which can be read either way. Here a refused request
takes no room in the windows, or a caller who keeps on asking would never be answered again; with
`count_refused` it does. While it runs it counts as one at the same time, either way.
"""

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Mapping

Pair = tuple[str, int]
"""Phone and id, in one spelling."""

SAME_SENT = 1
"""So often a minute the same may be sent."""

SAME_PRICED = 5
"""So often a minute the price of the same may be asked."""

_PRUNE_AT = 1024
"""So many windows may stand before the run-out ones are looked for."""


class Limits:
    """Counts what arrives. `clock` gives seconds; `window` is in seconds."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        per_message: int = 5,
        mass: int = 1,
        concurrency: int = 4,
        window: float = 60.0,
        count_refused: bool = False,
    ) -> None:
        self._clock = clock
        self._per_message = per_message
        self._mass = mass
        self._concurrency = concurrency
        self._window = window
        self._count_refused = count_refused
        self._under_way: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget everything that arrived; what is under way stays so until it leaves."""
        self._windows: dict[Hashable, deque[float]] = {}
        self._prune_at = _PRUNE_AT
        self.admitted = 0
        self.highest_concurrency = 0
        self.refused: Counter[str] = Counter()

    @property
    def windows(self) -> int:
        """How many windows are kept."""
        return len(self._windows)

    def admit(self, login: str, pairs: Iterable[Pair], *, mass: bool) -> str | None:
        """Take in a request: None, or which limit refuses it. Either way `leave` ends it."""
        now = self._clock()
        self._under_way[login] += 1
        self.highest_concurrency = max(self.highest_concurrency, self._under_way[login])
        limits: dict[Hashable, int] = {(login, pair): self._per_message for pair in pairs}
        refused = None
        if self._under_way[login] > self._concurrency:
            refused = "CONCURRENCY"
        elif mass and self._is_full(login, self._mass, now):
            refused = "MASS"
        elif any(self._is_full(key, limit, now) for key, limit in limits.items()):
            refused = "PER_MESSAGE"
        if mass:
            limits[login] = self._mass
        if refused is None:
            self.admitted += 1
        self._count(refused, limits, now)
        return refused

    def admit_sending(self, login: str, content: Hashable, *, priced: bool) -> str | None:
        """Take in something to be sent, or only to be priced: None, or which limit refuses it."""
        now = self._clock()
        key, limit = (login, content, priced), SAME_PRICED if priced else SAME_SENT
        refused = "IDENTICAL" if self._is_full(key, limit, now) else None
        self._count(refused, {key: limit}, now)
        return refused

    def leave(self, login: str) -> None:
        """A request has been answered, or its caller is gone."""
        self._under_way[login] -= 1
        if not self._under_way[login]:
            del self._under_way[login]

    def _count(self, refused: str | None, limits: Mapping[Hashable, int], now: float) -> None:
        """Enter what was admitted in its windows; what was refused only if that counts."""
        if refused is not None:
            self.refused[refused] += 1
        if refused is None or self._count_refused:
            for key, limit in limits.items():
                self._windows.setdefault(key, deque(maxlen=limit)).append(now)
            self._prune(now)

    def _is_full(self, key: Hashable, limit: int, now: float) -> bool:
        """Whether the last `limit` arrivals lie within one window; older ones don't matter."""
        window = self._windows.get(key)
        if limit == 0 or window is None or len(window) < limit:
            return limit == 0
        return window[0] + self._window > now

    def _prune(self, now: float) -> None:
        """Drop the windows that have run out, each time their number has doubled."""
        if len(self._windows) < self._prune_at:
            return
        self._windows = {
            key: window
            for key, window in self._windows.items()
            if window and window[-1] + self._window > now
        }
        self._prune_at = max(_PRUNE_AT, 2 * len(self._windows))
