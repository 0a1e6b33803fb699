"""Words as numbers: operators, countries, senders and error codes repeat in a million rows."""

from collections.abc import Collection, Iterable
from typing import Final

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.archive.tables import NAMES

LONGEST: Final = 200
"""Characters of a name that are kept; the longest operator of the provider's has some forty."""

MOST: Final = 100_000
"""Names remembered in the process; beyond that all are read anew."""


class Names:
    """The table `names`, with what was read of it. A name, once numbered, keeps its number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}

    async def numbers(self, connection: AsyncConnection, names: Iterable[str]) -> dict[str, int]:
        """The numbers of those names that have one; one with a NUL, as no text may, has none."""
        wanted = {name[:LONGEST] for name in names if "\0" not in name}
        known = {name: self._numbers[name] for name in wanted & self._numbers.keys()}
        rows = await self._read(connection, NAMES.c.name.in_, wanted - known.keys())
        return known | {name: number for number, name in rows}

    async def names(self, connection: AsyncConnection, numbers: Iterable[int]) -> dict[int, str]:
        """The names of these numbers."""
        wanted = set(numbers)
        known = {number: self._names[number] for number in wanted & self._names.keys()}
        return known | dict(await self._read(connection, NAMES.c.no.in_, wanted - known.keys()))

    async def number(self, connection: AsyncConnection, names: Iterable[str]) -> dict[str, int]:
        """The number of each name, given now to those that have none; by who writes, alone.

        They are remembered only by `numbers` and `names`, for a transaction may still fail.
        """
        wanted = {name[:LONGEST] for name in names}
        found = await self.numbers(connection, wanted)
        if missing := sorted(wanted - found.keys()):
            last = await connection.scalar(select(NAMES.c.no).order_by(NAMES.c.no.desc()).limit(1))
            given = {name: number for number, name in enumerate(missing, (last or 0) + 1)}
            rows = [{"no": number, "name": name} for name, number in given.items()]
            await connection.execute(insert(NAMES), rows)
            found |= given
        return found

    def forget(self) -> None:
        """Another database, or an earlier state of it, may stand behind now."""
        self._numbers, self._names = {}, {}

    async def _read(
        self, connection: AsyncConnection, among: "object", missing: Collection[object]
    ) -> list[tuple[int, str]]:
        if not missing:
            return []
        query = select(NAMES.c.no, NAMES.c.name).where(among(list(missing)))  # type: ignore[operator]
        rows = [(number, name) for number, name in await connection.execute(query)]
        if len(self._numbers) > MOST:
            self.forget()
        for number, name in rows:
            self._numbers[name] = number
            self._names[number] = name
        return rows
