"""Words as numbers: operators, countries, senders and error codes repeat in a million rows."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, TypeVar

from sqlalchemy import Connection, insert, select

from gateway.archive.tables import NAMES

LONGEST: Final = 200
"""Characters of a name that are kept; the longest operator of the provider's has some forty."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

MOST: Final = 100_000
"""Names remembered in the process; beyond that all are read anew."""


class Names:
    """The table `names`, with what was read of it. A name, once numbered, keeps its number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def numbers(self, connection: Connection, names: Iterable[str]) -> dict[str, int]:
        """The numbers of those names that have one; one with a NUL, as no text may, has none."""
        wanted = {name[:LONGEST] for name in names if "\0" not in name}
        known = _those(self._numbers, wanted)
        rows = self._read(connection, NAMES.c.name.in_, wanted - known.keys())
        return known | {name: number for number, name in rows}

    def names(self, connection: Connection, numbers: Iterable[int]) -> dict[int, str]:
        """The names of these numbers."""
        wanted = set(numbers)
        known = _those(self._names, wanted)
        return known | dict(self._read(connection, NAMES.c.no.in_, wanted - known.keys()))

    def number(self, connection: Connection, names: Iterable[str]) -> dict[str, int]:
        """The number of each name, given now to those that have none; by who writes, alone.

        They are remembered only by `numbers` and `names`, for a transaction may still fail.
        """
        wanted = {name[:LONGEST] for name in names}
        found = self.numbers(connection, wanted)
        if missing := sorted(wanted - found.keys()):
            last = connection.scalar(select(NAMES.c.no).order_by(NAMES.c.no.desc()).limit(1))
            given = {name: number for number, name in enumerate(missing, (last or 0) + 1)}
            rows = [{"no": number, "name": name} for name, number in given.items()]
            connection.execute(insert(NAMES), rows)
            found |= given
        return found

    def forget(self) -> None:
        """Another database, or an earlier state of it, may stand behind now."""
        self._numbers, self._names = {}, {}

    def _read(
        self, connection: Connection, among: "object", missing: Collection[object]
    ) -> list[tuple[int, str]]:
        if not missing:
            return []
        query = select(NAMES.c.no, NAMES.c.name).where(among(list(missing)))  # type: ignore[operator]
        rows = [(number, name) for number, name in connection.execute(query)]
        if len(self._numbers) > MOST:
            self.forget()
        for number, name in rows:
            self._numbers[name] = number
            self._names[number] = name
        return rows


def _those(known: Mapping[_Key, _Value], wanted: Iterable[_Key]) -> dict[_Key, _Value]:
    """What is known of these; other threads may learn more meanwhile."""
    return {key: value for key in wanted if (value := known.get(key)) is not None}
