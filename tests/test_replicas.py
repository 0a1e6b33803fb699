"""The line to the shared server, as it breaks."""

import asyncio
import logging
from collections.abc import Iterator
from functools import partial

import pytest

from gateway.errors import Overloaded
from gateway.replicas import AT_ONCE, MAX_QUEUED, NAME_SIZE, Replicas
from tests.support.valkey import Valkey, until, valkey

pytestmark = pytest.mark.anyio

PUSH = "return redis.call('RPUSH', KEYS[1], ARGV[1])"
SET = "return redis.call('SET', KEYS[1], ARGV[1])"


@pytest.fixture
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


async def _nothing() -> None:
    pass


class Heard:
    """What was heard, and how often it was joined."""

    def __init__(self, link: Replicas) -> None:
        self.news: list[bytes] = []
        self.joins = 0
        link.listen(b"x", self.hear, self.join)

    def hear(self, _: bytes, body: bytes) -> None:
        if body == b"broken":
            raise RuntimeError("a fault of ours")
        self.news.append(body)

    async def join(self) -> None:
        self.joins += 1


async def test_commands_stay_in_order(server: Valkey) -> None:
    async with Replicas(server.url, "account") as link:
        numbers = [str(number) for number in range(3 * AT_ONCE)]
        for number in numbers:
            link.run_later(number, PUSH, ["l"], partial(list, [number]))
        assert await link.run("return redis.call('LLEN', KEYS[1]) .. ''", ["l"], []) == b"1500"
        assert server.client.lrange("l", 0, -1) == [number.encode() for number in numbers]


async def test_of_one_name_only_the_last_is_told(server: Valkey) -> None:
    async with Replicas(server.url, "account") as link:
        for number in range(10):
            link.run_later("name", SET, ["key"], partial(list, [number]))
        assert await link.read(["key", "other"]) == [b"9", b""]


async def test_what_is_told_anew_is_told_after_all_that_came_before(server: Valkey) -> None:
    async with Replicas(server.url, "account") as link:
        for name in ("a", "b", "a"):
            link.run_later(name, PUSH, ["l"], partial(list, [name]))
        await link.read(["key"])
        assert server.client.lrange("l", 0, -1) == [b"b", b"a"]


async def test_what_was_on_its_way_to_a_server_that_went_is_told_again(server: Valkey) -> None:
    async with Replicas(server.url, "account") as link:
        server.stop()  # which nobody has noticed yet
        link.run_later("name", SET, ["key"], partial(list, [1]))
        await until(lambda: not link.is_there)
        server.start()
        await until(lambda: link.is_there)
        assert await link.read(["key"]) == [b"1"]


async def test_arguments_are_those_of_the_moment_of_telling(server: Valkey) -> None:
    async with Replicas(server.url, "account") as link:
        now = 1
        server.stop()
        await until(lambda: not link.is_there)
        link.run_later("name", SET, ["key"], lambda: [now])
        now = 2
        server.start()
        await until(lambda: link.is_there)
        assert await link.read(["key"]) == [b"2"]


async def test_who_waits_is_told_at_once_that_it_is_lost(server: Valkey) -> None:
    async with Replicas(server.url, "account") as link:
        with server.frozen():
            asking = [asyncio.create_task(link.read([str(n)])) for n in range(AT_ONCE + 10)]
            for outcome in await asyncio.gather(*asking, return_exceptions=True):
                assert isinstance(outcome, Overloaded)
            with pytest.raises(Overloaded, match="Redis") as error:
                await link.run(SET, ["key"], ["value"])
            assert error.value.retryable
        await until(lambda: link.is_there)
        assert await link.run(SET, ["key"], ["value"]) == b"OK"


async def test_a_silent_server_is_noticed_by_who_only_listens(server: Valkey) -> None:
    async with Replicas(server.url, "account") as link:
        with server.frozen():
            await until(lambda: not link.is_there)
        await until(lambda: link.is_there)
        assert await link.run(SET, ["key"], ["value"]) == b"OK"


