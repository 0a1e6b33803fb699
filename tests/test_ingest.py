"""Pushes join what is known: forwards only, whatever their order, and to the right message."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache import Pushed, Reading, RecordCache
from gateway.errors import GatewayError, NotFound
from gateway.model.freshness import CacheEntry
from gateway.model.records import DetailLevel, HlrLookup, Message, Record, StatusKey
from gateway.service import StatusQuery, StatusService
from gateway.simulator.push import signed
from gateway.smsc.push import Push, verify
from gateway.smsc.row import Row
from gateway.store.memory import MemoryStore
from gateway.upstream.budget.memory import MemoryBudget
from gateway.upstream.budget.port import Limits
from gateway.watch import Following, Watches
from tests.support.clock import START, FakeClock, settle

pytestmark = pytest.mark.anyio

PHONE = "79998887766"
KEY = StatusKey(PHONE, 30)
SENT = {"status": "0", "type": "0"}
DELIVERED = {"status": "1", "type": "0"}
BASIC, FULL = DetailLevel.BASIC, DetailLevel.FULL


class Provider:
    """Answers with what it is told to, after some seconds, and counts."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.seconds = 0.0
        self.rows: dict[StatusKey, dict[str, str]] = {}
        self.asked: list[StatusKey] = []

    async def ask(self, keys: Sequence[StatusKey], detail: DetailLevel) -> Mapping[StatusKey, Row]:
        del detail
        self.asked += keys
        told = {key: Row(self.rows.get(key, {"status": "-3"})) for key in keys}
        await self.clock.sleep(self.seconds)
        return told

    async def delete(self, key: StatusKey) -> None:
        self.rows.pop(key, None)


class Setup:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.provider = Provider(self.clock)
        self.service = StatusService(
            self.provider,
            MemoryBudget(Limits(), self.clock.monotonic),
            RecordCache(MemoryStore(1000), self.clock, Reading(UTC)),
            self.clock,
            mass_max_ids=100,
            max_wait=5,
            linger=10,
        )
        self.watches = Watches(self.service, self.clock)

    def push(self, status: int, **fields: object) -> Pushed:
        return self.service.ingest(push(status, **fields))

    def known(self, key: StatusKey = KEY) -> CacheEntry:
        known = self.service.peek(key)
        assert known is not None
        return known

    def record(self, key: StatusKey = KEY) -> Record:
        record = self.known(key).record
        assert record is not None
        return record

    async def poll(self, row: dict[str, str], key: StatusKey = KEY) -> None:
        self.provider.rows[key] = row
        await self.service.get(key, StatusQuery(FULL, max_age=0))


def push(status: int, **fields: object) -> Push:
    """A signed push, read."""
    form = {"id": "30", "phone": PHONE, "status": str(status), "type": "0"}
    form |= {name: str(value) for name, value in fields.items()}
    read = verify(signed(form, "secret"), "secret")
    assert read is not None
    return read


# Any order


class Told(NamedTuple):
    """One push: ranks differ, times may be the same or missing."""

    status: int
    ts: int | None

    def __call__(self, setup: Setup) -> Pushed:
        err = {20: {"err": 6}, 23: {"err": 254}}.get(self.status, {})
        return setup.push(self.status, **err, **({} if self.ts is None else {"ts": self.ts}))


STATUSES = [-3, -2, -1, 0, 1, 2, 3, 4, 20, 22, 23, 24, 25, 99]
TIMES = st.none() | st.integers(int(START) - 5, int(START) + 5)
TOLD = st.builds(Told, st.sampled_from(STATUSES), TIMES)
ONE_LIFE = st.dictionaries(st.sampled_from(STATUSES), TIMES, max_size=8).map(
    lambda life: [Told(status, ts) for status, ts in life.items()]
)
"""The pushes of one message: each status was reached at one moment."""
RANKS = {-2: 0, -1: 0, 0: 1, 99: 1, 3: 2, 20: 2, 22: 2, 23: 2, 24: 2, 25: 2, 1: 3, 2: 4, 4: 5}


def state_of(known: CacheEntry | None) -> object:
    """What must not depend on the order."""
    if known is None or known.record is None:
        return None
    record = known.record
    assert isinstance(record, Message)
    return record.state, record.is_final, record.last_status_time, record.provider_status.code


@given(ONE_LIFE, st.data())
def test_any_order_and_any_repetition_end_alike(pushes: list[Told], data: st.DataObject) -> None:
    best, other = Setup(), Setup()
    for one in pushes:
        one(best)
    order = data.draw(st.permutations([*pushes, *pushes]))
    rank = -1
    for one in order:
        one(other)
        known = other.service.peek(KEY)
        if known is not None and known.record is not None:
            now = RANKS[known.record.provider_status.code]
            assert now >= rank
            rank = now
    assert state_of(other.service.peek(KEY)) == state_of(best.service.peek(KEY))


