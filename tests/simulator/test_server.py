"""The server, over HTTP."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.simulator import render, render_error, sample_world
from gateway.simulator.faults import FAULTS
from gateway.simulator.messages import FIELDS
from gateway.simulator.sending import OUTCOMES, REFUSALS
from tests.support.simulator import ACCOUNT, ONE, STATUS, Provider, running

pytestmark = pytest.mark.anyio


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with running() as it:
        yield it


# What is answered


@pytest.mark.parametrize("fmt", range(4))
async def test_a_message_by_query_and_by_form(provider: Provider, fmt: int) -> None:
    by_query = await provider.get(**ONE, fmt=fmt, all=2)
    by_form = await provider.client.post(
        STATUS, data={**ACCOUNT, **ONE, "fmt": str(fmt), "all": "2"}
    )
    report = sample_world(provider.clock).look("79990000001", 1)
    assert by_query.content == render([report], fmt=fmt, all=2, many=False)
    assert by_form.content == by_query.content
    media = ("text/plain", "text/plain", "text/xml", "application/json")[fmt]
    assert by_query.headers["content-type"] == f"{media}; charset=windows-1251"


async def test_text_and_the_usual_fields_are_the_default(provider: Provider) -> None:
    expected = b"Status = 1, check_time = 15.11.2023 01:13:20, err = 0"
    assert (await provider.get(**ONE)).content == expected
    assert (await provider.get(**ONE, fmt="9" * 5000, all="x")).content == expected
    assert (await provider.get(**ONE, fmt="", all="²")).content == expected


@pytest.mark.parametrize(
    ("asked", "used"),
    [("utf-8", "utf-8"), ("UTF-8", "utf-8"), ("koi8-r", "koi8-r"), ("utf-16", "windows-1251")],
)
async def test_the_header_names_the_charset_of_the_body(
    provider: Provider, asked: str, used: str
) -> None:
    answer = await provider.get(**ONE, fmt=3, all=1, charset=asked)
    assert json.loads(answer.content.decode(used))["status_name"] == "Доставлено"
    assert answer.headers["content-type"] == f"application/json; charset={used}"
    assert "Доставлено" in answer.text


async def test_the_header_may_lie(provider: Provider) -> None:
    """As a recording of 2016 has it."""
    await provider.post("fault", kind="header", times=-1)
    answer = await provider.get(**ONE, fmt=3, all=1, charset="utf-8")
    assert answer.headers["content-type"] == "application/json; charset=windows-1251"
    assert json.loads(answer.content)["status_name"] == "Доставлено"
    assert "Доставлено" not in answer.text


async def test_an_email_is_asked_by_its_address(provider: Provider) -> None:
    answer = await provider.get(phone="Someone@Example.com", id=33, fmt=3, all=2, charset="utf-8")
    told = json.loads(answer.content)
    assert told["phone"] == "someone@example.com"
    assert "country" not in told


async def test_a_list_is_answered_in_the_order_asked(provider: Provider) -> None:
    answer = await provider.get(phone="+79990000003, 79990000001,79990000009", id="3,1,9", fmt=3)
    rows = answer.json()
    assert [(row["id"], row["phone"], row["status"]) for row in rows] == [
        (3, "79990000003", 20),
        (1, "79990000001", 1),
        (9, "79990000009", -3),
    ]


@pytest.mark.parametrize(("id_", "phone"), [("1,", "79990000001,"), ("1", "79990000001,")])
async def test_a_trailing_comma_makes_a_list_and_a_mass_request(
    provider: Provider, id_: str, phone: str
) -> None:
    assert len((await provider.get(phone=phone, id=id_, fmt=3)).json()) == 1
    assert (await provider.get(phone=phone, id=id_, fmt=3)).json()["error_code"] == 9
    assert (await provider.stats())["breachesByLimit"] == {"MASS": 1}


async def test_the_live_message_moves(provider: Provider) -> None:
    statuses = []
    for pause in (0, 10, 20, 30):
        provider.now += pause
        answer = await provider.get(phone="79990000100", id=100, fmt=1)
        statuses.append(answer.text.partition(",")[0])
    assert statuses == ["-1", "0", "1", "2"]


# Who may ask


@pytest.mark.parametrize(
    "account",
    [
        {"login": "me", "psw": "secret"},
        {"login": "me", "psw": hashlib.md5(b"secret", usedforsecurity=False).hexdigest()},
        {"apikey": "key"},
    ],
)
async def test_an_account_is_told_by_password_or_md5_or_key(account: dict[str, str]) -> None:
    async with running(login="me", password="secret", apikey="key") as provider:
        answer = await provider.client.get(STATUS, params={**account, **ONE, "fmt": "1"})
        assert answer.text == "1,1700000000,0"


@pytest.mark.parametrize("fmt", range(4))
@pytest.mark.parametrize(
    "account",
    [
        {},
        {"login": "demo"},
        {"psw": "demo"},
        {"login": "demo", "psw": "Demo"},
        {"login": "other", "psw": "demo"},
        {"login": "demo", "psw": hashlib.md5(b"demo", usedforsecurity=False).hexdigest().upper()},
        {"apikey": "demo"},
    ],
)
async def test_others_are_refused_and_not_counted(
    provider: Provider, account: dict[str, str], fmt: int
) -> None:
    for _ in range(7):
        answer = await provider.client.get(STATUS, params={**account, **ONE, "fmt": str(fmt)})
        assert (answer.status_code, answer.content) == (200, render_error(2, fmt=fmt))
    assert (await provider.stats())["breaches"] == 0


# What is refused


@pytest.mark.parametrize("fmt", range(4))
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"id": "1"},
        {"phone": "79990000001"},
        {"id": "", "phone": ""},
        {"id": ",", "phone": ","},
        {"id": "0", "phone": "79990000001"},
        {"id": "-1", "phone": "79990000001"},
        {"id": "2147483648", "phone": "79990000001"},
        {"id": "9" * 5000, "phone": "79990000001"},
        {"id": "²", "phone": "79990000001"},
        {"id": "1", "phone": "nobody"},
        {"id": "1", "phone": "@"},
        {"id": "1", "phone": "+"},
        {"id": "1,2", "phone": "79990000001"},
        {"id": "1,,2", "phone": "79990000001,79990000001"},
        {"id": "1,x", "phone": "79990000001,79990000001"},
    ],
)
async def test_wrong_parameters_refuse_the_whole_request(
    provider: Provider, asked: dict[str, str], fmt: int
) -> None:
    answer = await provider.get(**asked, fmt=fmt)
    assert (answer.status_code, answer.content) == (200, render_error(1, fmt=fmt))


@pytest.mark.parametrize("fmt", range(4))
async def test_the_sixth_request_a_minute_is_refused(provider: Provider, fmt: int) -> None:
    for _ in range(5):
        assert (await provider.get(**ONE)).content.startswith(b"Status = 1")
    respelled = await provider.get(phone="+7 (999) 000-00-01", id="01", fmt=fmt)
    assert (respelled.status_code, respelled.content) == (200, render_error(9, fmt=fmt))
    provider.now += 60
    assert (await provider.get(**ONE)).content.startswith(b"Status = 1")


async def test_five_at_the_same_time_are_one_too_many(provider: Provider) -> None:
    await provider.post("latency", seconds=61)
    asked = [
        asyncio.create_task(provider.get(phone="79990000001", id=i, fmt=1)) for i in range(1, 6)
    ]
    for _ in asked:
        await provider.asleep.acquire()
    provider.wake.set()
    answers = [answer.text for answer in await asyncio.gather(*asked)]
    assert sorted(answers).count("0,-9") == 1
    assert (await provider.stats())["breachesByLimit"] == {"CONCURRENCY": 1}
    await provider.post("latency", seconds=0)
    assert (await provider.get(**ONE, fmt=1)).text == "1,1700000000,0"


async def test_a_caller_who_has_gone_is_no_longer_under_way(provider: Provider) -> None:
    """As a server tells it: the request, then that the connection is closed."""
    await provider.post("fault", kind="hang")
    messages = [{"type": "http.request", "body": b"", "more_body": False}]
    closed = asyncio.Event()

    async def receive() -> dict[str, object]:
        if messages:
            return messages.pop()
        await closed.wait()
        return {"type": "http.disconnect"}

    async def send(_: object) -> None:
        pass

    transport = provider.client._transport  # noqa: SLF001 - the app is in there
    assert isinstance(transport, httpx.ASGITransport)
    query = b"login=demo&psw=demo&phone=79990000001&id=1"
    scope = {"type": "http", "method": "GET", "path": STATUS, "headers": [], "query_string": query}
    request = asyncio.ensure_future(transport.app(scope, receive, send))
    await provider.asleep.acquire()
    closed.set()
    await request
    assert provider.slept == []
    assert provider.lines[0].endswith("single fmt=0 all=0 1 message -> caller gone")
    for id_ in range(10, 14):
        assert (await provider.get(phone="79990000001", id=id_, fmt=1)).text == "-3,0,0"


# Deletion


async def test_a_message_can_be_deleted_once(provider: Provider) -> None:
    assert (await provider.get(**ONE, fmt=3, **{"del": 1})).content == b"OK"
    assert (await provider.get(**ONE, fmt=1)).text == "-3,0,0"


@pytest.mark.parametrize("fmt", range(4))
async def test_what_is_not_there_cannot_be_deleted(provider: Provider, fmt: int) -> None:
    answer = await provider.get(phone="79990000009", id=9, fmt=fmt, **{"del": 1})
    assert answer.content == render_error(5, fmt=fmt)


# Faults


@pytest.mark.parametrize(
    ("fault", "status", "content", "media"),
    [
        ({"kind": "html"}, 200, b"<html><head>", "text/html"),
        ({"kind": "empty"}, 200, b"", "text/plain"),
        ({"kind": "comma"}, 200, b",", "text/plain"),
        ({"kind": "cut"}, 200, b"1,17000", "text/plain"),
        ({"kind": "status"}, 503, b"<html><head>", "text/html"),
        ({"kind": "status", "value": 429}, 429, b"<html><head>", "text/html"),
        ({"kind": "format"}, 200, b"Status = 1, ", "text/plain"),
        ({"kind": "format", "value": 3}, 200, b'{\n"status": 1', "application/json"),
        ({"kind": "error"}, 200, b"0,-9", "text/plain"),
        ({"kind": "error", "value": 4}, 200, b"0,-4", "text/plain"),
        ({"kind": "hang", "value": 30}, 200, b"1,1700000000,0", "text/plain"),
    ],
)
async def test_a_fault_happens_once(
    provider: Provider, fault: dict[str, object], status: int, content: bytes, media: str
) -> None:
    assert (await provider.post("fault", **fault)).status_code == 201
    answer = await provider.get(**ONE, fmt=1)
    assert answer.status_code == status
    assert answer.content.startswith(content)
    assert bool(answer.content) == bool(content)
    assert answer.headers["content-type"] == f"{media}; charset=windows-1251"
    assert (await provider.get(**ONE, fmt=1)).text == "1,1700000000,0"


async def test_a_cut_answer_has_half_of_its_bytes(provider: Provider) -> None:
    await provider.post("fault", kind="cut")
    assert (await provider.get(**ONE, fmt=1)).content == b"1,17000"


async def test_a_hang_takes_its_time(provider: Provider) -> None:
    await provider.post("fault", kind="hang", value=30)
    await provider.get(**ONE)
    assert provider.slept == [30]


async def test_a_charset_may_go_wrong(provider: Provider) -> None:
    await provider.post("fault", kind="charset")
    answer = await provider.get(**ONE, fmt=3, all=1, charset="utf-8")
    assert "Доставлено".encode("windows-1251") in answer.content
    assert (await provider.client.get("/control/log")).json()[0]["charset"] == "utf-8"


async def test_faults_come_in_their_order_until_cleared(provider: Provider) -> None:
    await provider.post("fault", kind="empty", times=2)
    await provider.post("fault", kind="comma", times=-1)
    found = [(await provider.get(phone="7", id=i, fmt=1)).text for i in range(1, 6)]
    assert found == ["", "", ",", ",", ","]
    assert (await provider.client.delete("/control/fault")).status_code == 204
    assert (await provider.get(**ONE, fmt=1)).text == "1,1700000000,0"


async def test_an_error_fault_deletes_nothing(provider: Provider) -> None:
    await provider.post("fault", kind="error", value=5)
    assert (await provider.get(**ONE, fmt=1, **{"del": 1})).text == "0,-5"
    assert (await provider.get(**ONE, fmt=1)).text == "1,1700000000,0"


async def test_latency_is_that_of_every_answer(provider: Provider) -> None:
    assert (await provider.post("latency", seconds=1.5)).status_code == 204
    await provider.get(**ONE)
    await provider.get(**ONE)
    assert provider.slept == [1.5, 1.5]


# Control


async def test_a_message_can_be_added_with_its_life(provider: Provider) -> None:
    answer = await provider.post(
        "messages",
        id=500,
        phone="+7 999 000-05-00",
        status=-1,
        timeline=[{"after": 5, "status": 1, "err": 0}],
    )
    assert answer.status_code == 201
    assert answer.json()["phone"] == "79990000500"
    assert (await provider.get(phone="79990000500", id=500, fmt=1)).text == "-1,1800000000,0"
    provider.now += 5
    found = await provider.get(phone="79990000500", id=500, fmt=1, all=1)
    assert found.text == (
        "1,1800000005,0,1800000000,79990000500,3.20,SMSC.RU,Доставлено,Тестовое сообщение, , 0"
    )


NEW = {"id": 5, "phone": "70001", "status": 1}


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("messages", [], "the body must be a JSON object"),
        ("messages", {}, "id is needed"),
        ("messages", {"id": 5}, "phone is needed"),
        ("messages", NEW | {"status": None}, "status must be an integer"),
        ("messages", NEW | {"id": 0}, "id must be from 1 to 2147483647"),
        ("messages", NEW | {"id": "5"}, "id must be an integer"),
        ("messages", NEW | {"status": True}, "status must be an integer"),
        ("messages", NEW | {"phone": 70001}, "phone must be a string"),
        ("messages", NEW | {"phone": "x"}, "phone must be digits or an e-mail address"),
        ("messages", NEW | {"last_timestamp": -1}, "last_timestamp must be Unix seconds"),
        ("messages", NEW | {"sent": 10**18}, "sent must be Unix seconds"),
        ("messages", NEW | {"cost": 3.2}, "cost must be a string"),
        ("messages", NEW | {"message": "\ud83d"}, "message must be a string"),
        ("messages", NEW | {"colour": 1}, "'colour' is no field of a message"),
        ("messages", NEW | {"timeline": 1}, "timeline must be a list of changes"),
        (
            "messages",
            NEW | {"timeline": [{"status": 1}]},
            "a change needs after, in seconds from 0 to 86400",
        ),
        (
            "messages",
            NEW | {"timeline": [{"after": 1, "id": 6}]},
            "a message keeps its id and phone",
        ),
        (
            "messages",
            NEW | {"timeline": [{"after": 1, "status": None}]},
            "status must be an integer",
        ),
        (
            "messages",
            NEW | {"timeline": [{"after": 1, "colour": 6}]},
            "'colour' is no field of a message",
        ),
        ("fault", {}, f"kind must be one of {', '.join(FAULTS)}"),
        ("fault", {"kind": []}, f"kind must be one of {', '.join(FAULTS)}"),
        (
            "fault",
            {"kind": "empty", "times": 0},
            "times must be a number from 1, or -1: until cleared",
        ),
        (
            "fault",
            {"kind": "status", "value": 204},
            "the value of status must be an HTTP status that has a body",
        ),
        (
            "fault",
            {"kind": "format", "value": 4},
            "the value of format must be a format from 0 to 3",
        ),
        (
            "fault",
            {"kind": "charset", "value": "x"},
            "the value of charset must be one of windows-1251, utf-8, koi8-r",
        ),
        (
            "fault",
            {"kind": "empty", "call": "get.php"},
            "call must be one of status.php, send.php, balance.php",
        ),
        ("balance", {"amount": "1"}, "amount must be a number from 0 to 1000000000"),
        ("latency", {}, "seconds must be a number from 0 to 86400"),
        ("latency", {"seconds": -1}, "seconds must be a number from 0 to 86400"),
        ("latency", {"seconds": float("nan")}, "seconds must be a number from 0 to 86400"),
    ],
)
async def test_a_wrong_body_is_told_and_changes_nothing(
    provider: Provider, path: str, body: object, detail: str
) -> None:
    json_type = {"content-type": "application/json"}
    content = json.dumps(body)
    answer = await provider.client.post(f"/control/{path}", content=content, headers=json_type)
    told = answer.json()
    assert told.pop("fields", None) == (FIELDS if path == "messages" and body != [] else None)
    assert told == {"title": "Bad Request", "status": 400, "detail": detail}
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await provider.get(phone="70001", id=5, fmt=1)).text == "-3,0,0"
    assert provider.slept == []


async def test_a_body_that_is_no_json_is_told(provider: Provider) -> None:
    json_type = {"content-type": "application/json"}
    answer = await provider.client.post("/control/fault", content=b"{", headers=json_type)
    assert answer.json()["detail"] == "the body must be a JSON object"


async def test_the_log_tells_the_form_of_a_request_but_no_phone(provider: Provider) -> None:
    await provider.get(**ONE, fmt=3, all=2, charset="utf-8")
    form = {**ACCOUNT, "phone": "79990000001,79990000003", "id": "1,3"}
    await provider.client.post(STATUS, data=form)
    await provider.get(phone="x", id=1)
    answer = await provider.client.get("/control/log")
    log = answer.json()
    assert all(entry.pop("at").startswith("2027-01-1") for entry in log)
    single = {"call": "status.php", "method": "GET", "via": "query", "mass": False}
    single["charset"] = "windows-1251"
    assert log == [
        single | {"pairs": 1, "fmt": 3, "all": 2, "charset": "utf-8", "outcome": "ok"},
        single
        | {"method": "POST", "via": "form", "mass": True}
        | {"pairs": 2, "fmt": 0, "all": 0, "outcome": "ok"},
        single | {"pairs": 0, "fmt": 0, "all": 0, "outcome": "error 1"},
    ]
    assert [line[9:] for line in provider.lines] == [
        "single fmt=3 all=2 1 message -> ok",
        "mass   fmt=0 all=0 2 messages -> ok",
        "single fmt=0 all=0 0 messages -> error 1",
    ]
    assert "7999" not in answer.text + "".join(provider.lines)


async def test_the_log_is_bounded(provider: Provider) -> None:
    for _ in range(1001):
        await provider.client.get(STATUS)
    assert len((await provider.client.get("/control/log")).json()) == 1000
    assert (await provider.stats())["requests"] == 1001


async def test_the_stats_count(provider: Provider) -> None:
    for _ in range(6):
        await provider.get(**ONE)
    await provider.get(phone="79990000001,", id="2,")
    assert await provider.stats() == {
        "requests": 7,
        "singles": 6,
        "mass": 1,
        "calls": {"status.php": 7},
        "admitted": 6,
        "breaches": 1,
        "breachesByLimit": {"PER_MESSAGE": 1},
        "highestConcurrency": 1,
    }


async def test_reset_brings_everything_back(provider: Provider) -> None:
    for _ in range(6):
        await provider.get(**ONE)
    await provider.get(phone="79990000001", id=2, **{"del": 1})
    await provider.post("messages", **NEW)
    await provider.post("fault", kind="empty", times=-1)
    await provider.post("latency", seconds=3)
    assert (await provider.client.post("/control/reset")).status_code == 204
    assert (await provider.client.get("/control/log")).json() == []
    assert (await provider.stats())["breaches"] == 0
    assert (await provider.get(**ONE, fmt=1)).text == "1,1700000000,0"
    assert (await provider.get(phone="79990000001", id=2, fmt=1)).text.startswith("1,")
    assert (await provider.get(phone="70001", id=5, fmt=1)).text == "-3,0,0"
    assert provider.slept == []
    assert (await provider.stats())["requests"] == 3


# The page


async def test_the_page_shows_how_to_ask_and_what_there_is() -> None:
    async with running(login="me", password="<secret>", apikey="key") as provider:
        answer = await provider.client.get("/")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "http://provider.test/sys/status.php" in answer.text
        assert "&lt;secret&gt;" in answer.text
        assert "<secret>" not in answer.text
        for report in sample_world(provider.clock).reports():
            assert f"<td>{report.id}<td>{report.phone}<td>" in answer.text
        for word in (*FIELDS, *FAULTS, *REFUSALS, *OUTCOMES):
            assert f"{word}</code>" in answer.text
        assert re.findall(r"src=\S*|url\(|@import|<link", answer.text) == ['src="page.js"']
        script = await provider.client.get("/page.js")
        assert script.headers["content-type"].startswith("text/javascript")
        steered = set(re.findall(r"data-steer=\"(\w+)\"", answer.text))
        assert steered
        assert all(f"  {name}: " in script.text for name in steered)


async def test_the_page_repeats_no_markup_of_a_host_header(provider: Provider) -> None:
    answer = await provider.client.get("/", headers={"host": "<script>"})
    assert "<script>" not in answer.text
