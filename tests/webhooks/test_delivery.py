"""Each change comes to an address, in order for each message, whatever fails on the way."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from gateway.archive import outbox
from gateway.archive.archive import Archive, open_database
from gateway.archive.changes import FeedChange
from gateway.callers.model import ALL_SCOPES, Caller, WebhookEntry
from gateway.webhooks import delivery
from gateway.webhooks.report import WebhookReport, WebhookState
from gateway.webhooks.webhooks import Webhooks
from tests.archive.support import entry, key
from tests.support.clock import FakeClock, settle
from tests.support.postgres import Postgres
from tests.support.receiver import SECRET, Receiver
from tests.support.size import PATIENCE

pytestmark = pytest.mark.anyio

CLIENT = Caller("billing", ALL_SCOPES)
NAME = "billing-receiver"


def body(change: FeedChange, client: Caller) -> bytes:
    """As short as a test needs it; the whole one is another test's."""
    data = {"id": str(change.key.id), "state": change.change.state.value, "for": client.name}
    return json.dumps({"data": data}).encode()


@dataclass
class Told:
    """One that is told of changes, and what steers the test."""

    archive: Archive
    clock: FakeClock
    receiver: Receiver
    filters: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.entries = {NAME: self.entry(self.receiver.url)}
        self.webhooks = Webhooks(lambda: self.entries, self.archive, self.clock, body)

    def entry(self, url: str) -> WebhookEntry:
        return WebhookEntry(NAME, url, (SECRET,), self.filters, CLIENT)

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        await self.webhooks.open()
        task = asyncio.create_task(self.webhooks.deliver())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled(), task.exception()

    async def learn(self, *changes: tuple[int, int]) -> None:
        """Learn that messages, by their ids, have statuses, by the provider's numbers."""
        for id_, status in changes:
            at = int(self.clock.time())
            self.archive.record(key(id_), entry(key(id_), status, at=at))
            await self.archive.flush()

    async def until(self, condition: Callable[[], bool], advance: float = 0.0) -> None:
        """Wait until it is so; each look may move the clock on."""
        end = asyncio.get_running_loop().time() + PATIENCE
        while not condition():
            assert asyncio.get_running_loop().time() < end, self.receiver.changes
            await asyncio.sleep(0.005)
            await (self.clock.advance(advance) if advance else settle())

    async def until_tries(self, count: int, advance: float = 0.0) -> None:
        await self.until(lambda: len(self.receiver.got) >= count, advance)

    async def report(self) -> WebhookReport:
        [found] = await self.webhooks.reports()
        return found

    async def until_report(self, condition: Callable[[WebhookReport], object]) -> WebhookReport:
        """Wait until what was done is written."""
        end = asyncio.get_running_loop().time() + PATIENCE
        while not condition(found := await self.report()):
            assert asyncio.get_running_loop().time() < end, found
            await self.clock.advance(delivery.WRITE_EVERY)
        return found


@pytest.fixture
def told(archive: Archive, clock: FakeClock, receiver: Receiver) -> Told:
    return Told(archive, clock, receiver)


SENT, DELIVERED, READ = 0, 1, 2


async def test_all_that_comes_is_told_in_order(told: Told) -> None:
    await told.learn((1, SENT))  # of before there was a webhook
    async with told.delivering():
        await told.learn((2, SENT), (1, DELIVERED), (2, DELIVERED), (2, READ))
        await told.until(lambda: len(told.receiver.got) == 4)
        report = await told.until_report(lambda one: one.lag == 0)
    of_2 = [state for id_, state in told.receiver.taken if id_ == "2"]
    assert of_2 == ["SENT", "DELIVERED", "READ"]
    assert ("1", "DELIVERED") in told.receiver.taken
    for one in told.receiver.got:
        assert one.verified()["data"]["for"] == "billing"
    assert (report.state, report.oldest_undelivered, report.given_up) == (
        WebhookState.ACTIVE,
        None,
        0,
    )
    assert report.last_success is not None
    assert told.webhooks.counts == Counter({(NAME, "delivered"): 4})


async def test_it_goes_on_where_it_stood(told: Told) -> None:
    async with told.delivering():
        await told.learn((1, SENT))
        await told.until_report(lambda one: one.lag == 0)
    await told.learn((1, DELIVERED))
    assert (await told.report()).lag == 1
    async with told.delivering():
        await told.until(lambda: len(told.receiver.got) == 2)
    assert told.receiver.taken == [("1", "SENT"), ("1", "DELIVERED")]


