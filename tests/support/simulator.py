"""The simulator over HTTP, in the test's own process and with its own time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from gateway.simulator import create_simulator, sample_world

STATUS = "/sys/status.php"
SEND = "/sys/send.php"
ACCOUNT = {"login": "demo", "psw": "demo"}
ONE = {"phone": "79990000001", "id": "1"}


@dataclass
class Provider:
    """The simulator, what it printed, and how long it slept."""

    client: httpx.AsyncClient
    lines: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    now: float = 1_800_000_000.0
    asleep: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Time passes at once, or, if longer than a minute, when the test says so."""
        if seconds > 60:
            self.asleep.release()
            await self.wake.wait()
        if seconds:
            self.slept.append(seconds)
            self.now += seconds

    async def get(self, **params: object) -> httpx.Response:
        query = {name: str(value) for name, value in {**ACCOUNT, **params}.items()}
        return await self.client.get(STATUS, params=query)

    async def send(self, **params: object) -> httpx.Response:
        form = {name: str(value) for name, value in {**ACCOUNT, **params}.items()}
        return await self.client.post(SEND, data=form)

    async def post(self, path: str, **body: object) -> httpx.Response:
        return await self.client.post(f"/control/{path}", json=body)

    async def stats(self) -> dict[str, Any]:
        answer: dict[str, Any] = (await self.client.get("/control/stats")).json()
        return answer


@asynccontextmanager
async def running(**options: str) -> AsyncIterator[Provider]:
    async with httpx.AsyncClient(base_url="http://provider.test") as unused:
        it = Provider(unused)
    app = create_simulator(
        sample_world(it.clock),
        monotonic=it.clock,
        sleep=it.sleep,
        echo=it.lines.append,
        **options,  # type: ignore[arg-type] # the account's three strings
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://provider.test") as client:
        it.client = client
        yield it
