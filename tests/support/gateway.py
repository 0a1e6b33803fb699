"""The gateway with the simulated provider behind it, all in one event loop and one fake time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
from asgi_lifespan import LifespanManager
from starlette.types import ASGIApp

from gateway.app import create_app
from gateway.settings import Settings, load
from gateway.simulator import Limits, Report, World, create_simulator, sample_world
from gateway.web.http.state import State
from tests.support.clock import FakeClock

ENVIRON = {
    "GATEWAY_SMSC_URL": "http://provider.test/sys/",
    "GATEWAY_SMSC_LOGIN": "demo",
    "GATEWAY_SMSC_PASSWORD": "demo",
    "GATEWAY_SMSC_CURRENCY": "RUB",
}


def settings(**environ: str) -> Settings:
    """Settings for the simulator's account, that keep nothing on disk unless told to."""
    given = {f"GATEWAY_{name}": value for name, value in environ.items()}
    return load(ENVIRON | given, state_dir=None)


@dataclass
class Setup:
    """Clients of both ends, and what steers them."""

    client: httpx.AsyncClient
    provider: httpx.AsyncClient
    clock: FakeClock
    world: World
    limits: Limits
    app: ASGIApp
    state: State

    def client_from(self, host: str) -> httpx.AsyncClient:
        """A client that comes from another address."""
        transport = httpx.ASGITransport(self.app, client=(host, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://gateway.localhost")

    async def message(self, id: int, phone: str, **params: str) -> httpx.Response:
        return await self.client.get(f"/v1/messages/{id}", params={"phone": phone, **params})

    async def graphql(self, query: str, **variables: object) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        answer: dict[str, Any] = (await self.client.post("/graphql", json=body)).json()
        return answer

    async def fault(self, kind: str, value: object = None, times: int = 1) -> None:
        body = {"kind": kind, "value": value, "times": times}
        assert (await self.provider.post("/control/fault", json=body)).status_code == 201

    async def asked(self) -> list[dict[str, Any]]:
        """What the provider was asked, oldest first."""
        log: list[dict[str, Any]] = (await self.provider.get("/control/log")).json()
        return log

    async def breaches(self) -> int:
        stats: dict[str, int] = (await self.provider.get("/control/stats")).json()
        return stats["breaches"]


@asynccontextmanager
async def running(**environ: str) -> AsyncIterator[Setup]:
    """A gateway; `environ` are settings without their prefix."""
    clock = FakeClock()
    world = sample_world(clock.monotonic)  # the provider's clock is not ours
    limits = Limits(clock.monotonic)
    simulator = create_simulator(world, monotonic=clock.monotonic, sleep=clock.sleep, limits=limits)
    provider = httpx.ASGITransport(simulator)
    app = create_app(settings(**environ), clock=clock, transport=provider)
    async with (
        LifespanManager(app) as manager,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(manager.app, raise_app_exceptions=False),
            base_url="http://gateway.localhost",
        ) as client,
        httpx.AsyncClient(transport=provider, base_url="http://provider.test") as direct,
    ):
        state = cast("State", manager._state)  # noqa: SLF001 - it has no public name
        yield Setup(client, direct, clock, world, limits, manager.app, state)


def pending(setup: Setup, count: int) -> list[dict[str, str]]:
    """Messages on their way, of which nothing is known here."""
    items = []
    for number in range(count):
        id_, phone = 5000 + number, f"7999100{1000 + number}"
        setup.world.add(
            Report(id=id_, phone=phone, status=0, sent=int(setup.clock.now), flag=0, err=0)
        )
        items.append({"id": str(id_), "phone": phone})
    return items
