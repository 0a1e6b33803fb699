"""The whole way: a push comes in, a service is told of it; what is told of that, and to whom."""

import asyncio
import io
from pathlib import Path

import pytest

from gateway.callers.model import ALL_SCOPES, Scope
from gateway.observability.logs import configure_logging
from tests.support.callers import client
from tests.support.gateway import Setup, running
from tests.support.receiver import SECRET, Receiver, receiving
from tests.support.size import PATIENCE

pytestmark = pytest.mark.anyio

KEY = {"authorization": "Bearer key of billing"}
PHONE = "79990000001"


def file(folder: Path, receiver: Receiver, scopes: frozenset[Scope], more: str = "") -> str:
    """A clients file with a webhook of the only client."""
    path = folder / "clients.toml"
    webhook = (
        f'[[client.webhook]]\nname = "receiver"\nurl = "{receiver.url}?token=1"\n'
        f'secret = "{SECRET}"\n{more}'
    )
    path.write_text(client("billing", scopes=scopes, more=webhook))
    return str(path)


async def until_told(setup: Setup, receiver: Receiver, count: int) -> None:
    end = asyncio.get_running_loop().time() + PATIENCE
    while len(receiver.got) < count:
        assert asyncio.get_running_loop().time() < end, receiver.got
        await setup.clock.advance(0.1)
        await asyncio.sleep(0.01)


async def report(setup: Setup) -> dict[str, object]:
    answer = await setup.client.get("/v1/webhooks", headers=KEY)
    assert answer.status_code == 200
    [told] = answer.json()["webhooks"]
    found: dict[str, object] = told
    return found


async def test_a_body_is_a_change_of_the_feed_with_its_record(tmp_path: Path) -> None:
    with receiving() as receiver:
        clients = file(tmp_path, receiver, ALL_SCOPES)
        async with running(
            STATE_DIR=str(tmp_path), CLIENTS_FILE=clients, ARCHIVE_CONTENT="true"
        ) as setup:
            assert (await setup.client.get(f"/v1/messages/1?phone={PHONE}", headers=KEY)).is_success
            await until_told(setup, receiver, 1)
            feed = (await setup.client.get("/v1/changes?fields=record", headers=KEY)).json()
            told = receiver.got[0].verified()
            [change] = feed["changes"]
            data = told["data"]
            for one in (change, data):
                del one["record"]["freshness"]  # it is of the moment
            assert data == change
            assert (told["type"], told["timestamp"]) == ("status.changed", data["at"])
            assert receiver.got[0].id == change["cursor"]
            assert data["record"]["text"]
            while (now := await report(setup))["lag"]:
                await setup.clock.advance(0.1)
                await asyncio.sleep(0.01)
            assert now == {
                "name": "receiver",
                "client": "billing",
                "url": receiver.url,
                "state": "ACTIVE",
                "lag": 0,
                "oldestUndelivered": None,
                "lastSuccess": now["lastSuccess"],
                "lastError": None,
                "failingSince": None,
                "offSince": None,
                "givenUp": 0,
                "latestGivenUp": [],
            }
            metrics = (await setup.client.get("/metrics", headers=KEY)).text
            for line in (
                'smsc_gateway_webhook_tries_total{result="delivered",webhook="receiver"} 1.0',
                'smsc_gateway_webhook_lag_changes{webhook="receiver"} 0.0',
                'smsc_gateway_webhook_state{state="ACTIVE",webhook="receiver"} 1.0',
                'smsc_gateway_webhook_state{state="OFF",webhook="receiver"} 0.0',
            ):
                assert line in metrics


@pytest.mark.parametrize(
    ("scopes", "hidden"),
    [
        ({Scope.STATUS_READ}, ["text", "comment"]),
        ({Scope.RECORD_LIST}, ["text", "comment"]),
        ({Scope.STATUS_READ, Scope.CONTENT_READ}, []),
        ({Scope.PROVIDER_READ}, None),
    ],
)
async def test_scopes_hide_in_bodies_what_they_hide_elsewhere(
    tmp_path: Path, scopes: set[Scope], hidden: list[str] | None
) -> None:
    with receiving() as receiver:
        clients = file(tmp_path, receiver, frozenset(scopes))
        folder = {"STATE_DIR": str(tmp_path), "ARCHIVE_CONTENT": "true"}
        with (tmp_path / "clients.toml").open("a") as opened:
            opened.write(client("all"))
        async with running(CLIENTS_FILE=clients, **folder) as setup:
            ask = {"authorization": "Bearer key of all"}
            await setup.client.get(f"/v1/messages/1?phone={PHONE}", headers=ask)
            await until_told(setup, receiver, 1)
    data = receiver.got[0].told["data"]
    if hidden is None:
        assert "record" not in data
        return
    for name in ("text", "comment"):
        assert (data["record"].get(name) is None) == (name in hidden), data["record"]
    assert data["record"].get("hiddenFields", []) == hidden


async def test_how_they_are_doing_is_for_whoever_runs_the_gateway(tmp_path: Path) -> None:
    with receiving() as receiver:
        clients = file(tmp_path, receiver, frozenset({Scope.RECORD_LIST}))
        async with running(STATE_DIR=str(tmp_path), CLIENTS_FILE=clients) as setup:
            answer = await setup.client.get("/v1/webhooks", headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


async def test_without_an_archive_there_are_none() -> None:
    async with running() as setup:
        answer = await setup.client.get("/v1/webhooks")
    assert (answer.status_code, answer.json()["code"]) == (501, "ARCHIVE_OFF")


async def test_none_at_all(tmp_path: Path) -> None:
    async with running(STATE_DIR=str(tmp_path)) as setup:
        assert (await setup.client.get("/v1/webhooks")).json() == {"webhooks": []}


async def test_nothing_secret_is_logged(tmp_path: Path) -> None:
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    with receiving() as receiver:
        receiver.answer = lambda *_: 500
        clients = file(tmp_path, receiver, ALL_SCOPES)
        async with running(STATE_DIR=str(tmp_path), CLIENTS_FILE=clients) as setup:
            await setup.client.get(f"/v1/messages/1?phone={PHONE}", headers=KEY)
            await until_told(setup, receiver, 1)
            await setup.clock.advance(1)
    logged = stream.getvalue()
    assert "webhook receiver fails: HTTP 500. It is tried again." in logged
    for secret in (PHONE, "token=1", SECRET.removeprefix("whsec_")):
        assert secret not in logged, logged
