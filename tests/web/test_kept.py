"""What was answered is sent again only while it would be written the same."""

import json
import random
from pathlib import Path

import pytest

from gateway.callers.model import Scope
from gateway.model.records import StatusKey
from gateway.simulator.push import signed
from gateway.smsc.push import verify
from tests.support.callers import client
from tests.support.gateway import Setup, running
from tests.support.size import size, soak

pytestmark = pytest.mark.anyio

STEPS = 60
SECRET = "a-good-and-long-secret"
RECORDS = [
    "messages/1?phone=79990000001",
    "hlr-lookups/2?phone=79990000001",
    "messages/100?phone=79990000100",
]
ADDRESSES = [f"/v1/{record}{fields}" for record in RECORDS for fields in ("", "&fields=state")]
SHOWN = "freshness { ageSeconds source stale }"
DOCUMENTS = [
    '{ message(id: 1, phone: "79990000001") { state } }',
    f'{{ message(id: 1, phone: "79990000001") {{ state {SHOWN} }} }}',
    f'{{ status(id: 2, phone: "79990000001") {{ id {SHOWN} }} }}',
    f"""{{ statuses(items: [{{id: 1, phone: "79990000001"}}, {{id: 2, phone: "79990000001"}}])
      {{ outcome record {{ id {SHOWN} }} }} }}""",
    '{ statuses(items: [{id: 1, phone: "79990000001"}]) { record { id isFinal } } }',
]
TEXT = {"query": '{ message(id: 1, phone: "79990000001") { text } }'}
_ITEMS = ", ".join(['{id: 1, phone: "79990000001"}'] * 100)
LONG = {"query": f"{{ statuses(items: [{_ITEMS}]) {{ outcome }} }}"}


async def rest(setup: Setup, url: str, method: str = "GET", **headers: str) -> object:
    """All of an answer but its id."""
    answer = await setup.client.request(method, url, headers=headers)
    told = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return answer.status_code, told, answer.text


async def graphql(setup: Setup, document: str, spaces: int) -> str:
    """A request is known by its bytes: with another number of spaces it is another one."""
    body = json.dumps({"query": document}) + " " * spaces
    headers = {"content-type": "application/json"}
    return (await setup.client.post("/graphql", content=body, headers=headers)).text


def push(setup: Setup, status: int) -> None:
    form = {"id": "1", "phone": "79990000001", "status": str(status), "type": "0"}
    pushed = verify(signed(form, SECRET), SECRET)
    assert pushed is not None
    setup.state["service"].ingest(pushed)


@soak
@pytest.mark.parametrize("seed", range(size(small=1, whole=2)))
async def test_it_is_what_would_be_written_now(seed: int) -> None:
    """Time goes on, records are learned, forgotten and pushed; each is asked in two ways."""
    chance = random.Random(seed)
    async with running() as setup:
        for step in range(STEPS):
            await setup.clock.advance(chance.choice([0, 0, 0.2, 0.7, 1, 13, 13, 13, 700, 90_000]))
            if chance.random() < 0.1:
                push(setup, chance.choice([1, 2, 4]))
            for url in ADDRESSES:
                plain = await rest(setup, url)
                # A directive that means nothing: the answer is made anew.
                if "fwd=" not in str(plain):
                    assert await rest(setup, url, **{"cache-control": "x"}) == plain, (step, url)
            for document in DOCUMENTS:
                first = await graphql(setup, document, 0)
                assert await graphql(setup, document, step + 1) == first, (step, document)


async def test_what_is_learned_is_told_at_once() -> None:
    async with running() as setup:
        for _ in range(3):
            assert (await setup.client.get(ADDRESSES[1])).json()["state"] == "DELIVERED"
            assert "DELIVERED" in await graphql(setup, DOCUMENTS[0], 0)
        push(setup, 2)
        assert (await setup.client.get(ADDRESSES[1])).json()["state"] == "READ"
        assert "READ" in await graphql(setup, DOCUMENTS[0], 0)


async def test_who_has_it_gets_a_304_and_head_no_body() -> None:
    async with running() as setup:
        await setup.client.get(ADDRESSES[0])
        for _ in range(3):
            whole = await setup.client.get(ADDRESSES[0])
            tag = {"if-none-match": whole.headers["etag"]}
            same = await setup.client.get(ADDRESSES[0], headers=tag)
            head = await setup.client.head(ADDRESSES[0])
            assert (same.status_code, same.content) == (304, b"")
            assert same.headers["age"] == whole.headers["age"]
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == str(len(whole.content))
        assert (await setup.client.get("/v1/provider")).json()["counters"]["hits"] == 9


async def test_nobody_sees_what_was_kept_for_others(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(client("all") + client("few", scopes=frozenset({Scope.STATUS_READ})))
    async with running(CLIENTS_FILE=str(path)) as setup:
        for _ in range(3):
            seen = {}
            for name in ("all", "few"):
                key = {"authorization": f"Bearer key of {name}"}
                seen[name] = (await setup.client.get(ADDRESSES[0], headers=key)).json()
            assert seen["all"]["text"]
            assert not seen["few"].get("text")
            for name in ("all", "few"):
                key = {"authorization": f"Bearer key of {name}"}
                told = (await setup.client.post("/graphql", json=TEXT, headers=key)).json()
                assert bool(told["data"]["message"]["text"]) is (name == "all"), told


async def test_each_is_answered_in_the_form_that_it_takes() -> None:
    """A request that comes again differs in its headers alone."""
    async with running() as setup:
        for _ in range(3):
            for media in ("application/json", "application/graphql-response+json"):
                for coding in ("gzip", "identity"):
                    headers = {"accept": media, "accept-encoding": coding}
                    told = await setup.client.post("/graphql", json=LONG, headers=headers)
                    assert told.headers["content-type"] == f"{media}; charset=utf-8"
                    assert told.headers.get("content-encoding", "identity") == coding
                    assert len(told.json()["data"]["statuses"]) == 100


async def test_a_deleted_message_is_gone_at_once() -> None:
    async with running() as setup:
        for _ in range(2):
            assert (await setup.client.get(ADDRESSES[0])).status_code == 200
        await setup.state["service"].delete(StatusKey("79990000001", 1))
        assert (await setup.client.get(ADDRESSES[0])).status_code == 404
        assert "NOT_FOUND" in await graphql(setup, DOCUMENTS[0], 0)
