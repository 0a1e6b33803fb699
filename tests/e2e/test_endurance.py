"""What wears a process out: an hour of everything at once, and descriptors that run out."""

import asyncio
import itertools
import os
import random
import re
import resource
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.support.process import PHONE, Served, command, drained, served
from tests.support.size import PATIENCE, size, soak

pytestmark = pytest.mark.anyio

SECONDS = 60 * float(os.environ.get("ENDURANCE_MINUTES", "0")) or size(small=6, whole=30)
"""`ENDURANCE_MINUTES=60 SOAK=1 pytest tests/e2e/test_endurance.py` is the hour of `measured.md`."""

CALLERS = 8
PACE = 0.05
"""Seconds between two requests of a caller: most of a core, but not all of it."""

RECORDS = 500
"""That the cache has room for: it is full long before the end."""

SLACK = 12 * 2**20
"""Bytes that memory may differ by: an allocator gives back what it likes."""


def metric(text: str, name: str) -> float:
    found = re.search(rf"^{name} ([\d.e+]+)$", text, re.MULTILINE)
    assert found, name
    return float(found[1])


async def caller(
    client: httpx.AsyncClient, at: str, chance: random.Random, until: float
) -> Counter[int]:
    """Hits, misses, batches, lists, GraphQL, streams that are left: whatever comes to mind."""
    told: Counter[int] = Counter()
    numbers = itertools.count()
    while time.monotonic() < until:
        number = next(numbers)
        id_ = chance.randint(1, 4 * RECORDS)
        one = f"{at}/v1/messages/{id_}?phone={PHONE}"
        query = {"query": f'{{ message(id: {id_}, phone: "{PHONE}") {{ state }} }}'}
        match number % 8:
            case 0 | 1 | 2:
                answer = await client.get(f"{at}/v1/messages/1?phone=79990000001")
            case 3:
                answer = await client.get(one)
            case 4:
                answer = await client.post(f"{at}/graphql", json=query)
            case 5:
                items = [{"id": str(id_ + n), "phone": PHONE} for n in range(20)]
                answer = await client.post(f"{at}/v1/statuses/batch", json={"items": items})
            case 6:
                answer = await client.get(f"{at}/v1/records?limit=20")
            case _:
                async with client.stream(
                    "GET", one.replace("?", "/events?"), headers={"accept": "text/event-stream"}
                ) as answer:
                    await asyncio.sleep(PACE)
        told[answer.status_code] += 1
        await asyncio.sleep(PACE * chance.random() * 2)
    return told


async def measured(client: httpx.AsyncClient, at: str) -> tuple[float, float]:
    """Memory and descriptors, when nobody asks; callers keep some connections."""
    await asyncio.sleep(1)
    text = (await client.get(f"{at}/metrics")).text
    return metric(text, "process_resident_memory_bytes"), metric(text, "process_open_fds")


@soak
async def test_memory_and_descriptors_stay_as_they_were(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        command("simulator", "--port", "0") as (simulator, provider),
        drained(simulator),
        command(
            "serve",
            SMSC_URL=f"{provider}/sys",
            SMSC_LOGIN="demo",
            SMSC_PASSWORD="demo",
            STATE_DIR=str(tmp_path),
            CACHE_RECORDS=str(RECORDS),
            LOG_LEVEL="warning",
            PORT="0",
        ) as (process, at),
    ):
        limits = httpx.Limits(max_connections=2 * CALLERS)
        async with httpx.AsyncClient(limits=limits, timeout=PATIENCE) as client:
            for id_ in range(10, 4 * RECORDS, 40):
                message = {"id": id_, "phone": PHONE, "status": 1}
                await client.post(f"{provider}/control/messages", json=message)
            after: list[tuple[float, float]] = []
            told: Counter[int] = Counter()
            for part in range(3):
                until = time.monotonic() + SECONDS / 3
                loads = [
                    caller(client, at, random.Random(f"{part} {number}"), until)
                    for number in range(CALLERS)
                ]
                told += sum(await asyncio.gather(*loads), Counter[int]())
                after.append(await measured(client, at))
            stats = (await client.get(f"{provider}/control/stats")).json()
        process.terminate()
        assert process.stdout is not None
        log.write_text(await asyncio.to_thread(process.stdout.read))
    assert stats["breaches"] == 0
    assert set(told) <= {200, 404, 429, 503}, told
    assert told[200] > told.total() / 2
    (memory, files), *_, (last_memory, last_files) = after
    assert last_memory <= memory * 1.05 + SLACK, after
    assert last_files <= files + 2 * CALLERS, after
    assert log.read_text() == ""


def spare(of: Served, left: int) -> tuple[int, int]:
    """Let a process open no more than so many files beyond those it has; what it might before."""
    pid = of.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    open_now = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now + left, before[1]))
    return before


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="Linux alone has prlimit")
async def test_descriptors_that_run_out_and_come_back(tmp_path: Path) -> None:
    """Whoever is connected is served; whoever comes is served when there are some again."""
    hit = "/v1/messages/1?phone=79990000001"
    with served(tmp_path) as running:
        async with httpx.AsyncClient(base_url=running.gateway, timeout=PATIENCE) as known:
            assert (await known.get(hit)).status_code == 200
            before = spare(running, left=3)
            crowd = [httpx.AsyncClient(base_url=running.gateway, timeout=1) for _ in range(12)]
            answers = await asyncio.gather(*[one.get(hit) for one in crowd], return_exceptions=True)
            assert any(isinstance(one, httpx.TransportError) for one in answers)
            assert (await known.get(hit)).status_code == 200
            assert (await known.get("/v1/messages/2?phone=79990000002")).status_code in {
                200,
                404,
                409,
                502,
                503,
            }
            resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, before)
            for one in crowd:
                await one.aclose()
        async with httpx.AsyncClient(base_url=running.gateway, timeout=PATIENCE) as new:
            assert (await new.get(hit)).status_code == 200
            assert (await new.get("/v1/messages/3?phone=79990000003")).status_code == 200
            assert (await new.get("/v1/records")).status_code == 200
