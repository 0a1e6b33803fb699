"""The provider's push over HTTP."""

import logging
import re
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from gateway.simulator.push import signed
from gateway.smsc.push import MAX_BYTES
from gateway.web.rest.push import PATH
from tests.support.callers import client
from tests.support.gateway import Setup, running

pytestmark = pytest.mark.anyio

SECRET = "a-good-and-long-secret"
PHONE = "79990000100"
BAD = "0" * 32


def form(status: int = 1, **fields: str) -> dict[str, str]:
    return signed({"id": "100", "phone": PHONE, "status": str(status), **fields}, SECRET)


async def state(setup: Setup) -> tuple[str, str]:
    """What is known, without asking the provider."""
    answer = await setup.client.get(
        f"/v1/messages/100?phone={PHONE}&fields=state,freshness",
        headers={"cache-control": "only-if-cached"},
    )
    record = answer.json()
    if answer.status_code != 200:
        return record["code"], ""
    return record["state"], record["freshness"]["source"]


async def counted(setup: Setup) -> dict[str, float]:
    text = (await setup.client.get("/metrics")).text
    line = r'^smsc_gateway_pushes_total\{result="(\w+)"\} ([\d.]+)$'
    found = re.findall(line, text, re.MULTILINE)
    return {result: float(number) for result, number in found if float(number)}


@pytest.mark.parametrize("signature", ["md5", "sha1"])
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_push_is_taken_by_form_and_by_query(method: str, signature: str) -> None:
    given = form(ts="1800000000")
    sent = {name: given[name] for name in ("id", "phone", "status", "ts", signature)}
    async with running(CALLBACK_SECRET=SECRET) as setup:
        if method == "GET":
            answer = await setup.client.get(PATH, params=sent)
        else:
            answer = await setup.client.post(PATH, data=sent)
        assert (answer.status_code, answer.text) == (200, "OK")
        assert await state(setup) == ("DELIVERED", "CALLBACK")
        assert await setup.asked() == []
        assert await counted(setup) == {"accepted": 1}


async def test_repetitions_and_late_ones_are_answered_alike_and_change_nothing() -> None:
    async with running(CALLBACK_SECRET=SECRET) as setup:
        for status in (1, 1, 0, -1, -3, 1):
            answer = await setup.client.post(PATH, data=form(status))
            assert (answer.status_code, answer.text) == (200, "OK")
        assert await state(setup) == ("DELIVERED", "CALLBACK")
        assert await counted(setup) == {"accepted": 1, "duplicate": 4, "ignored": 1}


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"id": "100", "phone": PHONE, "status": "1"},
        form() | {"md5": BAD},
        form() | {"status": "2"},
        {**form(), "sha1": "", "md5": BAD},
        {**form(), "mes": "text", "md5": BAD},
    ],
)
async def test_without_a_right_signature_nothing_changes(sent: dict[str, str]) -> None:
    async with running(CALLBACK_SECRET=SECRET) as setup:
        for answer in (
            await setup.client.post(PATH, data=sent),
            await setup.client.get(PATH, params=sent),
        ):
            assert answer.status_code == 403
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == "FORBIDDEN"
            assert PHONE not in answer.text
            assert SECRET not in answer.text
        assert await state(setup) == ("NOT_CACHED", "")
        assert await counted(setup) == {"refused": 2}


async def test_without_a_secret_there_is_no_such_address() -> None:
    async with running() as setup:
        answer = await setup.client.post(PATH, data=form())
        assert (answer.status_code, answer.json()["code"]) == (404, "ROUTE_NOT_FOUND")


async def test_incoming_messages_and_calls_are_answered_and_ignored() -> None:
    async with running(CALLBACK_SECRET=SECRET) as setup:
        for sent in ({"mes": "text", "phone": PHONE, "id": "100"}, {"waitcall": "1"}):
            assert (await setup.client.post(PATH, data=sent)).text == "OK"
        assert await state(setup) == ("NOT_CACHED", "")
        assert await counted(setup) == {"ignored": 2}


