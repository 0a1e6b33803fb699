"""The feed of three gateways on one PostgreSQL: each change exactly once, through kills of both."""

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from gateway.simulator.push import signed
from tests.support.postgres import Postgres, postgres
from tests.support.process import command, drained
from tests.support.size import PATIENCE, size, soak

pytestmark = pytest.mark.anyio

MESSAGES = int(os.environ.get("FEED_MESSAGES", size(small=200, whole=4000)))
"""Each has three changes."""
GATEWAYS = 3
READERS = 3
PUSHERS = 8
KILLS = size(small=1, whole=4)
"""Of a gateway, and as many of PostgreSQL."""
SECRET = "a-good-and-long-secret"
PHONE = "79990001000"
STATES = {"-1": "QUEUED", "0": "SENT", "1": "DELIVERED"}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as started:
        yield started


class Fleet:
    """Gateways that share an archive and nothing else; each may be killed and started anew."""

    def __init__(self, archive: str, folder: Path) -> None:
        self._archive = archive
        self._folder = folder
        self._stacks: list[ExitStack] = [ExitStack() for _ in range(GATEWAYS)]
        self._kill = [lambda: None for _ in range(GATEWAYS)]
        self.addresses = [""] * GATEWAYS

    def start(self, number: int) -> None:
        stack = self._stacks[number] = ExitStack()
        process, address = stack.enter_context(
            command(
                "serve",
                PORT="0",
                LOG_LEVEL="error",
                SMSC_URL="http://127.0.0.1:1/sys",
                SMSC_API_KEY="demo",
                CALLBACK_SECRET=SECRET,
                ARCHIVE_URL=self._archive,
                STATE_DIR=str(self._folder / str(number)),
            )
        )
        stack.enter_context(drained(process))
        self._kill[number] = process.kill
        self.addresses[number] = address

    def kill(self, number: int) -> None:
        """At once, and start it again."""
        self._kill[number]()
        self._stacks[number].close()
        self.start(number)

    def close(self) -> None:
        for stack in self._stacks:
            stack.close()

    def any(self) -> str:
        return random.choice(self.addresses)


@asynccontextmanager
async def fleet(archive: str, folder: Path) -> AsyncIterator[Fleet]:
    started = Fleet(archive, folder)
    try:
        for number in range(GATEWAYS):
            await asyncio.to_thread(started.start, number)
        yield started
    finally:
        await asyncio.to_thread(started.close)


async def push(fleet: Fleet, ids: Iterator[int]) -> None:
    """Tell the states of one message after the other, each to any of the gateways."""
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        for id_ in ids:
            for status in STATES:
                fields = {"id": str(id_), "phone": PHONE, "status": status}
                body = signed(fields, SECRET)
                while True:
                    with suppress(
                        httpx.TransportError
                    ):  # it was killed: the provider tells it again
                        url = f"{fleet.any()}/v1/callbacks/smsc"
                        if (await client.post(url, data=body)).status_code == httpx.codes.OK:
                            break
                    await asyncio.sleep(0.05)


class Reader:
    """Goes on from the last cursor, at whichever gateway answers."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._after = ""
        self.told: list[tuple[str, str]] = []
        self.cursors: list[str] = []

    async def read(self) -> None:
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            while True:
                await self._page(client)

    async def _page(self, client: httpx.AsyncClient) -> None:
        after = {"after": self._after} if self._after else {}
        try:
            answer = await client.get(
                f"{self._fleet.any()}/v1/changes", params={"limit": "50", "wait": "2", **after}
            )
        except httpx.TransportError:
            await asyncio.sleep(0.05)
            return
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:  # PostgreSQL was killed
            await asyncio.sleep(0.05)
            return
        assert answer.status_code == httpx.codes.OK, answer.text
        page = answer.json()
        self._after = page["next"]
        self.told += [(one["id"], one["state"]) for one in page["changes"]]
        self.cursors += [one["cursor"] for one in page["changes"]]


async def disturb(fleet: Fleet, server: Postgres) -> None:
    for _ in range(KILLS):
        await asyncio.sleep(random.uniform(0.5, 2))
        await asyncio.to_thread(fleet.kill, random.randrange(GATEWAYS))
        await asyncio.sleep(random.uniform(0.5, 2))
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(random.uniform(0.1, 0.5))
        await asyncio.to_thread(server.start)


async def until_written(client: httpx.AsyncClient, address: str) -> None:
    while (await client.get(f"{address}/v1/provider")).json()["archiveReport"]["queue"]:  # noqa: ASYNC110 - no event crosses processes
        await asyncio.sleep(0.05)


@soak
async def test_each_change_is_seen_exactly_once_and_each_messages_in_order(
    server: Postgres, tmp_path: Path
) -> None:
    with server.database() as archive:
        async with fleet(archive, tmp_path) as gateways:
            readers = [Reader(gateways) for _ in range(READERS)]
            reading = [asyncio.create_task(reader.read()) for reader in readers]
            disturbing = asyncio.create_task(disturb(gateways, server))
            ids = iter(range(1, MESSAGES + 1))
            await asyncio.gather(*(push(gateways, ids) for _ in range(PUSHERS)))
            await disturbing
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                for address in gateways.addresses:
                    await until_written(client, address)
            kept = server.execute(
                archive,
                "SELECT records.id, changes.state FROM changes "
                "JOIN records ON records.no = changes.record ORDER BY changes.no",
            )
            async with asyncio.timeout(PATIENCE):
                while any(len(reader.told) < len(kept) for reader in readers):
                    await asyncio.gather(*(task for task in reading if task.done()))
                    await asyncio.sleep(0.05)
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
    expected = [(str(id_), NUMBERED[state]) for id_, state in kept]
    assert len(kept) >= MESSAGES  # a kill costs what was learned within the last second
    for reader in readers:
        assert reader.told == expected
        assert len(set(reader.cursors)) == len(reader.cursors)
    order = list(STATES.values())
    of_each = defaultdict(list)
    for id_, state in expected:
        of_each[id_].append(order.index(state))
    assert all(states == sorted(set(states)) for states in of_each.values())
    assert {states[-1] for states in of_each.values()} >= {order.index("DELIVERED")}


NUMBERED = {1: "QUEUED", 3: "SENT", 4: "DELIVERED"}
"""States as the table `changes` has them."""
