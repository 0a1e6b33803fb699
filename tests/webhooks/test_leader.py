"""What only one process may do is done by one, and by another when that one is gone."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from gateway.archive import leader as leader_module
from gateway.archive.archive import open_database
from gateway.archive.leader import AGAIN, Leader
from tests.support.clock import FakeClock
from tests.support.postgres import Postgres
from tests.support.size import PATIENCE

if TYPE_CHECKING:
    from gateway.archive.database import Database

pytestmark = pytest.mark.anyio


class Duty:
    """Counts who does it at a time."""

    def __init__(self) -> None:
        self.doing: list[str] = []
        self.most = 0
        self.begun = 0

    async def do(self, who: str) -> None:
        self.doing.append(who)
        self.begun += 1
        self.most = max(self.most, len(self.doing))
        try:
            await asyncio.Event().wait()
        finally:
            self.doing.remove(who)


class Processes:
    """Two that share a database, each with connections of its own."""

    def __init__(self, url: str) -> None:
        self.clock = FakeClock()
        self.duty = Duty()
        self.databases: dict[str, Database] = {who: open_database(url) for who in ("a", "b")}
        self.leaders = {
            who: Leader(database, self.clock, [partial(self.duty.do, who)])
            for who, database in self.databases.items()
        }

    async def until_begun(self, times: int) -> None:
        end = asyncio.get_running_loop().time() + PATIENCE
        while self.duty.begun < times:
            assert asyncio.get_running_loop().time() < end, self.duty.doing
            await asyncio.sleep(0.01)
            await self.clock.advance(0.1)

    async def until(self, doing: list[str]) -> None:
        end = asyncio.get_running_loop().time() + PATIENCE
        while self.duty.doing != doing:
            assert asyncio.get_running_loop().time() < end, self.duty.doing
            await asyncio.sleep(0.01)
            await self.clock.advance(0.1)

    async def aclose(self) -> None:
        for leader in self.leaders.values():
            await leader.aclose()
        for database in self.databases.values():
            await database.aclose()


async def test_another_one_takes_over(url: str) -> None:
    both = Processes(url)
    await both.databases["a"].migrate()
    both.leaders["a"].start()
    await both.until(["a"])
    both.leaders["b"].start()
    await both.clock.advance(3 * AGAIN)
    await asyncio.sleep(0.1)
    assert both.duty.doing == ["a"]
    before = both.clock.now
    await both.leaders["a"].aclose()
    assert both.duty.doing == []
    await both.until(["b"])
    assert both.clock.now - before <= 30
    assert both.duty.most == 1
    await both.aclose()


async def test_whose_connection_is_lost_stops(server: Postgres) -> None:
    with server.database() as url:
        both = Processes(url)
        await both.databases["a"].migrate()
        both.leaders["a"].start()
        await both.until(["a"])
        kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        await asyncio.to_thread(server.execute, url, kill)
        both.leaders["b"].start()
        await both.until_begun(2)
        await both.clock.advance(2 * AGAIN)
        await asyncio.sleep(0.1)
        assert len(both.duty.doing) == 1
        await both.aclose()


async def test_a_duty_that_ends_by_itself_is_begun_again(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader_module, "AGAIN", 1.0)
    clock, begun = FakeClock(), 0

    async def fail() -> None:
        nonlocal begun
        begun += 1
        raise ValueError("of ours")

    database = open_database(url)
    await database.migrate()
    leader = Leader(database, clock, [fail])
    leader.start()
    end = asyncio.get_running_loop().time() + PATIENCE
    while begun < 3:
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.01)
        await clock.advance(0.5)
    await leader.aclose()
    await database.aclose()
    assert "what only one process does ended" in caplog.text