async def test_what_fails_is_tried_again_and_overtaken_by_others_only(told: Told) -> None:
    statuses = iter([503, 204, 204])
    told.receiver.answer = lambda id_, _: next(statuses) if id_ == "1" else 204
    async with told.delivering():
        await told.learn((1, SENT), (1, DELIVERED), (2, SENT))
        await told.until(lambda: len(told.receiver.got) == 2)
        report = await told.until_report(lambda one: one.lag == 2)
        assert report.last_error is not None
        assert report.last_error.reason == "HTTP 503"
        assert sorted(told.receiver.changes) == [("1", "SENT"), ("2", "SENT")]
        await told.clock.advance(4)
        assert len(told.receiver.got) == 2
        await told.until(lambda: len(told.receiver.got) == 4, advance=0.5)
        await told.until_report(lambda one: one.lag == 0)
    assert told.receiver.changes[2:] == [("1", "SENT"), ("1", "DELIVERED")]
    [first] = {one.id for one in told.receiver.got if one.change == ("1", "SENT")}
    assert first == told.receiver.got[2].id


async def test_the_same_holds_after_a_restart(told: Told) -> None:
    told.receiver.answer = lambda id_, _: 500 if id_ == "1" else 204
    async with told.delivering():
        await told.learn((1, SENT), (2, SENT))
        await told.until_report(lambda one: one.lag == 1)
    await told.learn((1, DELIVERED))
    told.receiver.answer = lambda *_: 204
    told.receiver.got.clear()
    async with told.delivering():
        await settle()
        assert told.receiver.got == []
        await told.until(lambda: len(told.receiver.got) == 2, advance=0.5)
    assert told.receiver.taken == [("1", "SENT"), ("1", "DELIVERED")]