async def test_an_idle_line_stays(server: Valkey) -> None:
    async with Replicas(server.url, "account") as link:
        heard = Heard(link)
        connections = server.client.info("stats")["total_connections_received"]
        await asyncio.sleep(2.2)  # it says twice that it is alive
        assert link.is_there
        assert heard.joins == 0
        assert server.client.info("stats")["total_connections_received"] - connections <= 1


async def test_only_so_much_is_kept_for_a_lost_server(server: Valkey) -> None:
    async with Replicas(server.url, "account") as link:
        server.stop()
        await until(lambda: not link.is_there)
        for number in range(MAX_QUEUED + 5):
            link.run_later(number, SET, [f"key {number}"], lambda: [1])
        server.start()
        await until(lambda: link.is_there)
        await link.read(["key 0"])
        assert server.client.dbsize() == MAX_QUEUED - 1  # the question took a place
        assert not server.client.exists("key 0", "key 4")


async def test_what_was_not_told_before_the_end_is_said(
    server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with Replicas(server.url, "account") as link:
        server.stop()
        await until(lambda: not link.is_there)
        link.run_later("name", SET, ["key"], lambda: [1])
    assert [record.message for record in caplog.records if "before the end" in record.message]


async def test_what_is_queued_is_told_before_the_end(server: Valkey) -> None:
    async with Replicas(server.url, "account") as link:
        link.run_later("name", SET, ["key"], lambda: [1])
    assert server.client.get("key") == b"1"


async def test_a_command_that_the_server_refuses_harms_no_other(server: Valkey) -> None:
    async with Replicas(server.url, "account") as link:
        refused = asyncio.create_task(link.run("return redis.call('NONSENSE')", [], []))
        link.run_later("name", SET, ["key"], lambda: [1])
        with pytest.raises(Overloaded):
            await refused
        await until(lambda: link.is_there)
        assert await link.read(["key"]) == [b"1"]


async def test_a_command_that_can_not_be_sent_harms_no_other(server: Valkey) -> None:
    def broken() -> list[str]:
        raise RuntimeError("a fault of ours")

    async with Replicas(server.url, "account") as link:
        link.run_later("broken", SET, ["key"], broken)
        await until(lambda: not link.is_there)
        await until(lambda: link.is_there)
        assert await link.run(SET, ["key"], ["value"]) == b"OK"


async def test_a_fault_of_a_listener_has_all_joined_again(server: Valkey) -> None:
    link = Replicas(server.url, "account")
    heard = Heard(link)
    async with link:
        sender = b"x" + b"0" * NAME_SIZE
        server.client.publish(link.channel, sender + b"broken")
        await until(lambda: heard.joins == 2)
        server.client.publish(link.channel, sender + b"whole")
        await until(lambda: bool(heard.news))
        assert heard.news == [b"whole"]


async def test_news_that_came_before_the_server_was_lost_are_heard(server: Valkey) -> None:
    link = Replicas(server.url, "account")
    heard = Heard(link)
    async with link:
        news = [str(number).encode() for number in range(200)]
        with server.client.pipeline(transaction=False) as pipe:
            for body in news:
                pipe.publish(link.channel, b"x" + b"0" * NAME_SIZE + body)
            pipe.execute()
        link._lost("as by a command, before they are read")  # noqa: SLF001
        await until(lambda: heard.joins == 2)
        assert heard.news == news


async def test_that_it_is_lost_and_there_again_is_said_once(
    server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gateway")
    async with Replicas(server.url, "account") as link:
        server.stop()
        await until(lambda: not link.is_there)
        await asyncio.sleep(1.2)  # it is tried twice more
        server.start()
        await until(lambda: link.is_there)
        await link.read(["key"])
    lost, back = [record.message for record in caplog.records]
    assert lost.startswith("Redis is lost, so the provider is not asked: ")
    assert back == "Redis is there again"


async def test_a_server_that_only_reads_is_none(
    server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async def join() -> None:
        await link.run(SET, ["key"], ["value"])

    server.client.replicaof("127.0.0.1", "1")
    link = Replicas(server.url, "account")
    link.listen(b"x", lambda *_: None, join)
    async with link:
        assert not link.is_there
        server.client.replicaof("no", "one")
        await until(lambda: link.is_there)
    assert "it is a replica, which can't be written to" in caplog.text
