"""What is kept of follows, on both engines."""

import asyncio
from typing import Any

import pytest

from gateway.archive import following
from gateway.archive.archive import Archive, erase_phones
from gateway.archive.filters import RecordFilter
from gateway.archive.following import Follow, NewFollow, Outcome, Step
from gateway.archive.listing import Order
from gateway.errors import InvalidArgument, QuotaExceeded
from gateway.model.records import DetailLevel, MessageState, StatusKey
from tests.archive.support import T0, entry, key

pytestmark = pytest.mark.anyio

DELIVERED = 4
"""As `states` numbers it."""


def new(*keys: StatusKey, id: str = "f1", **more: Any) -> NewFollow:  # noqa: ANN401 - its fields
    wanted = NewFollow(
        id,
        "billing",
        "letter",
        None,
        "digest",
        T0,
        T0 + 3600,
        MessageState.READ,
        DetailLevel.STANDARD,
        keys or (key(1), key(2), key(3)),
    )
    return wanted._replace(**more)


async def test_it_is_kept_as_it_was_asked_for(archive: Archive) -> None:
    assert await archive.write(following.create, new()) == "f1"
    [told] = await archive.read(following.progress_of, "billing")
    assert told.follow == Follow(
        told.follow.no,
        "f1",
        "billing",
        "letter",
        T0,
        T0 + 3600,
        MessageState.READ,
        DetailLevel.STANDARD,
        None,
    )
    assert (told.total, told.outcomes, told.states, told.ahead) == (3, {Outcome.UNSEEN: 3}, {}, 3)
    assert await archive.read(following.progress_of, "other") == []
    assert await archive.read(following.find, "other", "f1") is None
    loaded = await archive.read(following.load, told.follow.no)
    assert loaded is not None
    follow, steps, ids = loaded
    assert (follow, [one.phone for one in steps], ids) == (
        told.follow,
        [key().phone] * 3,
        [1, 2, 3],
    )


async def test_how_far_it_is(archive: Archive) -> None:
    await archive.write(following.create, new())
    await archive.write(following.create, new(key(9), id="f2"))
    [second, first] = await archive.read(following.progress_of, "billing")
    assert (first.ahead, second.ahead) == (3, 4)
    no = first.follow.no
    steps = [
        Step(no, 0, "79990000009", Outcome.FINAL, DELIVERED),
        Step(no, 1, key().phone, Outcome.SEEN, None),
        Step(no, 2, key().phone, Outcome.NOT_FOUND, None),
    ]
    await archive.write(following.write, steps, [], T0 + 60)
    [second, first] = await archive.read(following.progress_of, "billing")
    assert (first.total, first.ahead, second.ahead) == (3, 0, 1)
    assert first.outcomes == {Outcome.FINAL: 1, Outcome.SEEN: 1, Outcome.NOT_FOUND: 1}
    assert first.states == {"DELIVERED": 1}
    loaded = await archive.read(following.load, no)
    assert loaded is not None
    assert [one.place for one in loaded[1]] == [1]
    await archive.write(following.write, [], [no], T0 + 120)
    assert list(await archive.read(following.numbers_open)) == [second.follow.no]
    [_, first] = await archive.read(following.progress_of, "billing")
    assert first.follow.done_at == T0 + 120
    await archive.write(following.forget_done, T0 + 121)
    assert [one.follow.id for one in await archive.read(following.progress_of, "billing")] == ["f2"]
    assert await archive.read(following.load, no) is None
    assert await archive.write(following.create, new(id="f3")) == "f3"
    [third, _] = await archive.read(following.progress_of, "billing")
    assert third.follow.no > second.follow.no


async def test_a_token_is_its_owners_and_holds_one_body(archive: Archive) -> None:
    assert await archive.write(following.create, new(token="a")) == "f1"
    assert await archive.write(following.create, new(token="a", id="f2")) == "f1"
    assert await archive.write(following.create, new(token="a", id="f3", owner="other")) == "f3"
    with pytest.raises(InvalidArgument):
        await archive.write(following.create, new(token="a", id="f4", digest="another"))


async def test_two_at_once_do_not_pass_the_most(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOST_FOLLOWED", 5)
    made = await asyncio.gather(
        *(archive.write(following.create, new(id=f"f{number}")) for number in range(3)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, QuotaExceeded) for one in made) == 2


async def test_its_records_are_those_of_its_keys(archive: Archive) -> None:
    for number in range(1, 8):
        of = key(number)
        archive.record(of, entry(of, 1, at=T0 + number))
    await archive.flush()
    await archive.write(following.create, new(key(2), key(3), key(5), key(77)))
    [told] = await archive.read(following.progress_of, "billing")
    wanted = RecordFilter(follow=told.follow.no)
    listed = await archive.list_page(wanted, Order.CHANGED_DESC, after=None, limit=2)
    more = await archive.list_page(wanted, Order.CHANGED_DESC, after=listed[-1].position, limit=5)
    records = [one.entry.record for one in listed + more]
    assert [record and record.id for record in records] == ["5", "3", "2"]
    narrowed = await archive.list_page(
        wanted._replace(ids=(3, 4)), Order.SENT_ASC, after=None, limit=5
    )
    assert [one.entry.record and one.entry.record.id for one in narrowed] == ["3"]


async def test_an_erased_number_leaves_follows_as_well(archive: Archive) -> None:
    other = "79990000002"
    await archive.write(following.create, new(key(1), key(2, other)))
    await erase_phones(archive.database, [key().phone])
    [told] = await archive.read(following.progress_of, "billing")
    loaded = await archive.read(following.load, told.follow.no)
    assert loaded is not None
    assert [one.phone for one in loaded[1]] == [other]
