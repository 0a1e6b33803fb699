"""Gateways that share an archive, pushed to and killed."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx

from gateway.simulator.push import signed
from tests.support.postgres import Postgres
from tests.support.process import command, drained
from tests.support.size import PATIENCE

GATEWAYS = 3
SECRET = "a-good-and-long-secret"
PHONE = "79990001000"
STATES = {"-1": "QUEUED", "0": "SENT", "1": "DELIVERED"}
"""Those that each message goes through, by what the provider calls them."""
NUMBERED = {1: "QUEUED", 3: "SENT", 4: "DELIVERED"}
"""The same as the table `changes` has them."""
KEPT = (
    "SELECT records.id, changes.state FROM changes "
    "JOIN records ON records.no = changes.record ORDER BY changes.no"
)
"""All changes that are kept, in their order."""


class Fleet:
    """Gateways that share an archive and nothing else; each may be killed and started anew."""

    def __init__(self, archive: str, folder: Path, **settings: str) -> None:
        self._archive = archive
        self._folder = folder
        self._settings = settings
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
                **self._settings,
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
async def fleet(archive: str, folder: Path, **settings: str) -> AsyncIterator[Fleet]:
    started = Fleet(archive, folder, **settings)
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


async def disturb(fleet: Fleet, server: Postgres, kills: int) -> None:
    """Kill a gateway, and PostgreSQL, so many times."""
    for _ in range(kills):
        await asyncio.sleep(random.uniform(0.5, 2))
        await asyncio.to_thread(fleet.kill, random.randrange(GATEWAYS))
        await asyncio.sleep(random.uniform(0.5, 2))
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(random.uniform(0.1, 0.5))
        await asyncio.to_thread(server.start)


async def until_written(client: httpx.AsyncClient, address: str) -> None:
    while (await client.get(f"{address}/v1/provider")).json()["archiveReport"]["queue"]:  # noqa: ASYNC110 - no event crosses processes
        await asyncio.sleep(0.05)
