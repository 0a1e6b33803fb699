"""Each way of sending a request is read, and what can't be read is the caller's error 1."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.simulator import render_error
from gateway.simulator.form import MAX_BODY
from tests.support.simulator import ACCOUNT, ONE, SEND, STATUS, Provider, running

pytestmark = pytest.mark.anyio

ASKED = {**ACCOUNT, **ONE, "fmt": "1"}
ANSWER = "1,1700000000,0"
JSON = {"content-type": "application/json"}
CHARSETS = ("windows-1251", "koi8-r", "utf-8")


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with running() as it:
        yield it


async def via(provider: Provider) -> str:
    log = (await provider.client.get("/control/log")).json()
    told: str = log[-1]["via"]
    return told


async def text_of(provider: Provider, answer: httpx.Response) -> str:
    """The text of the message that was sent."""
    asked = {"phone": "79991234567", "id": answer.json()["id"], "fmt": 3, "all": 1}
    found = await provider.get(**asked, charset="utf-8")
    text: str = json.loads(found.content)["message"]
    return text


def multipart(fields: dict[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """A form of several parts with raw values, as PHP's curl sends it, and its header."""
    parts = [
        f'--xyz\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"
        for name, value in fields.items()
    ]
    return b"".join(parts) + b"--xyz--\r\n", {"content-type": "multipart/form-data; boundary=xyz"}


async def test_a_form_of_several_parts_is_read(provider: Provider) -> None:
    files = {name: (None, value) for name, value in ASKED.items()}
    answer = await provider.client.post(STATUS, files=files)
    assert answer.text == ANSWER
    assert await via(provider) == "multipart"


async def test_the_query_may_hold_what_the_parts_do_not(provider: Provider) -> None:
    """As npm's node-smsc does it: all in the address, and a file as the body."""
    attached = {"file": ("a.txt", b"x" * 2_000_000)}
    answer = await provider.client.post(STATUS, params=ASKED, files=attached)
    assert answer.text == ANSWER
    overruled = await provider.client.post(STATUS, params=ASKED, data={"fmt": "3"})
    assert overruled.json()["status"] == 1


@pytest.mark.parametrize("path", ["/rest/status/", "/rest/send/"])
async def test_the_addresses_for_json_take_it(provider: Provider, path: str) -> None:
    asked = ASKED | {"id": 1, "fmt": 1, "phone": [79990000001]}
    sent = ACCOUNT | {"phones": ["79991234567", 79990000020], "mes": "Код", "fmt": 1, "flash": True}
    answer = await provider.client.post(path, json=asked if "status" in path else sent)
    assert answer.text == (ANSWER if "status" in path else "1001,2")
    assert await via(provider) == "json"


async def test_json_has_no_charset_but_its_own(provider: Provider) -> None:
    sent = ACCOUNT | {"phones": "79991234567", "mes": "Код \ud83d", "fmt": 3, "charset": "koi8-r"}
    answer = await provider.client.post("/rest/send/", content=json.dumps(sent), headers=JSON)
    assert await text_of(provider, answer) == "Код ?"


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("several_parts", [False, True])
async def test_a_text_is_in_the_charset_that_the_request_names(
    provider: Provider, charset: str, several_parts: bool
) -> None:
    fields = ACCOUNT | {"phones": "79991234567", "mes": "Ёлка, щи", "fmt": "3", "charset": charset}
    raw = {name: value.encode(charset) for name, value in fields.items()}
    if several_parts:
        content, headers = multipart(raw)
        answer = await provider.client.post(SEND, content=content, headers=headers)
    else:
        escaped = {name: value.decode("latin-1") for name, value in raw.items()}
        query = "&".join(f"{name}={httpx_quote(value)}" for name, value in escaped.items())
        answer = await provider.client.get(f"{SEND}?{query}")
    assert await text_of(provider, answer) == "Ёлка, щи"


def httpx_quote(latin: str) -> str:
    """Percent-encode bytes that are told as Latin-1."""
    return "".join(f"%{ord(character):02X}" for character in latin)


async def test_utf_8_that_is_not_named_is_mojibake(provider: Provider) -> None:
    answer = await provider.send(phones="79991234567", mes="Код", fmt=3)
    assert await text_of(provider, answer) == "РљРѕРґ"


@pytest.mark.parametrize("fmt", ["", "3"])
@pytest.mark.parametrize(
    ("path", "content", "media", "why"),
    [
        (STATUS, json.dumps(ASKED), "application/json", "the body is no form"),
        (SEND, json.dumps(ASKED), "application/json", "the body is no form"),
        (STATUS, "<status/>", "text/xml", "the body is no form, but 'text/xml'"),
        (STATUS, "--xyz\r\nrubbish", "multipart/form-data; boundary=xyz", "multipart"),
        (STATUS, "--xyz", "multipart/form-data", "multipart"),
        ("/rest/status/", "[1]", "application/json", "no JSON object"),
        ("/rest/status/", "{", "application/json", "no JSON object"),
        ("/rest/status/", "[" * 100_000, "application/json", "no JSON object"),
        ("/rest/status/", b"\xff", "application/json", "no JSON object"),
    ],
)
async def test_a_body_that_is_not_read_is_error_1_in_the_format_asked_for(
    provider: Provider, path: str, content: str | bytes, media: str, why: str, fmt: str
) -> None:
    """It would be error 2 otherwise, and a team would look for a wrong password."""
    answer = await provider.client.post(
        path, params={"fmt": fmt}, content=content, headers={"content-type": media}
    )
    assert (answer.status_code, answer.content) == (200, render_error(1, fmt=int(fmt or 0)))
    log = (await provider.client.get("/control/log")).json()
    assert why in log[-1]["outcome"]
    assert why in provider.lines[-1]


async def test_a_caller_who_goes_in_the_middle_of_a_body_is_no_fault(provider: Provider) -> None:
    transport = provider.client._transport  # noqa: SLF001 - the app is in there
    assert isinstance(transport, httpx.ASGITransport)
    heard: list[dict[str, object]] = [
        {"type": "http.request", "body": b"login=", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, object]:
        return heard.pop(0)

    async def send(_: object) -> None:
        pass

    scope = {"type": "http", "method": "POST", "path": SEND, "headers": [], "query_string": b""}
    await transport.app(scope, receive, send)
    assert heard == []
    assert (await provider.stats())["calls"] == {}


@pytest.mark.parametrize("path", [STATUS, SEND, "/rest/send/", "/control/messages"])
async def test_a_body_is_bounded(provider: Provider, path: str) -> None:
    megabytes = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal megabytes
        while True:
            megabytes += 1
            yield b"x" * 2**20

    headers = JSON if path.startswith("/control") else {}
    answer = await provider.client.post(path, content=endless(), headers=headers)
    assert answer.status_code == 413
    assert str(MAX_BODY) in answer.json()["detail"]
    assert megabytes <= MAX_BODY // 2**20 + 2
