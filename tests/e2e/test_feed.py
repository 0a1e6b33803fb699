"""The feed of three gateways on one PostgreSQL: each change exactly once, through kills of both."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.fleet import KEPT, NUMBERED, STATES, Fleet, disturb, fleet, push, until_written
from tests.support.postgres import Postgres, postgres
from tests.support.size import PATIENCE, size, soak

pytestmark = pytest.mark.anyio

MESSAGES = int(os.environ.get("FEED_MESSAGES", size(small=200, whole=2000)))
"""Each has three changes."""
READERS = 3
PUSHERS = 8
KILLS = size(small=1, whole=2)
"""Of a gateway, and as many of PostgreSQL."""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as started:
        yield started


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


@soak
async def test_each_change_is_seen_exactly_once_and_each_messages_in_order(
    server: Postgres, tmp_path: Path
) -> None:
    with server.database() as archive:
        async with fleet(archive, tmp_path) as gateways:
            readers = [Reader(gateways) for _ in range(READERS)]
            reading = [asyncio.create_task(reader.read()) for reader in readers]
            disturbing = asyncio.create_task(disturb(gateways, server, KILLS))
            ids = iter(range(1, MESSAGES + 1))
            await asyncio.gather(*(push(gateways, ids) for _ in range(PUSHERS)))
            await disturbing
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                for address in gateways.addresses:
                    await until_written(client, address)
            kept = server.execute(archive, KEPT)
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
