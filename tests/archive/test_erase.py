"""What is erased is gone from the tables, and from the bytes on the disk."""

import random
from collections.abc import Collection
from pathlib import Path

import pytest
from sqlalchemy import func, select

from gateway.archive import database as databases
from gateway.archive.archive import Archive, Rows, erase_phones, open_database, spellings_of
from gateway.archive.database import Database
from gateway.archive.tables import CHANGES, RECORDS
from tests.archive.support import PHONE, T0, elsewhere, entry, key, rows_in, value_in
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

OTHERS = 3000
"""Messages beside those that are erased: so many that rows are moved between pages."""


def traces(folder: Path, of: Collection[bytes]) -> int:
    """How many of these byte strings are in any of the files."""
    files = [path.read_bytes() for path in folder.iterdir()]
    assert any(files)
    return sum(any(one in file for file in files) for one in of)


async def filled(archive: Archive) -> tuple[list[str], list[bytes]]:
    """Write messages of many numbers; some of the numbers, and what is kept of those, packed."""
    rng = random.Random(1)
    phones = [f"7999{rng.randrange(10**6, 10**7)}" for _ in range(OTHERS)]
    for number, phone in enumerate(phones, 1):
        of = key(number, phone)
        archive.record(of, entry(of, 0, at=T0 + 20))
        archive.record(of, entry(of, 1, at=T0 + 30 + rng.randrange(90_000)))
        if number % 500 == 0:
            await archive.flush()
    gone = rng.sample(phones, 300)
    query = select(RECORDS.c.entry).where(RECORDS.c.phone.in_(gone))
    return gone, [entry for (entry,) in await rows_in(archive, query)]


async def test_nothing_of_a_number_that_was_erased_is_left_in_the_files(tmp_path: Path) -> None:
    """A gateway has the same file open all the time."""
    url = f"sqlite:///{tmp_path}/archive.db"
    gateway = Archive(open_database(url), FakeClock(), content=False, days=0)
    gone, packed = await filled(gateway)
    told = [phone.encode() for phone in gone]
    assert traces(tmp_path, told) == len(set(gone))
    assert traces(tmp_path, packed) == len(packed)
    database = open_database(url)
    erased = await erase_phones(database, gone)
    await database.aclose()
    assert erased == Rows(len(packed), 2 * len(packed))
    assert (traces(tmp_path, told), traces(tmp_path, packed)) == (0, 0)
    of = key(1, "79990009999")
    gateway.record(of, entry(of))
    await gateway.flush()
    assert await gateway.look_up([of])
    kept = await value_in(gateway, select(func.count()).select_from(RECORDS))
    assert kept == OTHERS - len(packed) + 1
    await gateway.aclose()


async def test_a_reader_that_keeps_the_journal_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/archive.db"
    gateway = Archive(open_database(url), FakeClock(), content=False, days=0)
    gateway.record(key(), entry(key()))
    await gateway.flush()
    database = open_database(url)
    monkeypatch.setattr(databases, "BUSY", 0.01)
    with elsewhere(url) as connection:
        connection.exec_driver_sql("BEGIN")
        connection.scalar(select(func.count()).select_from(RECORDS))
        with pytest.raises(TimeoutError, match="do it again"):
            await erase_phones(database, [PHONE])
    assert await erase_phones(database, [PHONE]) == Rows(0, 0)
    assert traces(tmp_path, [PHONE.encode()]) == 0
    await database.aclose()
    await gateway.aclose()


async def test_all_spellings_of_a_number_are_erased_and_no_other(
    archive: Archive, database: Database
) -> None:
    addresses = ["Someone@Example.com", "someone@example.com"]
    phones = ["79990000001", "89990000001", "79990000002", *addresses]
    for phone in phones:
        archive.record(key(1, phone), entry(key(1, phone), 0))
        archive.record(key(1, phone), entry(key(1, phone), 1))
    await archive.flush()
    for phone, spellings in (
        ("89990000001", ["79990000001", "89990000001"]),
        ("SOMEONE@example.com", ["SOMEONE@example.com", *addresses]),
    ):
        assert await database.read(spellings_of, phone) == spellings
        assert await erase_phones(database, spellings) == Rows(2, 4)
    assert await rows_in(database, select(RECORDS.c.phone)) == [("79990000002",)]
    assert await value_in(database, select(func.count()).select_from(CHANGES)) == 2
