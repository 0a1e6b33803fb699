"""Webhooks of three gateways on one PostgreSQL: nothing lost, nothing out of order.

That through kills of both, with a receiver that fails a third of the time and is restarted.
"""

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.callers.model import ALL_SCOPES
from tests.support.callers import client
from tests.support.fleet import KEPT, NUMBERED, STATES, disturb, fleet, push, until_written
from tests.support.postgres import Postgres, postgres
from tests.support.receiver import SECRET, Receiver, receiving
from tests.support.size import PATIENCE, only_in_soak, soak

pytestmark = pytest.mark.anyio

MESSAGES = int(os.environ.get("WEBHOOK_MESSAGES", "2000"))
"""Each has three changes."""
FIRST = 40
"""Messages that come around the time that the receiver is restarted."""
PUSHERS = 8
KILLS = 3
"""Of a gateway, and as many of PostgreSQL."""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as started:
        yield started


class FailsAThird:
    """Refuses a third of the changes of messages beyond the first ones, each change once.

    A change that fails twice is tried again after five minutes, for which no test waits: so those
    that came while the receiver was away are not refused as well.
    """

    def __init__(self, beyond: int) -> None:
        self._beyond = beyond
        self._refused: set[tuple[str, str]] = set()

    def __call__(self, id_: str, state: str) -> int:
        is_first = (id_, state) not in self._refused and int(id_) > self._beyond
        if not is_first or random.random() > 1 / 3:
            return 204
        self._refused.add((id_, state))
        return 503


async def restart(receiver: Receiver) -> None:
    """Have it be away for a while."""
    while len(receiver.got) < 20:  # noqa: ASYNC110 - it is another thread
        await asyncio.sleep(0.02)
    await asyncio.to_thread(receiver.stop)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(receiver.start)


@soak
@only_in_soak
async def test_nothing_is_lost_and_each_messages_changes_come_in_order(
    server: Postgres, tmp_path: Path
) -> None:
    with server.database() as archive, receiving() as receiver:
        webhook = f'[[client.webhook]]\nname = "one"\nurl = "{receiver.url}"\nsecret = "{SECRET}"\n'
        clients = tmp_path / "clients.toml"
        clients.write_text(client("billing", scopes=ALL_SCOPES, more=webhook))
        async with fleet(archive, tmp_path, CLIENTS_FILE=str(clients)) as gateways:
            first, ids = iter(range(1, FIRST + 1)), iter(range(FIRST + 1, MESSAGES + 1))
            await asyncio.gather(
                *(push(gateways, first) for _ in range(PUSHERS)), restart(receiver)
            )
            receiver.answer = FailsAThird(beyond=FIRST)
            pushing = [push(gateways, ids) for _ in range(PUSHERS)]
            await asyncio.gather(*pushing, disturb(gateways, server, KILLS))
            headers = {"authorization": "Bearer key of billing"}
            async with httpx.AsyncClient(timeout=PATIENCE, headers=headers) as caller:
                for address in gateways.addresses:
                    await until_written(caller, address)
                async with asyncio.timeout(PATIENCE):
                    while await lag(caller, gateways.any()):  # noqa: ASYNC110 - as above
                        await asyncio.sleep(0.1)
            kept = {(str(id_), NUMBERED[state]) for id_, state in server.execute(archive, KEPT)}
    taken: dict[str, tuple[str, str]] = {}
    for one in receiver.got:
        one.verified()
        if one.status == 204:
            taken.setdefault(one.id, one.change)
    assert set(taken.values()) == kept
    order = list(STATES.values())
    of_each: dict[str, list[int]] = defaultdict(list)
    for id_, state in taken.values():
        of_each[id_].append(order.index(state))
    assert all(states == sorted(set(states)) for states in of_each.values())
    assert len(receiver.got) > len(taken), "nothing had to be tried again"


async def lag(caller: httpx.AsyncClient, address: str) -> int:
    """Changes that were not delivered yet."""
    answer = await caller.get(f"{address}/v1/webhooks")
    if answer.status_code != httpx.codes.OK:
        return 1
    [told] = answer.json()["webhooks"]
    assert told["givenUp"] == 0
    count: int = told["lag"]
    return count
