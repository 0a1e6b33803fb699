"""Watching: one poll for all who are to be told, newest state first."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.accounts import Account
from gateway.app import serving
from gateway.errors import GatewayError
from gateway.model.freshness import Answer
from gateway.model.records import DetailLevel, Message, MessageState, StatusKey
from gateway.service import StatusQuery, StatusService
from gateway.simulator import Limits, Report, World, create_simulator, sample_world
from gateway.simulator.world import Change
from gateway.smsc.push import Push
from gateway.smsc.row import Row
from gateway.upstream.client import create_client
from gateway.wakeups import Signal
from gateway.watch import Content, Following, Watches
from tests.support.clock import START, FakeClock, settle
from tests.support.gateway import settings

if TYPE_CHECKING:
    from gateway.watch import Event

pytestmark = pytest.mark.anyio

LIVE = StatusKey("79990000100", 100)
DONE = StatusKey("79990000001", 1)
BASIC, FULL = DetailLevel.BASIC, DetailLevel.FULL


class Setup:
    """The service with the simulator behind it, and who watches."""

    def __init__(
        self,
        service: StatusService,
        clock: FakeClock,
        limits: Limits,
        world: World,
        provider: httpx.AsyncClient,
    ) -> None:
        self.provider = provider
        self.service = service
        self.clock = clock
        self.limits = limits
        self.world = world
        self.watches = Watches(service, clock)
        self.tasks: list[asyncio.Task[None]] = []

    async def fault(self, kind: str, value: object = None, times: int = -1) -> None:
        body = {"kind": kind, "value": value, "times": times}
        assert (await self.provider.post("/control/fault", json=body)).status_code == 201

    async def mend(self) -> None:
        await self.provider.delete("/control/fault")

    def follow(
        self,
        key: StatusKey = LIVE,
        detail: DetailLevel = BASIC,
        until: MessageState | None = None,
    ) -> "Reader":
        return Reader(self, key, Following(detail, until=until))


class Reader:
    """Somebody who is told, and what."""

    def __init__(self, setup: Setup, key: StatusKey, following: Following) -> None:
        self.told: list[str] = []
        self.details: list[DetailLevel] = []
        self.phones: set[str] = set()
        self.task = asyncio.create_task(self._read(setup, key, following))

    async def _read(self, setup: Setup, key: StatusKey, following: Following) -> None:
        async for event in setup.watches.follow(key, following):
            if isinstance(event, GatewayError):
                self.told.append(event.code)
                continue
            assert isinstance(event.record, Message)
            why = event.stale_reason or ("" if not event.stale else "STALE")
            self.told.append(f"{event.record.state} {why}".strip())
            self.details.append(event.entry.detail)
            self.phones.add(event.record.phone)


@asynccontextmanager
async def watching() -> AsyncIterator[Setup]:
    clock = FakeClock()
    world = sample_world(clock.time)
    limits = Limits(clock.monotonic)
    provider = create_simulator(world, monotonic=clock.monotonic, sleep=clock.sleep, limits=limits)
    transport = httpx.ASGITransport(provider)
    async with (
        create_client(timeout=10, concurrency=4, transport=transport) as client,
        httpx.AsyncClient(transport=transport, base_url="http://provider.test") as direct,
        serving(Account("", settings()), client, clock) as service,
    ):
        setup = Setup(service, clock, limits, world, direct)
        yield setup
        await setup.watches.aclose()


async def test_a_message_is_followed_to_its_end() -> None:
    async with watching() as setup:
        reader = setup.follow()
        await setup.clock.advance(120)
        assert reader.told == ["QUEUED", "SENT", "DELIVERED"]
        assert reader.task.done()
        asked = setup.limits.admitted
        await setup.clock.advance(300)
        assert setup.limits.admitted == asked
        assert setup.limits.refused.total() == 0


async def test_only_changes_are_told() -> None:
    async with watching() as setup:
        key = StatusKey("79990000007", 7)
        setup.world.add(Report(id=key.id, phone=key.phone, status=0, sent=int(START)))
        reader = setup.follow(key)
        await setup.clock.advance(61)
        assert (reader.told, setup.limits.admitted) == (["SENT"], 5)


async def test_any_number_of_readers_share_one_poll() -> None:
    async with watching() as setup:
        readers = [setup.follow() for _ in range(500)]
        await setup.clock.advance(120)
        assert {tuple(reader.told) for reader in readers} == {("QUEUED", "SENT", "DELIVERED")}
        assert setup.limits.admitted <= 9


async def test_an_event_is_made_and_written_once_for_all_who_are_told_it() -> None:
    written = []

    def write(content: Content, how: str) -> bytes:
        written.append(how)
        return f"{how} {content}".encode()

    async def read(setup: Setup, how: str, told: list[tuple[int, int]]) -> None:
        async with aclosing(setup.watches.events(LIVE, Following(BASIC), Signal())) as events:
            async for event in events:
                if event is not None:
                    told.append((id(event), id(event.once(write, how))))
                    kept.append(event)

    kept: list[Event] = []
    async with watching() as setup:
        told: list[list[tuple[int, int]]] = [[] for _ in range(200)]
        for number, one in enumerate(told):
            setup.tasks.append(asyncio.create_task(read(setup, "ab"[number % 2], one)))
        await setup.clock.advance(120)
    assert [len(one) for one in told] == [3] * 200
    assert len({event for one in told for event, _ in one}) == 3
    assert len({text for one in told for _, text in one}) == 6
    assert sorted(written) == [*"aaabbb"]


async def test_what_is_seen_again_and_is_the_same_wakes_nobody() -> None:
    async with watching() as setup:
        key = StatusKey("79990000007", 7)
        setup.world.add(Report(id=key.id, phone=key.phone, status=0, sent=int(START)))
        woken: list[Event | None] = []

        async def read() -> None:
            async with aclosing(setup.watches.events(key, Following(BASIC), Signal())) as events:
                async for event in events:
                    woken.append(event)  # noqa: PERF401 - one by one is the point

        setup.tasks.append(asyncio.create_task(read()))
        await setup.clock.advance(61)
        assert setup.limits.admitted == 5
        assert [event is not None for event in woken] == [False, True]


async def test_who_comes_later_is_told_at_once_what_is_known() -> None:
    async with watching() as setup:
        setup.follow()
        await setup.clock.advance(1)
        late = setup.follow()
        await settle()
        assert (late.told, setup.limits.admitted) == (["QUEUED"], 1)


async def test_what_a_caller_learns_is_told_to_those_who_watch() -> None:
    async with watching() as setup:
        reader = setup.follow()
        await setup.clock.advance(13)
        asked = setup.limits.admitted
        await setup.service.get(LIVE, StatusQuery(FULL, Message, max_age=0))
        await settle()
        assert (reader.told, setup.limits.admitted) == (["QUEUED", "SENT"], asked + 1)


async def test_the_last_who_leaves_ends_the_polling() -> None:
    async with watching() as setup:
        first, second = setup.follow(), setup.follow()
        await setup.clock.advance(1)
        first.task.cancel()
        await setup.clock.advance(16)
        asked = setup.limits.admitted
        assert asked == 2
        second.task.cancel()
        await setup.clock.advance(300)
        assert setup.limits.admitted == asked
        setup.follow()
        await setup.clock.advance(1)
        assert setup.limits.admitted == asked + 1


async def test_a_failed_poll_is_repeated() -> None:
    async with watching() as setup:
        setup.world.delete(LIVE.phone, LIVE.id)
        reader = setup.follow()
        await setup.clock.advance(40)
        # Three times as it is spelled, once by the number's other spelling.
        assert (reader.told, setup.limits.admitted) == (["NOT_FOUND"], 4)


async def test_a_final_message_is_told_once_and_not_polled() -> None:
    async with watching() as setup:
        reader = setup.follow(DONE)
        await setup.clock.advance(100)
        assert (reader.told, reader.task.done(), setup.limits.admitted) == (["DELIVERED"], True, 1)


async def test_callers_are_told_when_a_watched_message_is_asked_for_next() -> None:
    async with watching() as setup:
        setup.follow()
        await setup.clock.advance(1)
        answer = await setup.service.get(LIVE, StatusQuery(BASIC, Message))
        due = datetime.fromtimestamp(START + 15, UTC)
        assert answer.next_refresh_at == due


async def test_after_closing_nobody_polls() -> None:
    async with watching() as setup:
        reader = setup.follow()
        await setup.clock.advance(1)
        await setup.watches.aclose()
        await setup.clock.advance(60)
        assert (reader.told, setup.limits.admitted) == (["QUEUED"], 1)


async def test_polling_ends_with_the_service_whoever_still_watches() -> None:
    async with watching() as setup:
        reader = setup.follow()
        await settle()
        await setup.service.aclose()
        await settle()
        assert (reader.told[0], reader.task.done()) == ("QUEUED", False)


async def test_the_level_is_the_highest_that_a_reader_wants() -> None:
    async with watching() as setup:
        setup.follow()
        await settle()
        assert setup.limits.admitted == 1
        reader = setup.follow(detail=FULL)
        await setup.clock.advance(1)
        assert reader.told == ["QUEUED"]
        await setup.clock.advance(16)
        assert reader.told == ["QUEUED", "SENT"]
        assert set(reader.details) == {FULL}
        assert setup.limits.admitted == 3


async def test_trouble_is_told_once_and_so_is_its_end() -> None:
    async with watching() as setup:
        setup.world.add(Report(id=7, phone="79990000007", status=0, sent=int(START)))
        reader = setup.follow(StatusKey("79990000007", 7))
        await setup.clock.advance(1)
        await setup.fault("error", 4)
        await setup.clock.advance(120)
        assert reader.told == ["SENT", "SENT UPSTREAM_BLOCKED"]
        await setup.mend()
        await setup.clock.advance(600)
        assert reader.told == ["SENT", "SENT UPSTREAM_BLOCKED", "SENT"]
        assert not reader.task.done()


async def test_trouble_before_anything_is_known_is_an_error() -> None:
    async with watching() as setup:
        await setup.fault("error", 2)
        reader = setup.follow()
        await setup.clock.advance(60)
        assert reader.told == ["UPSTREAM_AUTH_FAILED"]
        await setup.mend()
        await setup.clock.advance(900)
        assert reader.told[0] == "UPSTREAM_AUTH_FAILED"
        assert reader.told[-1] in {"DELIVERED", "READ"}


async def test_what_is_never_found_is_not_waited_for_for_ever() -> None:
    async with watching() as setup:
        reader = setup.follow(StatusKey("79990000404", 404))
        await setup.clock.advance(40)
        assert not reader.task.done()
        await setup.clock.advance(60)
        assert (reader.told, reader.task.done()) == (["NOT_FOUND"], True)


async def test_what_is_not_found_at_first_may_still_be() -> None:
    async with watching() as setup:
        reader = setup.follow(StatusKey("79990000008", 8))
        await setup.clock.advance(5)
        setup.world.add(Report(id=8, phone="79990000008", status=1, sent=int(START)))
        await setup.clock.advance(60)
        assert (reader.told, reader.task.done()) == (["NOT_FOUND", "DELIVERED"], True)


async def test_all_following_can_be_ended() -> None:
    async with watching() as setup:
        readers = [setup.follow(), setup.follow(StatusKey("79990000404", 404))]
        await setup.clock.advance(1)
        setup.watches.end()
        await settle()
        assert all(reader.task.done() for reader in readers)
        late = setup.follow()
        await settle()
        assert (late.told, late.task.done()) == ([], True)


async def test_who_reads_slowly_gets_the_newest_state_and_no_backlog() -> None:
    async with watching() as setup:
        quick = setup.follow()
        slow = setup.watches.follow(LIVE, Following(BASIC))
        first = await anext(slow)
        await setup.clock.advance(120)
        rest = [event async for event in slow]
        assert quick.told == ["QUEUED", "SENT", "DELIVERED"]
        told = [event.record.state for event in (first, *rest) if isinstance(event, Answer)]
        assert told == ["QUEUED", "DELIVERED"]


async def test_a_delivered_message_is_followed_until_it_is_read() -> None:
    async with watching() as setup:
        plain, read = setup.follow(), setup.follow(until=MessageState.READ)
        await setup.clock.advance(60)
        assert (plain.told[-1], plain.task.done()) == ("DELIVERED", True)
        assert not read.task.done()
        await setup.clock.advance(600)
        assert read.told == ["QUEUED", "SENT", "DELIVERED", "READ"]
        assert read.task.done()
        asked = setup.limits.admitted
        await setup.clock.advance(3600)
        assert setup.limits.admitted == asked


async def test_a_failure_ends_it_whatever_it_is_followed_to() -> None:
    async with watching() as setup:
        setup.world.add(Report(id=7, phone="79990000007", status=20, err=1))
        reader = setup.follow(StatusKey("79990000007", 7), until=MessageState.CLICKED)
        await setup.clock.advance(1)
        assert (reader.told, reader.task.done()) == (["UNDELIVERABLE"], True)


async def test_what_is_never_read_is_followed_for_a_day() -> None:
    async with watching() as setup:
        reader = setup.follow(DONE, until=MessageState.READ)
        await setup.clock.advance(86_000)
        assert (reader.told, reader.task.done()) == (["DELIVERED"], False)
        await setup.clock.advance(1_100)
        assert reader.task.done()
        assert setup.limits.admitted <= 86_400 / 600 + 2


async def test_the_first_answer_of_a_stream_is_a_callers() -> None:
    """Beside a queue of callers a watcher would wait; who opens a stream waits like a caller."""
    async with watching() as setup:
        await setup.provider.post("/control/latency", json={"seconds": 0.5})
        busy = [
            asyncio.create_task(
                setup.service.get(
                    StatusKey("380990000001", 1000 + n), StatusQuery(BASIC, caller=f"c{n}")
                )
            )
            for n in range(40)
        ]
        await settle()
        keys = [StatusKey(f"799900000{n}", n) for n in range(20, 28)]
        readers = [setup.follow(key) for key in keys]
        await setup.clock.advance(3)
        assert [len(reader.told) for reader in readers] == [1] * len(keys)
        await setup.clock.advance(60)
        await asyncio.gather(*busy, return_exceptions=True)
        assert setup.limits.refused.total() == 0


async def test_no_stream_starves_beside_callers_who_never_cease() -> None:
    """Those whose first answer takes longer than a caller waits are told so, and then hear it."""
    async with watching() as setup:
        await setup.provider.post("/control/latency", json={"seconds": 0.5})
        numbers = count(1000)

        async def go_on(name: str) -> None:
            while True:
                with contextlib.suppress(GatewayError):
                    key = StatusKey("380990000001", next(numbers))
                    await setup.service.get(key, StatusQuery(BASIC, caller=name))

        busy = [asyncio.create_task(go_on("dashboard")) for _ in range(30)]
        await setup.clock.advance(2)
        keys = [StatusKey("380990000002", n + 1) for n in range(150)]
        readers = [setup.follow(key) for key in keys]
        await setup.clock.advance(30)
        for task in busy:
            task.cancel()
        await setup.provider.post("/control/latency", json={"seconds": 0})
        await setup.clock.advance(1)
        assert {told for reader in readers for told in reader.told[:1]} == {
            "RATE_LIMITED",
            "NOT_FOUND",
        }
        assert all("NOT_FOUND" in reader.told for reader in readers)


@pytest.mark.parametrize(("known", "asked"), [("7", "8"), ("8", "7")])
async def test_a_number_may_be_followed_in_its_other_spelling(known: str, asked: str) -> None:
    async with watching() as setup:
        phone = "9990007777"
        changes = [Change(20, {"status": 1})]
        setup.world.add(Report(id=7, phone=known + phone, status=0, sent=int(START)), changes)
        reader = setup.follow(StatusKey(asked + phone, 7))
        await setup.clock.advance(30)
        assert (reader.told, reader.task.done()) == (["SENT", "DELIVERED"], True)
        assert reader.phones == {asked + phone}
        assert setup.limits.refused.total() == 0


async def test_a_push_in_the_other_spelling_is_told() -> None:
    async with watching() as setup:
        reader = setup.follow(StatusKey("89990007777", 7))
        await setup.clock.advance(10)
        row = Row({"status": "1", "type": "0"})
        setup.service.ingest(Push(StatusKey("79990007777", 7), row))
        await settle()
        assert reader.told == ["NOT_FOUND", "DELIVERED"]
