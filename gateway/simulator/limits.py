"""The provider's refusals (its page, error 9), in exact sliding windows.

More than five status requests a minute for one message, more than one mass request a minute, five
or more at the same time under one login. A mass request counts for each of its messages. A refused
request takes no room in the windows unless `count_refused` is set: the page says "attempt to send
more than five", which can be read either way.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence

Pair = tuple[str, int]


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
        self._mass_limit = mass
        self._concurrency = concurrency
        self._window = window
        self._count_refused = count_refused
        self.reset()

    def reset(self) -> None:
        """Forget everything that arrived."""
        self._messages: dict[tuple[str, Pair], deque[float]] = {}
        self._mass: dict[str, deque[float]] = {}
        self._under_way: Counter[str] = Counter()
        self.admitted = 0
        self.highest_concurrency = 0
        self.refused: Counter[str] = Counter()

    def admit(self, login: str, pairs: Sequence[Pair], *, mass: bool) -> str | None:
        """Take in a request: None, or which limit refuses it. Either way `leave` ends it."""
        now = self._clock()
        self._under_way[login] += 1
        self.highest_concurrency = max(self.highest_concurrency, self._under_way[login])
        windows = [self._messages.setdefault((login, pair), deque()) for pair in set(pairs)]
        mass_window = self._mass.setdefault(login, deque())
        for window in (*windows, mass_window):
            self._forget(window, now)
        refused = None
        if self._under_way[login] > self._concurrency:
            refused = "CONCURRENCY"
        elif mass and len(mass_window) >= self._mass_limit:
            refused = "MASS"
        elif any(len(window) >= self._per_message for window in windows):
            refused = "PER_MESSAGE"
        if refused:
            self.refused[refused] += 1
        else:
            self.admitted += 1
        if refused is None or self._count_refused:
            for window in windows:
                window.append(now)
            if mass:
                mass_window.append(now)
        self._prune(now)
        return refused

    def leave(self, login: str) -> None:
        """A request has been answered, or its caller is gone."""
        self._under_way[login] -= 1

    def _forget(self, window: deque[float], now: float) -> None:
        while window and window[0] + self._window <= now:
            window.popleft()

    def _prune(self, now: float) -> None:
        """Drop the windows that have run empty, now and then."""
        if self.admitted % 1024:
            return
        for key in list(self._messages):
            self._forget(self._messages[key], now)
            if not self._messages[key]:
                del self._messages[key]
