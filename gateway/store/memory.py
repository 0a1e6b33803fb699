"""The store of one process: bounded, evicts by second chance (the CLOCK algorithm).

Freshness lives in the entry (see `freshness`), so nothing expires here. Not for threads: it is used
from the event loop alone.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from cachetools import Cache, LRUCache

from gateway.model.freshness import CacheEntry
from gateway.model.records import DetailLevel, StatusKey

SECOND_CHANCES: Final = 8
"""Entries that one new entry may keep from going, because they were read: it bounds its time."""


class _Slot(msgspec.Struct, gc=False):
    """What is known, and whether it was read since it came to the young end.

    `settled_until`: until then it is fresh and final, so that it answers whoever asks for nothing
    unusual and no more than its `level` of detail; 0: it is not. `bare_level`: the same for those
    who want no content.
    """

    entry: CacheEntry
    settled_until: float
    level: int
    bare_level: int
    is_read: bool = False


class _Slots(LRUCache[StatusKey, _Slot]):
    """The CLOCK algorithm: to read an entry moves nothing, and gives it a second chance later."""

    def popitem(self) -> tuple[StatusKey, _Slot]:
        for _ in range(SECOND_CHANCES):
            key, slot = super().popitem()
            if not slot.is_read:
                return key, slot
            slot.is_read = False
            self[key] = slot
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
        self._slots = _Slots(max_records)

    def get(self, key: StatusKey) -> CacheEntry | None:
        try:
            slot: _Slot = _peek(self._slots, key)
        except KeyError:
            return None
        slot.is_read = True
        return slot.entry

    def get_settled(
        self, keys: Iterable[Any], detail: DetailLevel, now: float, *, content: bool = True
    ) -> list[CacheEntry] | None:
        """The entries of the keys, if each is fresh, final and told in such detail.

        What is no `StatusKey` has none.
        """
        level = detail.all
        found = []
        for key in keys:
            try:
                slot: _Slot = _peek(self._slots, key)
            except KeyError:
                return None
            if now >= slot.settled_until or level > (slot.level if content else slot.bare_level):
                return None
            slot.is_read = True
            found.append(slot.entry)
        return found

    def holds(self, keys: Iterable[Any], entries: Iterable[CacheEntry]) -> bool:
        """Does the store still hold these very entries (by identity)?"""
        for key, entry in zip(keys, entries, strict=True):
            try:
                slot: _Slot = _peek(self._slots, key)
            except KeyError:
                return False
            if slot.entry is not entry:
                return False
            slot.is_read = True
        return True

    def keep(self, key: StatusKey, entry: CacheEntry) -> None:
        """Keep it, in this process."""
        settled_until = entry.fresh_until if _is_final(entry) else 0.0
        bare_level = entry.detail.all
        level = bare_level if entry.content else DetailLevel.BASIC.all
        self._slots[key] = _Slot(entry, settled_until, level, bare_level)

    def put(self, key: StatusKey, entry: CacheEntry) -> None:
        """Keep it, and tell the other processes, if there are any."""
        self.keep(key, entry)

    async def forget(self, keys: Iterable[StatusKey]) -> None:
        """Forget what is known of these keys, in all processes."""
        self.drop(keys)

    def drop(self, keys: Iterable[StatusKey]) -> None:
        """Forget what is known of these keys, in this process."""
        for key in keys:
            self._slots.pop(key, None)

    @property
    def most(self) -> int:
        """How many records it holds."""
        return int(self._slots.maxsize)

    async def recall(self, keys: Iterable[StatusKey]) -> bool:  # noqa: ARG002 - the port
        """Learn from other processes what is not known here; False: they know no more."""
        return False

    def unfinished(self) -> list[StatusKey]:
        """The keys whose record may still change."""
        return [key for key in self._slots if not _is_final(_peek(self._slots, key).entry)]

    def __len__(self) -> int:
        return len(self._slots)


def _is_final(entry: CacheEntry) -> bool:
    return entry.record is not None and entry.record.is_final


_peek = Cache.__getitem__
"""Reads and moves nothing, as the base of all caches does."""
