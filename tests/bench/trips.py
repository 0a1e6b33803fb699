"""How far a request travels through the gateway's own code: calls, files, changes of file.

`python -m tests.bench trips`. Counted by `sys.setprofile`, so the numbers are exact and the same on
every machine; they say how much there is to read, not how long it takes.
"""

import asyncio
import itertools
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import gateway
from gateway.simulator.push import signed
from tests.support.gateway import Setup, running

ROOT = str(Path(gateway.__file__).parent)
SECRET = "a-good-and-long-secret"
PHONE = "79990000001"
SEVERAL = [{"id": str(number), "phone": PHONE} for number in range(500, 512)]


class Trip(NamedTuple):
    """Calls of functions of ours, the files they are in, and how often the file changed."""

    calls: int
    files: int
    changes: int


async def trip(work: Callable[[], Awaitable[object]]) -> Trip:
    """What one request travels."""
    path: list[str] = []

    def count(frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(ROOT) and "/simulator/" not in name:
            path.append(name)

    sys.setprofile(count)
    try:
        await work()
    finally:
        sys.setprofile(None)
    changes = sum(one != other for one, other in itertools.pairwise(path))
    return Trip(len(path), len(set(path)), changes)


async def _measure(setup: Setup) -> dict[str, Trip]:
    ask, batch = setup.client.get, {"items": SEVERAL}
    query = f'{{ message(id: 1, phone: "{PHONE}") {{ state cost {{ amount }} }} }}'
    document = json.dumps({"query": query})
    headers = {"content-type": "application/json"}

    def graphql() -> Awaitable[object]:
        return setup.client.post("/graphql", content=document, headers=headers)

    def push(status: int) -> dict[str, str]:
        return signed({"id": "100", "phone": "79990000100", "status": str(status)}, SECRET)

    first_url, hit = "/v1/messages/3?phone=79990000003", f"/v1/messages/1?phone={PHONE}"
    await ask(hit)
    trips = {"REST hit": await trip(lambda: ask(hit))}
    trips["REST hit, again in its second"] = await trip(lambda: ask(hit))
    trips["GraphQL hit, a new text"] = await trip(graphql)
    await graphql()  # what came twice is kept
    trips["GraphQL hit, again in its second"] = await trip(graphql)
    trips["REST miss"] = await trip(lambda: ask(first_url))
    await ask("/v1/messages/100?phone=79990000100")
    trips["push of a known message"] = await trip(
        lambda: setup.client.post("/v1/callbacks/smsc", data=push(1))
    )
    trips["batch of 12 cold keys"] = await trip(
        lambda: setup.client.post("/v1/statuses/batch", json=batch)
    )
    return trips


async def _main() -> None:
    async with running(CALLBACK_SECRET=SECRET) as setup:
        trips = await _measure(setup)
    print(f"{'trip':<32} {'calls':>7} {'files':>7} {'changes of file':>17}")
    for name, (calls, files, changes) in trips.items():
        print(f"{name:<32} {calls:>7} {files:>7} {changes:>17}")


def main() -> None:
    asyncio.run(_main())
