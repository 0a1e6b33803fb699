"""Recent demand: the keys that callers asked for lately, and will likely ask for again."""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.model.records import DetailLevel, StatusKey

MEMORY = 60.0
"""Seconds: who polls comes back within a minute. Interest halves in this time."""

MAX_KEYS = 2000
"""Keys remembered, the latest asked for; twenty mass requests' worth."""


@dataclass(slots=True)
class _Asked:
    score: float
    at: float
    detail: DetailLevel


class RecentDemand:
    """How often each key was asked for, old times counting less. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._asked: dict[StatusKey, _Asked] = {}

    def note(self, key: StatusKey, detail: DetailLevel, now: float) -> None:
        """Somebody asked."""
        before = self._asked.pop(key, None)
        if before is None:
            self._asked[key] = _Asked(1.0, now, detail)
            if len(self._asked) > MAX_KEYS:
                del self._asked[next(iter(self._asked))]
            return
        before.score = 1.0 + before.score * 0.5 ** ((now - before.at) / MEMORY)
        before.at = now
        before.detail = detail
        self._asked[key] = before

    def recent(self, now: float) -> Iterator[tuple[StatusKey, DetailLevel, int]]:
        """What was asked for lately, with the level last asked for and how often."""
        for key, asked in reversed(self._asked.items()):
            if now - asked.at > MEMORY:
                return
            yield key, asked.detail, round(asked.score)
