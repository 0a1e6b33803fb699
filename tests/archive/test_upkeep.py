"""What an operator does with all records that match, on both engines."""

import pytest

from gateway.archive import following
from gateway.archive.archive import Archive
from gateway.archive.filters import RecordFilter
from gateway.archive.listing import Order
from gateway.archive.upkeep import keys_of, spend
from gateway.model.freshness import CacheEntry, serves_stale
from tests.archive.support import T0, entry, key
from tests.archive.test_following import new

pytestmark = pytest.mark.anyio

DELIVERED, SENT = 4, 3
"""As `states` numbers them."""


async def kept(archive: Archive) -> dict[int, CacheEntry]:
    page = await archive.list_page(RecordFilter(), Order.CHANGED_ASC, after=None, limit=10)
    return {one.entry.record.key.id: one.entry for one in page if one.entry.record is not None}


async def test_the_keys_are_those_that_match(archive: Archive) -> None:
    for id_, status in ((1, 1), (2, 0), (3, 0)):
        archive.record(key(id_), entry(key(id_), status))
    await archive.flush()
    wanted = RecordFilter(states=frozenset({SENT}))
    found = await archive.read(keys_of, archive.names, wanted, 10)
    assert sorted(found) == [key(2), key(3)]
    assert len(await archive.read(keys_of, archive.names, RecordFilter(), 2)) == 2
    nobody = RecordFilter(senders=("nobody",))
    assert await archive.read(keys_of, archive.names, nobody, 10) == []
    assert await archive.read(keys_of, archive.names, RecordFilter(states=frozenset()), 10) == []


async def test_what_is_spent_answers_nobody_and_is_otherwise_the_same(archive: Archive) -> None:
    now = T0 + 60.0
    for id_, status in ((1, 1), (2, 1), (3, 0)):
        archive.record(key(id_), entry(key(id_), status))
    await archive.flush()
    before = await kept(archive)
    page = await archive.list_page(RecordFilter(), Order.CHANGED_ASC, after=None, limit=10)
    numbers = [one.no for one in page if one.entry.record and one.entry.record.key != key(2)]
    await archive.write(spend, numbers, now)
    after = await kept(archive)
    assert [serves_stale(after[id_], now) for id_ in (1, 2, 3)] == [False, True, False]
    assert after[2] == before[2]
    for id_ in (1, 3):
        assert after[id_].record == before[id_].record
        assert after[id_].observed_at == before[id_].observed_at
    assert (await archive.summary(RecordFilter())).total == 3
    archive.record(key(1), entry(key(1), at=T0 + 100))  # it was asked for anew
    await archive.flush()
    assert serves_stale((await kept(archive))[1], T0 + 101)


async def test_that_a_follow_is_over_with_the_first_answer_is_kept(archive: Archive) -> None:
    await archive.write(following.create, new(until_state=None, once=True))
    [told] = await archive.read(following.progress_of, "billing")
    assert (told.follow.once, told.follow.until_state) == (True, None)