@given(st.lists(TOLD, max_size=8))
def test_what_was_told_before_changes_nothing_and_tells_nobody(pushes: list[Told]) -> None:
    setup = Setup()
    for one in pushes:
        one(setup)
    before = setup.service.peek(KEY)
    told: list[StatusKey] = []
    setup.service.notify(told.append)
    setup.clock.now += 1000
    for one in pushes:
        assert one(setup) in {Pushed.DUPLICATE, Pushed.IGNORED}
    assert setup.service.peek(KEY) is before
    assert told == []


@given(st.lists(TOLD, max_size=5), st.lists(TOLD, max_size=5))
def test_polls_in_between_do_not_move_it_back(early: list[Told], late: list[Told]) -> None:
    setup = Setup()

    async def mixed() -> None:
        rank = -1
        for pushed, polled in zip(early, late, strict=False):
            pushed(setup)
            row = {"status": str(polled.status), "type": "0"}
            if polled.ts is not None:
                row["last_timestamp"] = str(polled.ts)
            setup.clock.now += 100
            if polled.status != -3:
                await setup.poll(row)
            known = setup.service.peek(KEY)
            if known is not None and known.record is not None:
                now = RANKS[known.record.provider_status.code]
                assert now >= rank
                rank = now
        await setup.service.aclose()

    asyncio.run(mixed())


# One push


async def test_an_unknown_message_is_known_by_its_push() -> None:
    setup = Setup()
    assert setup.push(20, err=6, ts=int(START) - 60) is Pushed.ACCEPTED
    answer = await setup.service.get(KEY, StatusQuery(BASIC, Message))
    record, freshness = answer.record, answer.freshness
    assert isinstance(record, Message)
    assert (record.state, record.is_final, record.id) == ("UNDELIVERABLE", True, "30")
    assert record.last_status_time == datetime.fromtimestamp(START - 60, UTC)
    assert freshness.source == "CALLBACK"
    assert freshness.observed_at == datetime.fromtimestamp(START, UTC)
    assert setup.provider.asked == []


async def test_more_detail_than_a_push_has_is_asked_for_and_then_is_the_newest_word() -> None:
    setup = Setup()
    setup.push(1)
    setup.provider.rows[KEY] = {"status": "1", "type": "0", "message": "hello"}
    answer = await setup.service.get(KEY, StatusQuery(FULL, Message))
    assert (answer.record.text, answer.source) == ("hello", "LIVE")
    assert (await setup.service.get(KEY, StatusQuery(FULL, Message))).source == "CACHE"
    assert len(setup.provider.asked) == 1


async def test_details_stay_known_when_a_push_moves_the_state() -> None:
    setup = Setup()
    await setup.poll(SENT | {"message": "hello", "cost": "3.20"})
    assert setup.push(1, ts=int(START)) is Pushed.ACCEPTED
    answer = await setup.service.get(KEY, StatusQuery(FULL, Message))
    assert (answer.record.text, answer.record.is_final) == ("hello", True)
    assert (answer.source, answer.entry.detail) == ("CALLBACK", "FULL")
    assert len(setup.provider.asked) == 1


async def test_what_the_signature_does_not_cover_moves_with_the_state_alone() -> None:
    setup = Setup()
    await setup.poll(DELIVERED | {"cost": "3.20", "last_timestamp": str(int(START))})
    before = setup.known()
    assert setup.push(0, cost="9.99", ts=int(START) + 5) is Pushed.DUPLICATE
    assert setup.push(1, cost="9.99", err=6, type=4, ts=int(START) + 5) is Pushed.DUPLICATE
    assert setup.push(1, cost="9.99", ts=int(START)) is Pushed.DUPLICATE
    assert setup.known() is before


async def test_an_old_push_sent_again_does_not_make_a_record_look_fresh() -> None:
    setup = Setup()
    setup.push(0, ts=int(START))
    setup.clock.now += 5000
    assert setup.push(0, ts=int(START)) is Pushed.DUPLICATE
    assert setup.known().observed_at == START


async def test_a_time_of_the_far_future_is_not_believed() -> None:
    setup = Setup()
    setup.push(-1, ts=int(START) + 100_000_000)
    assert setup.record().last_status_time is None
    assert setup.push(-2, ts=int(START)) is Pushed.ACCEPTED


@pytest.mark.parametrize("status", [-3, 99, -7])
async def test_a_number_that_is_no_state_takes_nothing_away(status: int) -> None:
    setup = Setup()
    setup.push(1, ts=int(START))
    before = setup.known()
    assert setup.push(status, ts=int(START) + 9) in {Pushed.IGNORED, Pushed.DUPLICATE}
    assert setup.known() is before


