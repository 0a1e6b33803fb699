"""Three gateways as processes, one login, one Valkey: the provider never has to refuse.

The windows are three seconds long here, so that many pass.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from gateway.simulator import Limits, Report, create_simulator, sample_world
from tests.support.process import command
from tests.support.server import serving
from tests.support.size import PATIENCE, size, soak
from tests.support.valkey import Valkey, valkey

pytestmark = pytest.mark.anyio

WINDOW = 3.0
SECONDS = float(size(small=6, whole=30))
CALLERS = 5
MESSAGES = [(1000 + number, f"7999000{1000 + number}") for number in range(40)]


async def caller(address: str, random_: random.Random, until: float) -> Counter[int]:
    """Asks for one or many, young or any, until the time is over or nobody listens."""
    statuses = Counter[int]()
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as client:
        while time.monotonic() < until:
            try:
                statuses[await ask(client, random_)] += 1
            except httpx.TransportError:
                return statuses
            await asyncio.sleep(random_.expovariate(20))
    return statuses


async def ask(client: httpx.AsyncClient, random_: random.Random) -> int:
    if random_.random() < 0.1:
        chosen = random_.sample(MESSAGES, random_.randint(2, 30))
        items = [{"id": str(id_), "phone": phone} for id_, phone in chosen]
        return (await client.post("/v1/statuses/batch", json={"items": items})).status_code
    id_, phone = random_.choice(MESSAGES)
    young = {"cache-control": "no-cache"} if random_.random() < 0.3 else {}
    url = f"/v1/messages/{id_}?phone={phone}&fields=state"
    return (await client.get(url, headers=young)).status_code


async def trouble(server: Valkey, kill: Callable[[], None]) -> None:
    """One gateway is killed; later the server loses all that it held."""
    await asyncio.sleep(SECONDS / 3)
    kill()
    await asyncio.sleep(SECONDS / 6)
    server.stop()
    server.start()


@soak
@pytest.mark.parametrize("calm", [False, True][: size(small=1, whole=2)])
async def test_no_limit_is_broken(tmp_path: Path, *, calm: bool) -> None:
    world = sample_world(time.time)
    for id_, phone in MESSAGES:
        world.add(Report(id=id_, phone=phone, status=0, sent=int(time.time()), flag=0, err=0))
    limits = Limits(time.monotonic, window=WINDOW)

    async def slow(seconds: float) -> None:
        await asyncio.sleep(seconds + random.uniform(0, 0.1))

    provider = create_simulator(world, monotonic=time.monotonic, sleep=slow, limits=limits)
    with valkey() as server, serving(provider) as at, ExitStack() as stack:
        settings = {
            "SMSC_URL": f"{at}/sys",
            "SMSC_LOGIN": "demo",
            "SMSC_PASSWORD": "demo",
            "LIMIT_WINDOW": str(WINDOW),
            "REDIS_URL": server.url,
            "STATE_DIR": str(tmp_path),
            "PORT": "0",
            "LOG_LEVEL": "warning",
        }
        async with httpx.AsyncClient() as client:
            await client.post(f"{at}/control/latency", json={"seconds": 0.05})
        gateways = [stack.enter_context(command("serve", **settings)) for _ in range(3)]
        until = time.monotonic() + SECONDS
        calls = [
            caller(address, random.Random(f"{number} {n}"), until)
            for number, (_, address) in enumerate(gateways)
            for n in range(CALLERS)
        ]
        if not calm:
            troubled = asyncio.create_task(trouble(server, gateways[0][0].kill))
        statuses = sum(await asyncio.gather(*calls), Counter[int]())
        if not calm:
            await troubled
    assert dict(limits.refused) == {}
    assert limits.highest_concurrency <= 4
    assert limits.admitted > SECONDS  # else the load was too light to say anything
    assert not any(
        await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    )  # nothing is kept beside Redis
    assert statuses[200] > statuses.total() / 2  # how many more is the machine's
    assert set(statuses) <= {200, 429, 503}