async def test_it_is_given_up_after_ten_tries(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    told.receiver.answer = lambda _, state: 500 if state == "SENT" else 204
    async with told.delivering():
        await told.learn((1, SENT), (1, DELIVERED))
        for tries, pause in enumerate(delivery.PAUSES, 1):
            await told.until_tries(tries)
            await told.until_report(lambda one: one.last_error is not None)
            await told.clock.advance(pause - 2)
            assert len(told.receiver.got) == tries
            await told.until_tries(tries + 1, advance=0.5)
        report = await told.until_report(lambda one: one.lag == 0)
    assert told.receiver.changes == [("1", "SENT")] * 10 + [("1", "DELIVERED")]
    assert len({one.id for one in told.receiver.got[:10]}) == 1
    [given_up] = report.latest_given_up
    assert (report.given_up, given_up.id, given_up.tries) == (1, "1", 10)
    assert (given_up.cursor, given_up.reason) == (told.receiver.got[0].id, "HTTP 500")
    lines = [one.getMessage() for one in caplog.records if one.name.startswith("gateway.webhooks")]
    assert lines == [
        "webhook billing-receiver fails: HTTP 500. It is tried again.",
        "webhook billing-receiver: a change was given up after 10 tries.",
        "webhook billing-receiver takes changes again",
    ]


async def test_one_that_is_gone_is_switched_off_until_it_is_switched_on(told: Told) -> None:
    told.receiver.answer = lambda *_: 410
    async with told.delivering():
        await told.learn((1, SENT))
        report = await told.until_report(lambda one: one.state is WebhookState.OFF)
        assert report.off_since is not None
        await told.learn((2, SENT))
        await told.clock.advance(3600)
        assert told.receiver.changes == [("1", "SENT")]
        told.receiver.answer = lambda *_: 204
        assert await told.archive.write(outbox.switch_on, NAME)
        await told.until(lambda: len(told.receiver.taken) == 2, advance=1)
        report = await told.until_report(lambda one: one.lag == 0)
    assert report.state is WebhookState.ACTIVE
    assert sorted(told.receiver.taken) == [("1", "SENT"), ("2", "SENT")]


async def test_one_that_takes_nothing_for_five_days_is_switched_off(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "PAUSES", (delivery.DAY,) * 9)
    told.receiver.answer = lambda *_: 500
    async with told.delivering():
        await told.learn((1, SENT))
        for tries in range(1, 6):
            await told.until_tries(tries)
            report = await told.until_report(
                lambda one: (
                    one.last_error
                    and told.clock.time() - one.last_error.at.timestamp() < delivery.DAY / 2
                )
            )
            assert report.state is WebhookState.FAILING
            await told.clock.advance(delivery.DAY - 5)
            await told.until_tries(tries + 1, advance=1)
        await told.until_report(lambda one: one.state is WebhookState.OFF)


async def test_one_that_is_away_is_asked_now_and_then(told: Told) -> None:
    told.receiver.answer = lambda *_: 500
    async with told.delivering():
        await told.learn(*[(number, SENT) for number in range(1, 60)])
        await told.until_report(lambda one: one.state is WebhookState.FAILING)
        await told.until(lambda: len(told.receiver.got) >= 10)
        await told.clock.advance(2)
        at_first = len(told.receiver.got)
        assert at_first < 20, "nobody is told fifty times that he is away"
        told.receiver.answer = lambda *_: 204
        await told.until(lambda: len(set(told.receiver.taken)) == 59, advance=1)
        await told.until_report(lambda one: one.lag == 0)


async def test_a_message_is_told_of_one_change_at_a_time(told: Told) -> None:
    told.receiver.hold = threading.Event()
    async with told.delivering():
        await told.learn((1, SENT), (1, DELIVERED), (1, READ), (2, SENT))
        await told.until_report(lambda one: one.lag == 4)
        await told.clock.advance(1)
        told.receiver.hold.set()
        await told.until(lambda: len(told.receiver.got) == 4)
    assert [state for id_, state in told.receiver.taken if id_ == "1"] == [
        "SENT",
        "DELIVERED",
        "READ",
    ]


async def test_only_what_is_wanted_is_told(
    archive: Archive, clock: FakeClock, receiver: Receiver
) -> None:
    told = Told(archive, clock, receiver, {"isFinal": ("true",), "state": ("DELIVERED,READ",)})
    async with told.delivering():
        await told.learn((1, SENT), (1, DELIVERED), (2, SENT), (2, READ))
        await told.until(lambda: len(receiver.got) == 2)
        report = await told.until_report(lambda one: one.lag == 0)
    assert sorted(receiver.taken) == [("1", "DELIVERED"), ("2", "READ")]
    assert report.oldest_undelivered is None


async def test_a_replay_sends_again_what_is_newer(told: Told) -> None:
    async with told.delivering():
        await told.learn((1, SENT))
        await told.until_report(lambda one: one.lag == 0)
        await told.clock.advance(100)
        since = int(told.clock.time())
        await told.learn((1, DELIVERED), (2, SENT))
        await told.until_report(lambda one: one.lag == 0)
        assert await told.archive.write(outbox.replay, NAME, since) == 2
        await told.until(lambda: len(told.receiver.got) == 5, advance=0.5)
        await told.until_report(lambda one: one.lag == 0)
    before, after = told.receiver.got[1:3], told.receiver.got[3:]
    assert {one.id: one.change for one in before} == {one.id: one.change for one in after}


async def test_who_delivered_before_writes_no_more(told: Told) -> None:
    """A process that was held up for long must not undo what another one has written."""
    await told.webhooks.open()
    old = await told.archive.write(outbox.take, NAME)
    new = await told.archive.write(outbox.take, NAME)
    progress = outbox.Progress(position=1)
    write = told.archive.write
    assert await write(outbox.write, NAME, old.generation, progress, 0) is None
    assert await write(outbox.write, NAME, new.generation, progress, 0) is not None


async def test_another_address_takes_over_when_the_file_changes(told: Told) -> None:
    told.receiver.answer = lambda *_: 204
    async with told.delivering():
        await told.learn((1, SENT))
        await told.until_report(lambda one: one.lag == 0)
        told.entries = {NAME: told.entry(told.receiver.url.replace("/sms", "/other"))}
        told.webhooks.reload()
        await settle()
        await told.learn((1, DELIVERED))
        await told.until(lambda: len(told.receiver.got) == 2, advance=0.1)
        told.entries = {}
        told.webhooks.reload()
        await settle()
        assert await told.webhooks.reports() == []
    assert [one.path for one in told.receiver.got] == ["/sms", "/other"]


async def test_what_is_deleted_meanwhile_is_told_no_more(told: Told) -> None:
    told.receiver.answer = lambda *_: 500
    async with told.delivering():
        await told.learn((1, SENT), (2, SENT))
        await told.until_report(lambda one: one.lag == 2 and one.last_error is not None)
        await told.until(lambda: len(told.receiver.got) == 2)
        await told.clock.advance(1)
        told.archive.erase(key(1))
        await told.archive.flush()
        told.receiver.answer = lambda *_: 204
        await told.until(lambda: bool(told.receiver.taken), advance=0.5)
        await told.until_report(lambda one: one.lag == 0)
    assert told.receiver.taken == [("2", "SENT")]


async def test_a_try_that_was_due_while_the_database_was_away_is_made_later(
    server: Postgres, clock: FakeClock, receiver: Receiver
) -> None:
    with server.database() as address:
        archive = Archive(open_database(address), clock, content=False, days=0)
        await archive.flush()
        told = Told(archive, clock, receiver)
        receiver.answer = lambda *_: 500
        async with told.delivering():
            await told.learn((1, SENT))
            await told.until_report(lambda one: one.last_error is not None)
            receiver.answer = lambda *_: 204
            with server.away():
                for _ in range(20):
                    await clock.advance(0.5)
                    await asyncio.sleep(0.02)
                assert receiver.taken == []
            await told.until(lambda: receiver.taken == [("1", "SENT")], advance=0.5)
        await archive.aclose()
