"""Accounts share a database, and none of them sees, counts or forgets what is another's."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from gateway.archive import following
from gateway.archive.adopting import OccupiedError, adopt
from gateway.archive.archive import Archive, erase_phones, forget_before, open_database
from gateway.archive.changes import (
    Edge,
    FeedPage,
    FeedPosition,
    cursor_of,
    position_of,
    read_page,
)
from gateway.archive.filters import RecordFilter
from gateway.archive.following import NewFollow, Outcome
from gateway.archive.listing import Order
from gateway.archive.tables import FOLLOWED, RECORDS
from gateway.errors import InvalidArgument
from gateway.model.records import DetailLevel, MessageState
from tests.archive.support import PHONE, T0, entry, key, rows_in
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

Two = tuple[Archive, Archive]
ALL = RecordFilter()


@pytest.fixture
async def two(url: str) -> AsyncIterator[Two]:
    """The archives of two accounts, each of which knows the same key in another state."""
    archives = [
        Archive(open_database(url, name), FakeClock(), content=False, days=0)
        for name in ("ru", "kz")
    ]
    for archive, status in zip(archives, (1, 20), strict=True):
        archive.record(key(1), entry(key(1), status))
        await archive.flush()
    yield archives[0], archives[1]
    for archive in archives:
        await archive.aclose()


async def states_in(archive: Archive) -> list[str]:
    listed = await archive.list_page(ALL, Order.CHANGED_DESC, after=None, limit=10)
    return [one.entry.record.state.value for one in listed if one.entry.record is not None]


async def changes_of(archive: Archive, after: FeedPosition | Edge, limit: int = 10) -> FeedPage:
    return await archive.read(read_page, archive.names, ALL, after, limit)


async def test_each_has_a_record_of_its_own(two: Two) -> None:
    ru, kz = two
    assert await states_in(ru) == [MessageState.DELIVERED]
    assert await states_in(kz) == [MessageState.UNDELIVERABLE]
    for archive, state in ((ru, "DELIVERED"), (kz, "UNDELIVERABLE")):
        found = (await archive.look_up([key(1)]))[key(1)].record
        assert found is not None
        assert found.state.value == state
        (changes,) = (await archive.histories([key(1)])).values()
        assert [one.state for one in changes] == [state]
        summary = await archive.summary(ALL)
        assert [(one.state, one.count) for one in summary.by_state] == [(state, 1)]
        assert await archive.count(ALL) == 1


async def test_each_reads_its_own_changes(two: Two) -> None:
    ru, kz = two
    pages = [await changes_of(one, Edge.OLDEST) for one in two]
    assert [[one.change.state for one in page.changes] for page in pages] == [
        ["DELIVERED"],
        ["UNDELIVERABLE"],
    ]
    assert (await changes_of(kz, pages[1].next)).changes == []
    ru.record(key(2), entry(key(2), 0))
    await ru.flush()
    assert (await changes_of(kz, pages[1].next)).changes == []
    assert len((await changes_of(ru, pages[0].next)).changes) == 1


async def test_a_cursor_of_another_account_is_refused(two: Two) -> None:
    ru, kz = two
    page = await changes_of(ru, Edge.OLDEST)
    with pytest.raises(InvalidArgument, match="another account"):
        await changes_of(kz, position_of(cursor_of(page.next)))
    (listed,) = await ru.list_page(ALL, Order.CHANGED_DESC, after=None, limit=1)
    with pytest.raises(InvalidArgument, match="another account"):
        await kz.list_page(ALL, Order.CHANGED_DESC, after=listed.position, limit=1)


async def test_what_one_forgets_the_other_keeps(two: Two) -> None:
    ru, kz = two
    before = await changes_of(kz, Edge.OLDEST)
    assert await forget_before(ru.database, T0 + 10**6) == 1
    assert await states_in(ru) == []
    assert await states_in(kz) == [MessageState.UNDELIVERABLE]
    assert (await changes_of(kz, Edge.OLDEST)).changes == before.changes
    kz.erase(key(1))
    await kz.flush()
    assert await rows_in(ru, select(RECORDS)) == []


async def test_a_number_is_erased_in_one_account(two: Two) -> None:
    ru, kz = two
    assert (await erase_phones(kz.database, [PHONE])).records == 1
    assert await states_in(ru) == [MessageState.DELIVERED]


def wanted(id_: str) -> NewFollow:
    return NewFollow(
        id_, "desk", None, "token", "digest", T0, T0 + 100, None, DetailLevel.FULL, [key(1)]
    )


async def test_each_has_its_follows(two: Two) -> None:
    ru, kz = two
    assert await ru.write(following.create, wanted("of-ru")) == "of-ru"
    assert await kz.write(following.create, wanted("of-kz")) == "of-kz", "the token is another's"
    (progress,) = await kz.read(following.progress_of, "desk")
    assert (progress.follow.id, progress.ahead) == ("of-kz", 1)
    assert await ru.read(following.find, "desk", "of-kz") is None
    assert list(await ru.read(following.numbers_open)) == [1]
    kz.erase(key(1))
    await kz.flush()
    left = await rows_in(ru, select(FOLLOWED.c.phone, FOLLOWED.c.outcome))
    assert sorted(left) == [("", Outcome.UNSEEN), (PHONE, Outcome.UNSEEN)]


async def test_an_account_adopts_what_had_no_name(url: str) -> None:
    alone = Archive(open_database(url), FakeClock(), content=False, days=0)
    alone.record(key(1), entry(key(1), 1))
    await alone.flush()
    await alone.write(following.create, wanted("before"))
    before = await alone.summary(ALL)
    cursor = (await changes_of(alone, Edge.OLDEST)).next
    await alone.aclose()
    ru = Archive(open_database(url, "ru"), FakeClock(), content=False, days=0)
    await ru.flush()
    assert await ru.count(ALL) == 0
    assert await ru.write(adopt) == 1
    assert await ru.summary(ALL) == before
    assert (await changes_of(ru, Edge.OLDEST)).next == cursor._replace(account="ru")
    ru.record(key(2), entry(key(2), 0))
    await ru.flush()
    (change,) = (await changes_of(ru, cursor)).changes  # who read on before reads on
    assert change.key == key(2)
    assert await ru.read(following.find, "desk", "before")
    with pytest.raises(OccupiedError):
        await ru.write(adopt)
    await ru.aclose()
