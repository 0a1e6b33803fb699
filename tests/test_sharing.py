"""Several gateways that share a real Valkey, in one event loop and one fake time."""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from msgspec.structs import replace

from gateway.accounts import Account
from gateway.app import serving
from gateway.cache import Pushed
from gateway.errors import GatewayError, NotFound, Overloaded
from gateway.model.freshness import Answer
from gateway.model.records import DetailLevel, FreshnessSource, Message, MessageState, StatusKey
from gateway.replicas import NAME_SIZE, Replicas
from gateway.service import StatusQuery, StatusService
from gateway.simulator import Limits, Report, World, create_simulator, sample_world
from gateway.smsc.push import Push
from gateway.smsc.row import Row
from gateway.upstream.budget.port import Sharing
from gateway.upstream.budget.redis import SETTLE
from gateway.upstream.client import create_client
from gateway.watch import Following, Watches
from tests.support.clock import START, FakeClock
from tests.support.gateway import settings
from tests.support.valkey import Valkey, until, valkey

pytestmark = pytest.mark.anyio

DELIVERED, SENT = StatusKey("79990000001", 1), StatusKey("79990000007", 7)
WANT = StatusQuery()


@pytest.fixture
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


@dataclass
class Gateway:
    """One of them."""

    service: StatusService
    watches: Watches
    link: Replicas
    heard: set[bytes] = field(default_factory=set)
    joins: int = 0

    async def join(self) -> None:
        self.joins += 1

    def state(self, key: StatusKey) -> MessageState | None:
        known = self.service.peek(key)
        record = None if known is None else known.record
        return record.state if isinstance(record, Message) else None

    async def get(self, key: StatusKey, want: StatusQuery = WANT) -> MessageState:
        record = (await self.service.get(key, want)).record
        assert isinstance(record, Message)
        return record.state