@pytest.mark.parametrize(
    ("answered", "status"),
    [
        ({"content": b"mes=" + b"x" * MAX_BYTES}, 413),
        ({"params": {"mes": "x" * MAX_BYTES}}, 414),
        ({"content": urlencode(form()).encode() + b"&status=2"}, 400),
        ({"data": form(id="0")}, 400),
        ({"content": b"&".join(b"a%d=" % n for n in range(100))}, 400),
        ({"content": b'{"id": "100"}', "headers": {"content-type": "application/json"}}, 403),
        ({"files": {"id": ("x", b"100")}}, 403),
        ({"content": b"\x00\xff%%%=&&;"}, 403),
    ],
)
async def test_what_is_no_push_is_a_problem(answered: dict[str, object], status: int) -> None:
    async with running(CALLBACK_SECRET=SECRET) as setup:
        answer = await setup.client.request("POST", PATH, **answered)  # type: ignore[arg-type] # of httpx
        assert answer.status_code == status
        assert answer.json()["status"] == status
        assert await counted(setup) == {"refused": 1}


async def test_other_methods_are_told_which_there_are() -> None:
    async with running(CALLBACK_SECRET=SECRET) as setup:
        answer = await setup.client.put(PATH, data=form())
        assert answer.status_code == 405
        assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))


async def test_no_key_is_needed_where_callers_have_keys(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(client("all"))
    async with running(CALLBACK_SECRET=SECRET, CLIENTS_FILE=str(path)) as setup:
        assert (await setup.client.get(f"/v1/messages/100?phone={PHONE}")).status_code == 401
        assert (await setup.client.post(PATH, data=form())).text == "OK"


async def test_the_log_tells_of_accepted_ones_and_sums_up_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = "gateway.web.rest.push"
    caplog.set_level(logging.INFO, logger=logger)
    async with running(CALLBACK_SECRET=SECRET) as setup:
        await setup.client.post(PATH, data=form())
        await setup.client.post(PATH, data=form())
        for _ in range(50):
            await setup.client.post(PATH, data=form() | {"md5": BAD})
        await setup.clock.advance(61)
        await setup.client.post(PATH, data=form() | {"md5": BAD})
    told = [record.getMessage() for record in caplog.records if record.name == logger]
    assert told[0] == "the provider pushed status 1 of message 100"
    assert [line.split(";")[0] for line in told[1:]] == ["pushes refused: 1", "pushes refused: 50"]
    assert PHONE not in caplog.text
    assert SECRET not in caplog.text


async def test_a_subscriber_hears_of_it() -> None:
    fields = "isFinal freshness { source }"
    query = f'subscription {{ status(id: 100, phone: "{PHONE}") {{ {fields} }} }}'
    async with running(CALLBACK_SECRET=SECRET) as setup:
        await setup.message(100, PHONE)
        await setup.client.post(PATH, data=form())
        answer = await setup.client.post(
            "/graphql", json={"query": query}, headers={"accept": "text/event-stream"}
        )
        events = [line for line in answer.text.splitlines() if line.startswith("data: {")]
        assert len(events) == 1
        assert '"isFinal":true' in events[0]
        assert '"source":"CALLBACK"' in events[0]
        assert len(await setup.asked()) == 1


async def test_answers_say_how_it_is_known_in_graphql_too() -> None:
    query = f'{{ message(id: 100, phone: "{PHONE}") {{ state freshness {{ source }} }} }}'
    async with running(CALLBACK_SECRET=SECRET) as setup:
        await setup.client.post(PATH, data=form())
        told = await setup.graphql(query)
    assert told == {
        "data": {"message": {"state": "DELIVERED", "freshness": {"source": "CALLBACK"}}}
    }


def test_httpx_sends_what_is_meant() -> None:
    """The plus of a phone has to be escaped, or it is a space."""
    assert b"%2B7" in httpx.Request("POST", "http://x/", data={"phone": "+7"}).content
