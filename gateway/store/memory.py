"""The store of one process: bounded; what was not read for longest goes first, roughly.

Freshness lives in the entry (see `freshness`), so nothing expires here. Not for threads: it is used
from the event loop alone.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from cachetools import Cache, LRUCache

from gateway.model.freshness import Known
from gateway.model.records import DetailLevel, StatusKey

SECOND_CHANCES: Final = 8
"""Entries that one new entry may keep from going, because they were read: it bounds its time."""


class _Entry(msgspec.Struct, gc=False):
    """What is known, and whether it was read since it came to the young end.

    `settled_until`: until then it is fresh and final, so that it answers whoever asks for nothing
    unusual and no more than its `level` of detail; 0: it is not.
    """

    known: Known
    settled_until: float
    level: int
    is_read: bool = False


class _Entries(LRUCache[StatusKey, _Entry]):
    """The CLOCK algorithm: to read an entry moves nothing, and gives it a second chance later."""

    def popitem(self) -> tuple[StatusKey, _Entry]:
        for _ in range(SECOND_CHANCES):
            key, entry = super().popitem()
            if not entry.is_read:
                return key, entry
            entry.is_read = False
            self[key] = entry
        return super().popitem()


class MemoryStore:
    """Key → what is known of it.

    The garbage collector has next to nothing to do here: keys and entries refer to nothing that
    could refer to them, so it does not know them. The order of the entries it looks through each
    time, unless it was told by `gc.freeze`, after the store was made, not to.
    """

    is_shared = False
    """Do other processes know more?"""

    def __init__(self, max_records: int) -> None:
        self._entries = _Entries(max_records)

    def get(self, key: StatusKey) -> Known | None:
        try:
            entry: _Entry = _peek(self._entries, key)
        except KeyError:
            return None
        entry.is_read = True
        return entry.known

    def get_settled(
        self, keys: Iterable[StatusKey], detail: DetailLevel, now: float
    ) -> list[Known] | None:
        """What is known of the keys, if each is fresh, final and told in such detail."""
        level = detail.all
        found = []
        for key in keys:
            try:
                entry: _Entry = _peek(self._entries, key)
            except KeyError:
                return None
            if now >= entry.settled_until or level > entry.level:
                return None
            entry.is_read = True
            found.append(entry.known)
        return found

    def holds(self, keys: Iterable[StatusKey], known: Iterable[Known]) -> bool:
        """Is this still what is known of the keys: the very same, for nothing was learned?"""
        for key, one in zip(keys, known, strict=True):
            try:
                entry: _Entry = _peek(self._entries, key)
            except KeyError:
                return False
            if entry.known is not one:
                return False
            entry.is_read = True
        return True

    def keep(self, key: StatusKey, known: Known) -> None:
        """Keep it, in this process."""
        settled_until = known.fresh_until if _is_final(known) else 0.0
        self._entries[key] = _Entry(known, settled_until, known.detail.all)

    def put(self, key: StatusKey, known: Known) -> None:
        """Keep it, and tell the other processes, if there are any."""
        self.keep(key, known)

    async def recall(self, keys: Iterable[StatusKey]) -> bool:  # noqa: ARG002 - the port
        """Learn from other processes what is not known here; False: they know no more."""
        return False

    def unfinished(self) -> list[StatusKey]:
        """The keys whose record may still change."""
        return [key for key in self._entries if not _is_final(_peek(self._entries, key).known)]

    def __len__(self) -> int:
        return len(self._entries)


def _is_final(known: Known) -> bool:
    return known.record is not None and known.record.is_final


_peek = Cache.__getitem__
"""Reads and moves nothing, as the base of all caches does."""
