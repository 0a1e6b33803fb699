"""What is learned is written once, in order, and the newest is what is kept."""

import pytest
from msgspec.structs import replace
from sqlalchemy import func, select

from gateway.archive.archive import Archive
from gateway.archive.history import histories
from gateway.archive.tables import CHANGES, RECORDS
from gateway.model.records import StatusKey
from tests.archive.support import PHONE, T0, entry, key, value_in

pytestmark = pytest.mark.anyio


async def states(archive: Archive, of: StatusKey) -> list[str]:
    """The states a key went through."""
    number = await value_in(archive, select(RECORDS.c.no).where(RECORDS.c.id == of.id))
    if number is None:
        return []
    found = await archive.read(histories, archive.names, [number])
    return [one.state for one in found[number]]


async def test_what_was_recorded_is_found_before_and_after_it_is_written(archive: Archive) -> None:
    sent = entry(key(), 0)
    archive.record(key(), sent)
    assert await archive.look_up([key(), key(2)]) == {key(): sent}
    await archive.flush()
    found = await archive.look_up([key(), key(2)])
    assert found == {key(): replace(sent, content=False)}


async def test_each_change_is_kept_once_and_repetitions_are_none(archive: Archive) -> None:
    for status, at in [(0, 10), (0, 11), (1, 20), (1, 30), (2, 40)]:
        archive.record(key(), entry(key(), status, at=T0 + at))
    await archive.flush()
    archive.record(key(), entry(key(), 2, at=T0 + 50))
    await archive.flush()
    assert await states(archive, key()) == ["SENT", "DELIVERED", "READ"]


async def test_what_is_overtaken_is_no_change_and_moves_nothing_back(archive: Archive) -> None:
    archive.record(key(), entry(key(), 1, at=T0 + 20))
    await archive.flush()
    archive.record(key(), entry(key(), 0, at=T0 + 10))
    await archive.flush()
    assert await states(archive, key()) == ["DELIVERED"]
    (found,) = (await archive.look_up([key()])).values()
    assert found.record is not None
    assert found.record.state == "DELIVERED"


async def test_two_replicas_that_learn_the_same_record_it_once(url: str, archive: Archive) -> None:
    other = Archive(type(archive.database)(*_place(url)), archive._clock, content=False, days=0)  # noqa: SLF001
    for one in (archive, other):
        one.record(key(), entry(key(), 1))
        await one.flush()
    await other.aclose()
    assert await states(archive, key()) == ["DELIVERED"]


def _place(url: str) -> tuple[object, ...]:
    from pathlib import Path  # noqa: PLC0415

    return (Path(url.removeprefix("sqlite:///")),) if url.startswith("sqlite") else (url,)


async def test_what_is_erased_is_gone_with_its_changes(archive: Archive) -> None:
    archive.record(key(), entry(key(), 0))
    await archive.flush()
    archive.record(key(), entry(key(), 1))
    archive.erase(key())
    assert await archive.look_up([key()]) == {}
    await archive.flush()
    assert await archive.look_up([key()]) == {}
    for table in (RECORDS, CHANGES):
        assert await value_in(archive, select(func.count()).select_from(table)) == 0


async def test_texts_are_kept_only_if_they_are_to_be(archive: Archive) -> None:
    full = entry(key(), 1, message="secret", comment="also")
    archive.record(key(), full)
    await archive.flush()
    (found,) = (await archive.look_up([key()])).values()
    assert found.record is not None
    assert (found.record.text, found.content) == (None, False)


async def test_many_are_written_in_several_transactions(archive: Archive) -> None:
    keys = [key(number) for number in range(1, 1201)]
    for one in keys:
        archive.record(one, entry(one, 1))
    await archive.flush()
    assert len(await archive.look_up(keys)) == len(keys)
    assert keys[0].phone == PHONE


async def test_what_is_erased_while_it_is_written_is_told_no_more(archive: Archive) -> None:
    archive.record(key(), entry(key(), 1))
    writer = archive._writer  # noqa: SLF001 - a transaction that is under way
    writer._writing, writer._pending = writer._pending, {}  # noqa: SLF001 - as above
    archive.erase(key())
    assert await archive.look_up([key()]) == {}
    assert await archive.histories([key()]) == {key(): []}
    archive.record(key(), entry(key(), 0))
    assert [one.state for one in (await archive.histories([key()]))[key()]] == ["SENT"]
    await archive.flush()
    assert await states(archive, key()) == ["SENT"]
