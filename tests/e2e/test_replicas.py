"""Three gateways as processes, one login, one Valkey or several: the provider never has to refuse.

The windows are three seconds long here, so that many pass.
"""

import asyncio
import random
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from gateway.replicas import Replicas
from gateway.simulator import Limits, Report, create_simulator, sample_world
from tests.support.process import command
from tests.support.server import serving
from tests.support.size import PATIENCE, only_in_soak, size, soak
from tests.support.valkey import until, valkey
from tests.support.valkeys import Cluster, Watched, cluster, watched

pytestmark = pytest.mark.anyio

WINDOW = 3.0
SECONDS = float(size(small=6, whole=30))
CALLERS = 5
MESSAGES = [(1000 + number, f"7999000{1000 + number}") for number in range(40)]


async def caller(address: str, random_: random.Random, over: asyncio.Event) -> Counter[int]:
    """Asks for one or many, young or any, until it is over or nobody listens."""
    statuses = Counter[int]()
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as client:
        while not over.is_set():
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


@dataclass
class Load:
    """Three gateways that are asked without end, and the provider's limits."""

    limits: Limits
    provider: str
    processes: list[tuple[subprocess.Popen[str], str]]

    async def until_they_share(self) -> None:
        """All that live have found each other, and ask the provider again."""
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            for process, address in self.processes:
                while process.poll() is None and await sharing(client, address) != "SHARED":  # noqa: ASYNC110
                    await asyncio.sleep(0.05)  # nobody tells it
        asked = self.limits.admitted
        await until(lambda: self.limits.admitted > asked)


async def sharing(client: httpx.AsyncClient, address: str) -> str:
    return str((await client.get(f"{address}/v1/provider")).json()["sharing"])


async def under_load(
    url: str, folder: Path, trouble: Callable[[Load], Awaitable[None]]
) -> tuple[Limits, Counter[int]]:
    """What the provider saw and callers got, from the start until the trouble is over."""
    world = sample_world(time.time)
    for id_, phone in MESSAGES:
        world.add(Report(id=id_, phone=phone, status=0, sent=int(time.time()), flag=0, err=0))
    limits = Limits(time.monotonic, window=WINDOW)

    async def slow(seconds: float) -> None:
        await asyncio.sleep(seconds + random.uniform(0, 0.1))

    provider = create_simulator(world, monotonic=time.monotonic, sleep=slow, limits=limits)
    with serving(provider) as at, ExitStack() as stack:
        settings = {
            "SMSC_URL": f"{at}/sys",
            "SMSC_LOGIN": "demo",
            "SMSC_PASSWORD": "demo",
            "LIMIT_WINDOW": str(WINDOW),
            "REDIS_URL": url,
            "STATE_DIR": str(folder),
            "PORT": "0",
            "LOG_LEVEL": "warning",
        }
        async with httpx.AsyncClient() as client:
            await client.post(f"{at}/control/latency", json={"seconds": 0.05})
        gateways = [stack.enter_context(command("serve", **settings)) for _ in range(3)]
        over = asyncio.Event()
        calls = [
            caller(address, random.Random(f"{number} {n}"), over)
            for number, (_, address) in enumerate(gateways)
            for n in range(CALLERS)
        ]
        calling = asyncio.gather(*calls)
        await trouble(Load(limits, at, gateways))
        over.set()
        statuses = sum(await calling, Counter[int]())
    assert dict(limits.refused) == {}
    assert limits.highest_concurrency <= 4
    assert set(statuses) <= {200, 429, 503}
    return limits, statuses


@soak
@pytest.mark.parametrize("calm", [False, True][: size(small=1, whole=2)])
async def test_no_limit_is_broken(tmp_path: Path, *, calm: bool) -> None:
    """One gateway is killed; later the server loses all that it held."""
    with valkey() as server:

        async def trouble(load: Load) -> None:
            await asyncio.sleep(SECONDS / 3)
            if not calm:
                load.processes[0][0].kill()
            await asyncio.sleep(SECONDS / 6)
            if not calm:
                server.stop()
                server.start()
            await asyncio.sleep(SECONDS / 2)

        limits, statuses = await under_load(server.url, tmp_path, trouble)
    assert limits.admitted > SECONDS  # else the load was too light to say anything
    assert not any(
        await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
    )  # nothing is kept beside Redis
    assert statuses[200] > statuses.total() / 2  # how many more is the machine's


async def failovers(load: Load, servers: Watched | Cluster) -> None:
    """A gateway dies, and with kill -9 the server that has all keys."""
    prefix = Replicas(servers.url, f"{load.provider}/sys/ demo").prefix
    await asyncio.sleep(SECONDS / 3)
    load.processes[0][0].kill()
    await asyncio.to_thread(servers.kill, prefix)
    await load.until_they_share()
    await asyncio.sleep(SECONDS / 3)


@soak
@pytest.mark.parametrize("servers", [watched, pytest.param(cluster, marks=only_in_soak)])
async def test_no_limit_is_broken_by_a_failover(
    tmp_path: Path, servers: Callable[[], AbstractContextManager[Watched | Cluster]]
) -> None:
    with servers() as all_:
        limits, _ = await under_load(all_.url, tmp_path, partial(failovers, servers=all_))
    assert limits.admitted > SECONDS