async def test_not_found_is_no_news_of_an_unknown_message() -> None:
    setup = Setup()
    assert setup.push(-3) is Pushed.IGNORED
    assert setup.service.peek(KEY) is None


async def test_a_push_ends_what_was_not_found() -> None:
    setup = Setup()
    with pytest.raises(NotFound):
        await setup.service.get(KEY, StatusQuery(BASIC))
    setup.push(1)
    assert (await setup.service.get(KEY, StatusQuery(BASIC))).record.is_final


# Kinds


async def test_a_push_that_shows_no_kind_is_about_the_kind_that_is_known() -> None:
    setup = Setup()
    await setup.poll({"status": "0", "type": "4"})
    setup.push(1, type="", err=0, ts=int(START))
    record = setup.record()
    assert isinstance(record, HlrLookup)
    assert record.reachable


async def test_a_push_shows_the_kind_of_what_was_taken_for_the_other() -> None:
    setup = Setup()
    setup.push(0, type="")
    assert not setup.known().certain
    assert setup.push(1, type=4, err=0) is Pushed.ACCEPTED
    assert isinstance(setup.record(), HlrLookup)


async def test_a_final_state_is_not_given_up_for_a_pending_one_of_the_other_kind() -> None:
    setup = Setup()
    setup.push(1, type="")
    assert setup.push(0, type=4) is Pushed.DUPLICATE
    assert setup.record().is_final


# Phones


@pytest.mark.parametrize(
    ("known", "pushed"),
    [
        ("79998887766", "89998887766"),
        ("79998887766", "+7 (999) 888-77-66"),
        ("79998887766", "9998887766"),
        ("89998887766", "79998887766"),
        ("74951234567", "84951234567"),
        ("89998887766", "89998887766"),
    ],
)
async def test_a_push_reaches_the_record_that_is_known(known: str, pushed: str) -> None:
    setup = Setup()
    key = StatusKey(known, 30)
    await setup.poll(SENT, key)
    assert setup.push(1, phone=pushed) is Pushed.ACCEPTED
    assert setup.record(key).is_final
    assert setup.record(key).phone == known


async def test_a_number_that_is_known_in_no_form_is_kept_in_the_usual_one() -> None:
    setup = Setup()
    setup.push(0, phone="89998887766")
    setup.push(1, phone="84912345678")
    assert not setup.record(StatusKey("79998887766", 30)).is_final
    assert setup.record(StatusKey("84912345678", 30)).is_final


async def test_another_id_is_another_message() -> None:
    setup = Setup()
    await setup.poll(SENT)
    setup.push(1, id=31)
    assert not setup.record().is_final


# Who watches


class Reader:
    def __init__(self, setup: Setup, detail: DetailLevel = BASIC) -> None:
        self.told: list[str] = []
        self.task = asyncio.create_task(self._read(setup, detail))

    async def _read(self, setup: Setup, detail: DetailLevel) -> None:
        async for event in setup.watches.follow(KEY, Following(detail)):
            if isinstance(event, GatewayError):
                self.told.append(event.code)
            else:
                assert isinstance(event.record, Message)
                self.told.append(f"{event.record.state} {event.source}")


async def test_a_reader_is_told_in_the_same_turn_and_polling_stops() -> None:
    setup = Setup()
    setup.provider.rows[KEY] = SENT
    reader = Reader(setup)
    await settle()
    assert setup.push(1) is Pushed.ACCEPTED
    await asyncio.sleep(0)
    assert reader.told[-1] == "DELIVERED CALLBACK"
    await setup.clock.advance(1000)
    assert reader.task.done()
    assert len(setup.provider.asked) == 1
    assert setup.service.link().queue.background == 0


async def test_repetitions_wake_nobody() -> None:
    setup = Setup()
    setup.provider.rows[KEY] = {"status": "-1", "type": "0"}
    reader = Reader(setup)
    await settle()
    for _ in range(3):
        setup.push(0, ts=int(START))
    await settle()
    assert reader.told == ["QUEUED LIVE", "SENT CALLBACK"]
    reader.task.cancel()


async def test_who_wants_more_is_told_at_once_and_of_the_details_later() -> None:
    setup = Setup()
    setup.provider.rows[KEY] = {"status": "1", "type": "0", "message": "hello"}
    setup.push(0)
    reader = Reader(setup, FULL)
    await asyncio.sleep(0)
    assert reader.told == ["SENT CALLBACK"]
    await settle()
    assert reader.told == ["SENT CALLBACK", "DELIVERED LIVE"]
    assert reader.task.done()


