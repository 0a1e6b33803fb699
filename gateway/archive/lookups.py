"""Gathers look-ups: what is asked for while the database is read is read together after that.

So a thousand misses at once cost a few statements, and a single one waits for nobody.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from gateway.archive.database import Database
from gateway.archive.rows import Kept, batches, entries_of
from gateway.model.records import StatusKey

AT_ONCE: Final = 1000
"""Keys that are read by one statement."""

PATIENCE: Final = 1.0
"""Seconds for a look-up, before the provider is asked instead."""


class _Batch:
    """Keys that are read together, and what is found of them."""

    def __init__(self) -> None:
        self.keys: dict[StatusKey, None] = {}
        self.found: asyncio.Future[dict[StatusKey, Kept]] = (
            asyncio.get_running_loop().create_future()
        )


class LookUps:
    """Finds keys in a database, a batch after the other."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: _Batch | None = None
        self._reading: asyncio.Task[None] | None = None

    async def find(self, keys: Sequence[StatusKey]) -> dict[StatusKey, Kept]:
        """What is kept of those of the keys of which something is.

        Raises what the database does, and `TimeoutError` after `PATIENCE`.
        """
        async with asyncio.timeout(PATIENCE):
            if self._waiting is None:
                self._waiting = _Batch()
            batch = self._waiting
            batch.keys.update(dict.fromkeys(keys))
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            found = await asyncio.shield(batch.found)
        return {key: found[key] for key in keys if key in found}

    def close(self) -> None:
        """Look for nothing any more."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> None:
        while (batch := self._waiting) is not None:
            self._waiting = None
            found: dict[StatusKey, Kept] = {}
            try:
                async with asyncio.timeout(PATIENCE):
                    for some in batches(list(batch.keys), AT_ONCE):
                        found |= await self._database.read(entries_of, some)
            except Exception as error:  # noqa: BLE001 - it is theirs who wait
                batch.found.set_exception(error)
                batch.found.exception()  # they may all have left
            else:
                batch.found.set_result(found)
