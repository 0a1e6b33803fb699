"""The line to a server that moves: a master that fails, a slot that another node gets."""

import asyncio
import logging
from collections.abc import Iterator
from functools import partial

import pytest

from gateway.errors import Overloaded
from gateway.model.records import StatusKey
from gateway.replicas import LOOK, NAME_SIZE, Replicas
from tests.support.valkey import until
from tests.support.valkeys import HOST, SERVICE, Cluster, Node, Watched, cluster, watched

pytestmark = pytest.mark.anyio

SET = "return redis.call('SET', KEYS[1], ARGV[1])"
WHO = "return redis.call('INFO', 'server'):match('tcp_port:(%d+)')"
PASSWORD = "pAssw0rd-of-the-server"


@pytest.fixture
def sentinels() -> Iterator[Watched]:
    with watched() as servers:
        yield servers


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    with cluster() as servers:
        yield servers


class Line(Replicas):
    """It remembers its news, and knows whom it talks to."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "account")
        self.news: list[bytes] = []
        self.listen(b"x", lambda _, body: self.news.append(body), self._nothing)

    async def _nothing(self) -> None:
        pass

    async def port(self) -> int:
        """Of the server; 0: none is there."""
        try:
            return int(await self.run(WHO, [f"{self.prefix}key"], []))
        except Overloaded:
            return 0

    async def until_at(self, node: Node) -> None:
        while await self.port() != node.port:  # noqa: ASYNC110 - nobody tells it
            await asyncio.sleep(0.02)

    async def works(self) -> None:
        """Keys are written and read, and news are heard."""
        key = f"{self.prefix}key"
        assert await self.run(SET, [key], ["value"]) == b"OK"
        assert await self.read([key]) == [b"value"]
        self.news.clear()
        told = b"x" + b"0" * NAME_SIZE + b"news"
        await self.run("redis.call('PUBLISH', ARGV[1], ARGV[2])", [key], [self.channel, told])
        await until(lambda: self.news == [b"news"])


async def test_another_master_is_found(
    sentinels: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gateway")
    async with Line(sentinels.url) as line:
        await line.until_at(sentinels.master)
        await line.works()
        sentinels.sentinels[0].kill()  # as if it had been on the same machine
        await asyncio.to_thread(sentinels.kill)
        await line.until_at(sentinels.master)
        await line.works()
    lost, back = [record.message for record in caplog.records]
    assert lost.startswith("Redis is lost, so the provider is not asked: ")
    assert back == "Redis is there again"


async def test_what_waits_is_told_to_the_other_master(sentinels: Watched) -> None:
    async with Line(sentinels.url) as line:
        sentinels.master.kill()
        await until(lambda: not line.is_there)
        key = f"{line.prefix}key"
        line.run_later("name", SET, [key], partial(list, ["later"]))
        await line.until_at(sentinels.replica)
        assert await line.read([key]) == [b"later"]


async def test_a_master_that_others_have_left_is_left(sentinels: Watched) -> None:
    """It lives, and would confirm what another one confirms as well."""
    async with Line(sentinels.url) as line:
        await line.until_at(sentinels.master)
        sentinels.replica.ask("REPLICAOF", "NO", "ONE")
        for sentinel in sentinels.sentinels:
            sentinel.ask("SENTINEL", "REMOVE", SERVICE)
            sentinel.ask("SENTINEL", "MONITOR", SERVICE, HOST, sentinels.replica.port, 2)
        await line.until_at(sentinels.replica)
        await line.works()


async def test_without_sentinels_the_master_stays(sentinels: Watched) -> None:
    async with Line(sentinels.url) as line:
        for sentinel in sentinels.sentinels:
            sentinel.kill()
        await asyncio.sleep(2.2 * LOOK)  # they are asked twice
        assert line.is_there
        await line.works()


async def test_sentinels_have_a_password_of_their_own(
    sentinels: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    rights = ("~*", "&*", "+@all")
    sentinels.master.ask("ACL", "SETUSER", "gateway", "on", f">{PASSWORD}", *rights)
    for sentinel in sentinels.sentinels:
        sentinel.ask("ACL", "SETUSER", "watcher", "on", f">{PASSWORD}2", *rights)
    hosts = sentinels.url.removeprefix("redis+sentinel://")
    url = f"redis+sentinel://gateway:{PASSWORD}@{hosts}?sentinel_username=watcher"
    async with Line(f"{url}&sentinel_password={PASSWORD}2") as line:
        await line.works()
        assert "user=gateway" in sentinels.master.ask("CLIENT", "LIST")
        assert any("user=watcher" in one.ask("CLIENT", "LIST") for one in sentinels.sentinels)
    for wrong in (f"{url}&sentinel_password={PASSWORD}3", url.replace(PASSWORD, f"{PASSWORD}4")):
        async with Line(wrong) as line:
            assert not line.is_there
    assert "a Sentinel wants another password" in caplog.text
    assert PASSWORD not in caplog.text


async def test_a_master_that_nobody_knows_is_named(
    sentinels: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    async with Line(sentinels.url.replace(SERVICE, "theirs")) as line:
        assert not line.is_there
    assert "no Sentinel can be reached that knows a master theirs that is up" in caplog.text


async def test_the_node_that_has_our_keys_is_joined(nodes: Cluster) -> None:
    """Whichever node is asked, and though others are down."""
    line = Line(nodes.url)
    owner = nodes.owner(line.prefix)
    first = next(node for node in nodes.nodes if node not in {owner, nodes.replica_of(owner)})
    hosts = ",".join(f"{HOST}:{node.port}" for node in (first, *nodes.nodes[::-1]))
    first.kill()
    async with Line(f"redis+cluster://{hosts}") as line:
        assert await line.port() == owner.port
        await line.works()
        keys = {nodes.owner(line.key(room, StatusKey("7999", 1))) for room in ("record", "window")}
        assert keys == {owner}


async def test_a_slot_that_moved_is_followed(
    nodes: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    async with Line(nodes.url) as line:
        await line.works()
        owner = nodes.owner(line.prefix)
        other = next(one for one in nodes.nodes[:3] if one is not owner)
        nodes.move(line.prefix, other)  # nothing else runs meanwhile
        with pytest.raises(Overloaded, match="Redis"):
            await line.read([f"{line.prefix}key"])
        assert "the cluster has our keys, or some, at another node" in caplog.text
        await line.until_at(other)
        assert await line.read([f"{line.prefix}key"]) == [b"value"]
        await line.works()


async def test_who_only_listens_follows_its_slot_too(nodes: Cluster) -> None:
    async with Line(nodes.url) as line:
        await line.works()
        replica = nodes.replica_of(nodes.owner(line.prefix))
        replica.ask("CLUSTER", "FAILOVER", "TAKEOVER")
        await until(lambda: line._line.place == (HOST, replica.port) and line.is_there)  # noqa: SLF001
        await line.works()


async def test_a_node_that_died_is_replaced(nodes: Cluster) -> None:
    async with Line(nodes.url) as line:
        await line.works()
        owner = nodes.owner(line.prefix)
        replica = nodes.replica_of(owner)
        owner.kill()
        await line.until_at(replica)
        assert await line.read([f"{line.prefix}key"]) == [b"value"]
        await line.works()
        owner.start()  # now a replica
        await line.until_at(replica)


async def test_a_server_alone_is_no_cluster(
    sentinels: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    async with Line(f"redis+cluster://{HOST}:{sentinels.master.port}") as line:
        assert not line.is_there
    assert f"{HOST}:{sentinels.master.port} is no node of a cluster" in caplog.text
