"""Computes `Retry-After` for callers that are turned away, so that they come back in turn.

Whoever is turned away is told when the planner expects to have room for this key, behind all that
waits already and behind those who were told so before. So a thousand keys that are too many for now
come back as they can be asked for, and not all of them every second. Times are monotonic seconds.
"""

from typing import NamedTuple

from gateway.model.records import StatusKey

MAX_KEYS = 10_000
"""Keys remembered; beyond that the oldest are forgotten, and the next are told too soon."""


class Capacity(NamedTuple):
    """What the limits let through.

    `rate`: single requests a second. In `mass_in` seconds, and every `window` seconds from then on,
    a mass request carries `mass_ids` keys at once.
    """

    rate: float
    mass_in: float
    mass_ids: int
    window: float

    def seconds_for(self, keys: int) -> float:
        """Seconds until the last of so many keys can be asked for, in single and mass requests."""
        carried, mass_in = 0, self.mass_in
        while (singles := keys - carried) > self.rate * mass_in:
            carried += self.mass_ids
            if keys - carried <= self.rate * mass_in:
                return max(mass_in, 1 / self.rate)  # it takes a place as well
            mass_in += self.window
        return singles / self.rate


class Backlog:
    """The keys that are to come back, each with the moment its caller was told."""

    def __init__(self) -> None:
        self._turns: dict[StatusKey, float] = {}

    def turn_away(self, key: StatusKey, now: float, *, waiting: int, capacity: Capacity) -> float:
        """Queue a turned-away key behind `waiting` and earlier ones; seconds until it may retry."""
        self.returned(key)
        while self._turns and (first := next(iter(self._turns.items())))[1] <= now:
            del self._turns[first[0]]
        seconds = capacity.seconds_for(waiting + len(self._turns) + 1)
        self._turns[key] = now + seconds
        if len(self._turns) > MAX_KEYS:
            del self._turns[next(iter(self._turns))]
        return seconds

    def ahead(self, now: float) -> int:
        """How many keys are to come back after this moment."""
        return sum(turn > now for turn in self._turns.values())

    def returned(self, key: StatusKey) -> None:
        """A key is asked for again, at its time or before."""
        self._turns.pop(key, None)