@dataclass
class Company:
    gateways: list[Gateway]
    clock: FakeClock
    world: World
    limits: Limits
    network: "Network"
    new: Callable[[], Awaitable[Gateway]]

    async def settle(self) -> None:
        """Let all be written, and heard by all."""
        for gateway in self.gateways:
            await gateway.link.run("return ''", [], [])
        first = self.gateways[0].link
        mark = str(len(self.gateways[0].heard)).encode()
        news = b"t" + first.name.encode() + mark
        await first.run("redis.call('PUBLISH', ARGV[1], ARGV[2])", [], [first.channel, news])
        await until(lambda: all(mark in gateway.heard for gateway in self.gateways))

    async def advance(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.clock.advance(1)
            await self.settle()


class Network(httpx.AsyncBaseTransport):
    """Answers are held back while the gate is closed."""

    def __init__(self, provider: httpx.AsyncBaseTransport) -> None:
        self._provider = provider
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._provider.handle_async_request(request)
        await self.gate.wait()
        return answer


@asynccontextmanager
async def company(server: Valkey, size: int = 2, url: str = "") -> AsyncIterator[Company]:
    clock = FakeClock()
    world = sample_world(clock.time)
    world.add(Report(id=SENT.id, phone=SENT.phone, status=0, sent=int(START)))
    limits = Limits(clock.monotonic)
    provider = create_simulator(world, monotonic=clock.monotonic, sleep=clock.sleep, limits=limits)
    network = Network(httpx.ASGITransport(provider))
    async with AsyncExitStack() as stack:

        async def new() -> Gateway:
            client = create_client(timeout=10, concurrency=4, transport=network)
            await stack.enter_async_context(client)
            shared = settings(REDIS_URL=url or server.url)
            service = await stack.enter_async_context(
                serving(Account("", shared), client, clock, shared_time=clock.time)
            )
            watches = Watches(service, clock)
            stack.push_async_callback(watches.aclose)
            link = cast("Replicas", service._cache._store._replicas)  # type: ignore[attr-defined] # noqa: SLF001
            gateway = Gateway(service, watches, link)
            link.listen(b"t", lambda _, mark: gateway.heard.add(mark), gateway.join)
            return gateway

        gateways = [await new() for _ in range(size)]
        yield Company(gateways, clock, world, limits, network, new)


def push(key: StatusKey, status: int) -> Push:
    fields = {"id": str(key.id), "phone": key.phone, "status": str(status), "err": "0"}
    return Push(key, Row(fields))


async def test_what_one_learned_all_know_without_a_trip(server: Valkey) -> None:
    async with company(server) as all_:
        a, b = all_.gateways
        assert await a.get(DELIVERED) is MessageState.DELIVERED
        await all_.settle()
        before = server.client.info("stats")["total_commands_processed"]
        for _ in range(1000):
            answer = b.service.get_now(DELIVERED, WANT)
            assert answer is not None
            assert isinstance(answer.record, Message)
            assert answer.record.text == "Код 1234, никому"
        after = server.client.info("stats")["total_commands_processed"]
        assert after - before <= 4  # of those who looked, and a sign of life
        assert all_.limits.admitted == 1


async def test_any_number_of_callers_anywhere_cost_one_request(server: Valkey) -> None:
    async with company(server, 3) as all_:
        all_.network.gate.clear()
        asking = [
            asyncio.create_task(gateway.get(SENT)) for gateway in all_.gateways for _ in range(100)
        ]
        await until(lambda: all_.limits.admitted > 0)
        await all_.settle()
        late = asyncio.create_task(all_.gateways[1].get(SENT))
        all_.network.gate.set()
        assert set(await asyncio.gather(*asking, late)) == {MessageState.SENT}
        assert all_.limits.admitted == 1


async def test_the_same_list_anywhere_costs_one_mass_request(server: Valkey) -> None:
    async with company(server, 3) as all_:
        keys = [StatusKey(f"7999000{2000 + n}", 2000 + n) for n in range(100)]
        for key in keys:
            all_.world.add(Report(id=key.id, phone=key.phone, status=0, sent=int(START)))
        all_.network.gate.clear()
        first = asyncio.create_task(all_.gateways[0].service.get_many(keys, WANT))
        await until(lambda: all_.limits.admitted > 0)
        others = [
            asyncio.create_task(gateway.service.get_many(keys, WANT))
            for gateway in all_.gateways[1:]
        ]
        await all_.settle()
        all_.network.gate.set()
        for answers in await asyncio.gather(first, *others):
            assert not [answer for answer in answers if isinstance(answer, GatewayError)]
        assert all_.limits.admitted == 1


async def test_whoever_waits_asks_if_the_other_got_no_answer(server: Valkey) -> None:
    async with company(server) as all_:
        a, b = all_.gateways
        all_.network.gate.clear()
        asking = asyncio.create_task(a.get(SENT))
        await until(lambda: all_.limits.admitted == 1)
        await all_.settle()
        waiting = asyncio.create_task(b.get(SENT))
        for _ in range(12):  # its request times out
            await all_.advance(1)
        asking.cancel()
        all_.network.gate.set()
        assert await waiting is MessageState.SENT


async def test_who_comes_later_finds_what_was_learned(server: Valkey) -> None:
    async with company(server) as all_:
        await all_.gateways[0].get(DELIVERED)
        await all_.settle()
        late = await all_.new()
        assert late.state(DELIVERED) is None
        answer = await late.service.get(DELIVERED, WANT)
        assert (answer.live, answer.source) == (False, FreshnessSource.CACHE)
        found, other = await late.service.get_many([DELIVERED, SENT], StatusQuery(only_cached=True))
        assert not isinstance(found, GatewayError)
        assert isinstance(other, GatewayError)
        assert all_.limits.admitted == 1
        assert late.service.link().counters.hits == 2


async def test_a_push_to_one_reaches_those_who_follow_at_another(server: Valkey) -> None:
    async with company(server) as all_:
        a, b = all_.gateways
        events = b.watches.follow(SENT, Following(DetailLevel.BASIC))
        first = await anext(events)
        assert not isinstance(first, GatewayError)
        assert a.service.ingest(push(SENT, 1)) is Pushed.ACCEPTED
        second = await anext(events)
        assert not isinstance(second, GatewayError)
        assert isinstance(second.record, Message)
        assert second.record.state is MessageState.DELIVERED
        assert second.source is FreshnessSource.CALLBACK
        assert [event async for event in events] == []
        assert all_.limits.admitted == 1


async def test_a_push_joins_what_only_another_knows(server: Valkey) -> None:
    async with company(server) as all_:
        await all_.gateways[0].get(SENT)
        await all_.settle()
        late = await all_.new()
        assert await late.service.receive(push(SENT, 1)) is Pushed.ACCEPTED
        answer = await late.service.get(SENT, WANT)
        assert isinstance(answer.record, Message)
        assert answer.record.state is MessageState.DELIVERED
        assert answer.record.sent_at is not None  # which the push does not tell
        assert all_.limits.admitted == 1


async def test_followers_anywhere_share_one_poll(server: Valkey) -> None:
    async with company(server, 3) as all_:
        readers = [asyncio.create_task(_read(gateway.watches, SENT)) for gateway in all_.gateways]
        await all_.advance(61)
        assert all_.limits.admitted <= 5
        all_.world.add(Report(id=SENT.id, phone=SENT.phone, status=1, sent=int(START)))
        await all_.advance(16)
        assert await asyncio.gather(*readers) == [["SENT", "DELIVERED"]] * 3
        assert all_.limits.admitted <= 6
        assert all_.limits.refused.total() == 0


async def _read(watches: Watches, key: StatusKey) -> list[str]:
    told = []
    async for event in watches.follow(key, Following(DetailLevel.FULL)):
        assert not isinstance(event, GatewayError)
        told.append(str(event.record.state))
    return told


async def test_what_one_deleted_is_gone_for_all(server: Valkey) -> None:
    async with company(server) as all_:
        a, b = all_.gateways
        await a.get(SENT)
        await all_.settle()
        reading = asyncio.create_task(_last(b.watches, SENT))
        await all_.settle()
        await a.service.delete(SENT)
        assert isinstance(await reading, NotFound)
        with pytest.raises(NotFound):
            await b.get(SENT)
        late = await all_.new()
        with pytest.raises(NotFound):
            await late.get(SENT)


async def _last(watches: Watches, key: StatusKey) -> object:
    return [event async for event in watches.follow(key, Following(DetailLevel.BASIC))][-1]


async def test_older_news_move_nothing_back(server: Valkey) -> None:
    async with company(server) as all_:
        a, b = all_.gateways
        await a.get(SENT)
        await all_.settle()
        # Both learn at once, before either has heard of the other.
        b.service.ingest(push(SENT, 1))
        a.service._cache._store.put(SENT, cast("Any", a.service.peek(SENT)))  # noqa: SLF001
        await all_.settle()
        assert [gateway.state(SENT) for gateway in (a, b)] == [MessageState.DELIVERED] * 2
        late = await all_.new()
        assert await late.get(SENT, StatusQuery(only_cached=True)) is MessageState.DELIVERED


async def _asking_anew(all_: Company) -> asyncio.Task[Answer]:
    """What both know is old to a caller of the second, who waits for the provider's answer."""
    a, b = all_.gateways
    await a.get(SENT)
    await all_.settle()
    all_.clock.now += 5
    all_.network.gate.clear()
    asking = asyncio.create_task(b.service.get(SENT, StatusQuery(max_age=0)))
    await until(lambda: all_.limits.admitted == 2)
    return asking


async def test_a_push_is_no_answer_to_who_asked(server: Valkey) -> None:
    async with company(server) as all_:
        a, b = all_.gateways
        asking = await _asking_anew(all_)
        a.service.ingest(push(SENT, 1))
        await all_.settle()
        assert b.state(SENT) is MessageState.DELIVERED
        assert not asking.done()  # its details may have changed as well
        all_.network.gate.set()
        await asking


async def test_what_is_only_read_again_is_no_answer_to_who_asked(server: Valkey) -> None:
    async with company(server) as all_:
        _, b = all_.gateways
        asking = await _asking_anew(all_)
        server.client.client_kill_filter(_type="pubsub")
        await until(lambda: b.joins == 1)
        await all_.settle()
        assert not asking.done()
        all_.network.gate.set()
        assert (await asking).age_seconds == 0


async def test_what_was_deleted_is_not_told_back(server: Valkey) -> None:
    async with company(server) as all_:
        a, b = all_.gateways
        await b.get(SENT)
        await all_.settle()
        known = b.service.peek(SENT)
        assert known is not None
        await a.service.delete(SENT)
        b.service._cache._store.put(SENT, known)  # noqa: SLF001 - it had not heard yet
        await all_.settle()
        assert a.state(SENT) is None


async def test_what_others_add_is_another_thing_to_know(server: Valkey) -> None:
    """What is written of a record is kept by the identity of what is known."""
    async with company(server) as all_:
        a, b = all_.gateways
        await a.get(SENT)
        await all_.settle()
        known = b.service.peek(SENT)
        assert known is not None
        a.service._cache._store.put(SENT, replace(known, observed_at=known.observed_at - 1))  # noqa: SLF001
        await all_.settle()
        now_known = b.service.peek(SENT)
        assert now_known is not None
        assert now_known is not known


async def test_without_the_server_what_is_known_is_served_and_nothing_is_asked() -> None:
    with valkey() as server:
        async with company(server) as all_:
            a, b = all_.gateways
            await a.get(SENT)
            await all_.settle()
            server.stop()
            await until(lambda: b.service.link().sharing is Sharing.LOST)
            assert await b.get(SENT) is MessageState.SENT
            with pytest.raises(Overloaded, match="Redis") as error:
                await b.get(DELIVERED)
            assert error.value.retry_after == 1
            all_.clock.now += 30
            answer = await b.service.get(SENT, WANT)
            assert answer.stale
            forecast = await b.service.forecast([SENT, DELIVERED], WANT)
            assert (forecast.served.stale, forecast.served.live) == (1, 0)
            assert (forecast.requests, forecast.all_known_by) == (0, None)
            assert all_.limits.admitted == 1
            b.service.ingest(push(SENT, 1))  # the provider can still tell us
            server.start()
            await until(lambda: {one.service.link().sharing for one in (a, b)} == {Sharing.SHARED})
            await all_.settle()
            assert a.state(SENT) is MessageState.DELIVERED
            await all_.advance(math.ceil(SETTLE))
            assert await b.get(DELIVERED) is MessageState.DELIVERED
            assert all_.limits.refused.total() == 0


async def test_news_that_were_missed_are_read(server: Valkey) -> None:
    async with company(server) as all_:
        a, b = all_.gateways
        await a.get(SENT)
        await all_.settle()
        server.client.client_kill_filter(_type="pubsub")
        a.service.ingest(push(SENT, 1))
        await until(lambda: b.state(SENT) is MessageState.DELIVERED)


@pytest.mark.parametrize(
    "news",
    [
        b"",
        b"x",
        b"r",
        b"b" + b"0" * NAME_SIZE,
        b"r" + b"0" * NAME_SIZE + b"{}",
        b"r" + b"0" * NAME_SIZE + b"\xff\xfe",
        b"b" + b"0" * NAME_SIZE + json.dumps({"epoch": 1, "places": []}).encode(),
        b"b" + b"0" * NAME_SIZE + b"[" * 100_000,
    ],
)
async def test_news_that_can_not_be_read_are_passed_over(server: Valkey, news: bytes) -> None:
    async with company(server) as all_:
        a, b = all_.gateways
        server.client.publish(a.link.channel, news)
        await a.get(DELIVERED)
        await all_.settle()
        assert b.state(DELIVERED) is MessageState.DELIVERED


async def test_what_is_kept_and_can_not_be_read_counts_as_nothing(server: Valkey) -> None:
    async with company(server) as all_:
        (a, _) = all_.gateways
        server.client.set(a.link.key("record", DELIVERED), b"99{}")
        assert await a.get(DELIVERED) is MessageState.DELIVERED


async def test_names_at_the_server_hide_phones(server: Valkey) -> None:
    async with company(server) as all_:
        await all_.gateways[0].get(DELIVERED)
        await all_.settle()
        names = b" ".join(cast("list[bytes]", server.client.keys()))
        assert b"record" in names
        assert DELIVERED.phone.encode() not in names
        assert b"demo" not in names


NARROW = re.compile(r"^user gateway on >PASSWORD (.*)$", re.MULTILINE)
"""A user of the server who may do what the gateway needs, as the documentation has it."""


def narrow_user(server: Valkey, *more: str) -> str:
    text = (Path(__file__).parent.parent / "docs" / "operating.md").read_text()
    found = NARROW.search(text)
    assert found is not None
    rules = found[1].split()
    client: Any = server.client
    client.execute_command("ACL", "SETUSER", "gateway", "on", ">secret", *rules, *more)
    return server.url_of("gateway", "secret")


async def test_the_documented_user_may_do_all_that_is_needed(server: Valkey) -> None:
    async with company(server, 2, narrow_user(server)) as all_:
        a, b = all_.gateways
        assert await a.get(DELIVERED) is MessageState.DELIVERED
        a.service.ingest(push(SENT, 1))
        keys = [StatusKey(f"7999000{2000 + n}", 2000 + n) for n in range(50)]
        for gateway in (a, b):
            await asyncio.gather(
                gateway.service.get_many(keys, WANT), all_.clock.advance(10), return_exceptions=True
            )
        await all_.settle()
        assert b.state(SENT) is MessageState.DELIVERED
        await all_.new()
        assert server.client.acl_log() == []
        assert a.service.link().sharing is Sharing.SHARED


async def test_what_a_user_may_not_do_is_named(
    server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with company(server, 1, narrow_user(server, "-zadd", "-eval")) as all_:
        assert all_.gateways[0].service.link().sharing is Sharing.LOST
    assert "lacks the permission for the command EVAL" in caplog.text
    assert "secret" not in caplog.text


async def test_what_one_forgets_all_forget(server: Valkey) -> None:
    async with company(server) as all_:
        a, b = all_.gateways
        for key in (DELIVERED, SENT):
            await a.get(key)
        await all_.settle()
        assert b.state(DELIVERED) is MessageState.DELIVERED
        await a.service.forget([DELIVERED])
        await all_.settle()
        assert (a.state(DELIVERED), b.state(DELIVERED)) == (None, None)
        assert b.state(SENT) is MessageState.SENT
        assert not await b.service.recall([DELIVERED])
        admitted = all_.limits.admitted
        assert await b.get(DELIVERED) is MessageState.DELIVERED
        assert all_.limits.admitted == admitted + 1


async def test_without_the_server_nothing_is_forgotten(server: Valkey) -> None:
    async with company(server, 1) as all_:
        [a] = all_.gateways
        await a.get(DELIVERED)
        await all_.settle()
        server.stop()
        await until(lambda: a.service.link().sharing is Sharing.LOST)
        with pytest.raises(Overloaded, match="Redis"):
            await a.service.forget([DELIVERED])
        assert a.state(DELIVERED) is MessageState.DELIVERED