async def test_a_watched_number_is_known_before_anything_else_is() -> None:
    setup = Setup()
    key = StatusKey("74951234567", 30)
    setup.provider.seconds = 1
    setup.provider.rows[key] = SENT
    waiting = asyncio.create_task(setup.service.get(key, StatusQuery(BASIC)))
    await settle()
    setup.push(1, phone="84951234567")
    assert setup.record(key).is_final
    await setup.clock.advance(1)
    assert (await waiting).record.is_final


async def test_a_final_push_leaves_nothing_to_renew() -> None:
    setup = Setup()
    await setup.poll(DELIVERED)
    setup.clock.now += 8000
    stale = await setup.service.get(KEY, StatusQuery(BASIC))  # answered at once, and renewed
    assert stale.stale
    assert setup.push(2) is Pushed.ACCEPTED
    await setup.clock.advance(60)
    assert len(setup.provider.asked) == 1


async def test_a_deleted_message_is_not_brought_back() -> None:
    setup = Setup()
    await setup.poll(SENT)
    reader = Reader(setup)
    await settle()
    await setup.service.delete(KEY)
    await settle()
    assert (reader.told[-1], reader.task.done()) == ("NOT_FOUND", True)
    assert setup.push(1) is Pushed.IGNORED
    assert setup.known().record is None


async def test_an_answer_asked_for_before_the_deletion_does_not_bring_it_back() -> None:
    setup = Setup()
    setup.provider.rows[KEY] = SENT
    setup.provider.seconds = 2
    asking = asyncio.create_task(setup.service.get(KEY, StatusQuery(BASIC)))
    await settle()
    await setup.service.delete(KEY)
    await setup.clock.advance(2)
    with pytest.raises(NotFound):
        await asking
    assert setup.known().deleted
    setup.provider.rows[KEY] = SENT  # the same id is used again
    setup.provider.seconds = 0
    setup.clock.now += 20
    assert not (await setup.service.get(KEY, StatusQuery(BASIC))).record.is_final


@pytest.mark.parametrize(
    "more", [{"err": "6"}, {"ts": "1800000100"}, {"cost": "99"}, {"type": "8"}]
)
async def test_what_no_signature_covers_moves_nothing(more: dict[str, int]) -> None:
    """A push that was seen once can be sent again, with other fields beside the signed ones."""
    setup = Setup()
    await setup.poll(SENT)
    assert setup.push(0, **more) is Pushed.DUPLICATE
    assert setup.push(1, ts=1_800_000_010) is Pushed.ACCEPTED
    before = setup.record(KEY)
    assert setup.push(1, **more) is Pushed.DUPLICATE
    assert setup.record(KEY) == before


async def test_a_pushed_kind_is_not_certain() -> None:
    """An added `imsi=` must not make a message a lookup for ever."""
    setup = Setup()
    setup.push(1, type="", imsi="250023012345678")
    assert isinstance(setup.record(KEY), HlrLookup)
    await setup.poll(DELIVERED)
    assert isinstance(setup.record(KEY), Message)


REPLAYED = {"type": "0"}, {"type": "4"}, {"type": "", "imsi": "250023012345678"}, {"type": ""}


@pytest.mark.parametrize("first", REPLAYED)
@pytest.mark.parametrize("again", REPLAYED)
async def test_a_status_pushed_again_changes_nothing_whatever_else_it_says(
    first: dict[str, str], again: dict[str, str]
) -> None:
    setup = Setup()
    setup.push(20, err=6, ts=int(START), **first)
    before = setup.known()
    assert setup.push(20, err=13, ts=int(START) + 9999, **again) is Pushed.DUPLICATE
    assert setup.known() is before


@pytest.mark.parametrize("of_lookup", [{"type": "4"}, {"type": "", "imsi": "250023012345678"}])
async def test_a_wrong_kind_beside_it_hides_no_signed_state(of_lookup: dict[str, str]) -> None:
    setup = Setup()
    await setup.poll(DELIVERED)
    assert setup.push(2, **of_lookup) is Pushed.ACCEPTED
    record = setup.record()
    assert isinstance(record, Message)
    assert (record.state, record.type) == ("READ", "SMS")


@given(st.lists(st.tuples(st.sampled_from(STATUSES), TIMES, st.sampled_from(REPLAYED)), max_size=8))
def test_what_was_pushed_once_can_be_kept_and_sent_again_to_no_avail(
    told: list[tuple[int, int | None, dict[str, str]]],
) -> None:
    """However the unsigned fields are changed: a final state is left for one further on alone."""
    setup, accepted = Setup(), []
    for status, ts, more in told:
        sent = more if ts is None else {**more, "ts": str(ts)}
        if setup.push(status, err=13, **sent) is Pushed.ACCEPTED and RANKS[status] >= 2:
            accepted.append((RANKS[status], status))
    assert accepted == sorted(set(accepted))
